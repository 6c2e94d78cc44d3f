"""The moment bound beside its semidefinite program: Theorem A by CVXPY and Clarabel, one thread, one run.

    .venv/bin/python experiments/certificates/sdp.py > sdp.json

500 rows of digits at β = 0.1 β_max unless told otherwise. One line of JSON: both values, the seconds of each, their
ratio. `sdp_seconds` counts CVXPY's translation too, `interior_point_seconds` is what Clarabel itself reports; the
`cpu` seconds are those of the processor, which count on a busy machine. Clarabel's value is a float64 optimum to its
tolerances, the moment bound's is proved. Both have solved a small problem before.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy and torch are imported
os.environ["MKL_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import clarabel
import cvxpy as cp
import numpy as np
import torch
import typer
from oracles import theorem_a_sdp

import reluopt
from reluopt.bounds import moment


def interior_point(problem: reluopt.Problem) -> dict[str, Any]:
    """Theorem A's program, stated, translated and solved."""
    started, cpu = time.perf_counter(), time.process_time()
    stated = theorem_a_sdp(problem.X, problem.y, problem.beta)
    stated.solve(solver="CLARABEL", max_threads=1)
    stats = stated.solver_stats
    return {
        "sdp_value": float(stated.value),
        "sdp_status": stated.status,
        "sdp_seconds": time.perf_counter() - started,
        "sdp_cpu_seconds": time.process_time() - cpu,
        "interior_point_seconds": stats.solve_time,
        "interior_point_steps": stats.num_iters,
    }


def factored(problem: reluopt.Problem) -> dict[str, Any]:
    """The same bound over low-rank factors, with its proof."""
    started, cpu = time.perf_counter(), time.process_time()
    bound = moment(problem)
    return {
        "moment_value": bound.value,
        "moment_seconds": time.perf_counter() - started,
        "moment_cpu_seconds": time.process_time() - cpu,
    }


def study(dataset: str, n: int, fraction: float, seed: int) -> dict[str, Any]:
    """Both on ``n`` rows of a data set, drawn without replacement."""
    torch.set_num_threads(1)
    data = reluopt.load_dataset(reluopt.DataConfig(dataset=dataset))
    rows = np.random.default_rng(seed).choice(data.n, min(n, data.n), replace=False)
    X, y = np.ascontiguousarray(data.X[rows]), np.ascontiguousarray(data.y[rows])
    beta = fraction * reluopt.beta_max_estimate(X, y)
    small, whole = reluopt.Problem(X[:10, :3], y[:10], beta=0.1 * beta), reluopt.Problem(X, y, beta=beta)
    interior_point(small)
    factored(small)
    line = factored(whole) | interior_point(whole)
    return {
        "instance": f"{dataset}_{len(X)}x{X.shape[1]}_b{fraction:g}",
        "seed": seed,
        "beta": beta,
        **line,
        "difference": line["sdp_value"] / line["moment_value"] - 1,
        "ratio": line["sdp_seconds"] / line["moment_seconds"],
        "cpu_ratio": line["sdp_cpu_seconds"] / line["moment_cpu_seconds"],
        "versions": {"cvxpy": cp.__version__, "clarabel": clarabel.__version__, "reluopt": reluopt.__version__},
    }


def main(
    dataset: Annotated[str, typer.Option(help="A built-in data set.")] = "digits",
    n: Annotated[int, typer.Option(help="How many of its rows.")] = 500,
    fraction: Annotated[float, typer.Option(help="β/β_max, β_max by local search.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the rows.")] = 0,
) -> None:
    """Print the line."""
    typer.echo(json.dumps(study(dataset, n, fraction, seed)))


if __name__ == "__main__":
    typer.run(main)
