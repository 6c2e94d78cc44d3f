"""Where simplices end: three bounds at rank 7 to 9, above what `small_rank` suits.

    OMP_NUM_THREADS=1 .venv/bin/python experiments/certificates/ranks.py

300 samples of a planted network of width 4 with noise, 0.01 of β_max. Each bound starts from the network of refinement,
and has the same processor seconds; what is printed is best known / proved.
"""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import torch
import typer

from reluopt.bounds import Start
from reluopt.bounds.registry import BOUNDS
from reluopt.clock import Clock
from reluopt.problem import Problem
from reluopt.search.pricing import beta_max_estimate
from reluopt.search.refinement import refine

NAMES = ("simplicial", "hyperplanes", "cliques")


def problem_of(d: int, n: int) -> Problem:
    """A planted network with noise; d is its seed."""
    rng = np.random.default_rng(d)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 4)), 0) @ np.array([1.0, -1.0, 1.0, -1.0]) + 0.3 * rng.standard_normal(n)
    return Problem(X, y, "squared", 0.01 * beta_max_estimate(X, y))


def main(
    seconds: Annotated[float, typer.Option(help="Processor seconds of each bound.")] = 40.0,
    samples: Annotated[int, typer.Option(help="n.")] = 300,
    ranks: Annotated[list[int] | None, typer.Option("--rank", help="Of these ranks (repeat it); 7, 8 and 9.")] = None,
) -> None:
    """Print a markdown table."""
    torch.set_num_threads(1)
    typer.echo(f"| rank | {' | '.join(NAMES)} |\n|---|---|---|---|")
    for d in ranks or [7, 8, 9]:
        problem = problem_of(d, samples)
        best = refine(problem)
        U, alpha, *_ = best.network.weights()
        start, found = Start(network=(U, alpha), z=best.z), []
        for name in NAMES:
            runs = BOUNDS[name].run(problem, start, Clock(seconds, time.process_time))
            found.append(best.objective / max(bound.value for bound in runs))
        typer.echo(f"| {d} | {' | '.join(f'{ratio:.4f}' for ratio in found)} |")


if __name__ == "__main__":
    typer.run(main)
