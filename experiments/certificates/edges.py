"""The checker at the edges of float64, in full: the same properties that the test suite holds in small.

    .venv/bin/python experiments/certificates/edges.py objectives --count 200000
    .venv/bin/python experiments/certificates/edges.py bounds --count 20000
    .venv/bin/python experiments/certificates/edges.py agreement --count 1000

objectives: upper bounds of L of every loss, by the checker and by the package, against exact fractions; numbers from
2^-1074 to 2^1020 in patterns that cancel, vanish and overflow. bounds: lower bounds at d = 1, valid and damaged,
against the exact optimum. agreement: small certificates and changes of them, by the checker and by the second one of
tests/second_checker.py, which was written from SPEC.md alone in exact arithmetic. Each stops at the first failure.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np
import test_checker as oracle
import test_checker_edges as edges
import test_second_checker as two
import typer

app = typer.Typer(add_completion=False, help=__doc__)
Count = Annotated[int, typer.Option(help="Problems in all.")]
Seed = Annotated[int, typer.Option(help="Of the random numbers.")]


@app.command()
def objectives(count: Count = 200_000, seed: Seed = 0) -> None:
    """Upper bounds of the objective against exact fractions."""
    rng = np.random.default_rng(seed)
    finite = sum(edges.checked_objective(rng, oracle.LOSSES[k % len(oracle.LOSSES)]) for k in range(count))
    typer.echo(f"{count} problems, {finite} finite bounds, none below the exact objective")


@app.command()
def bounds(count: Count = 20_000, seed: Seed = 0) -> None:
    """Lower bounds in one column against the exact optimum."""
    rng = np.random.default_rng(seed)
    positive = sum(edges.checked_bound(rng) for _ in range(count))
    typer.echo(f"{count} problems, {positive} positive bounds, none above the exact optimum")


@app.command()
def agreement(
    count: Count = 1000, changes: Annotated[int, typer.Option(help="Changes of each certificate.")] = 9, seed: Seed = 0
) -> None:
    """Two checkers on the same files."""
    whole = max(1, count // (changes + 1))
    accepted = sum(two.compare_variants(seed + k, changes) for k in range(whole))
    typer.echo(f"{whole * (changes + 1)} certificates, {accepted} accepted, the two checkers agree on all")


if __name__ == "__main__":
    app()
