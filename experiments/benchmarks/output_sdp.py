"""Several outputs beside their semidefinite programs: Theorem C, and all products (Prakhya, Birdal & Yurtsever).

    OMP_NUM_THREADS=1 .venv/bin/python experiments/benchmarks/output_sdp.py             # minutes
    OMP_NUM_THREADS=1 .venv/bin/python experiments/benchmarks/output_sdp.py --redraw    # only the table

Some rows of iris and wine, all columns and classes, squared loss on unit rows, β = 0.1 β_max. Both programs are stated
in CVXPY (``tests/oracles.py``) and solved by Clarabel, one thread; seconds are the processor's and count the
translation. Their values are float64 optima to the solver's tolerance, those of the package are proved. L is that of a
refined network. The numbers are in output_sdp.json.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy and torch are imported
os.environ["MKL_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the studies' library is

import cvxpy as cp
import torch
import typer
from oracles import all_products_sdp, theorem_c_sdp

from _lib.problems import of_data
from reluopt import printing
from reluopt.bounds.clique import Cliques
from reluopt.bounds.output_moments import OutputMoments
from reluopt.clock import Clock
from reluopt.data import DataConfig
from reluopt.problem import Problem
from reluopt.search.refinement import refine

HERE = Path(__file__).resolve().parent
DATA = ("iris", "wine")


def problem_of(name: str, rows: int, fraction: float) -> Problem:
    """Some samples of a data set, drawn with seed 0; unit rows of its classes."""
    return of_data(DataConfig(dataset=name, task="multiclass", subset=rows), fraction)


def solved(stated: cp.Problem) -> dict[str, Any]:
    """The optimum of a stated program, its solver's word for it, and the seconds."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it may be inaccurate: the status says so
        stated.solve(solver="CLARABEL", max_threads=1)
    return {"value": float(stated.value), "status": stated.status, "seconds": time.process_time() - started}


def proved(run: Callable[[], Any]) -> dict[str, Any]:
    """A bound of the package."""
    started = time.process_time()
    return {"value": run().value, "seconds": time.process_time() - started}


def study(name: str, rows: int, fraction: float, budget: float) -> dict[str, Any]:
    """All four, and L."""
    problem = problem_of(name, rows, fraction)
    X, Y, beta = problem.X, problem.targets, problem.beta
    return {
        "data": name,
        "size": [problem.n, problem.d, problem.outputs],
        "fraction": fraction,
        "L": refine(problem, clock=Clock(15.0, time.process_time), tolerance=1e-5).objective,
        "moments": proved(lambda: OutputMoments().best(problem)),
        "theorem_c": solved(theorem_c_sdp(X, Y, beta)),
        "cliques": proved(lambda: Cliques().best(problem, clock=Clock(budget, time.process_time))),
        "all_products": solved(all_products_sdp(X, Y, beta)),
    }


def table(results: list[dict[str, Any]]) -> list[str]:
    """Markdown: each value, L over it, and its processor seconds."""
    lines = [
        "| data, β/β_max | L | moment bound, proved | Theorem C by Clarabel | products of pairs, proved "
        "| all products by Clarabel |",
        "|---|---|---|---|---|---|",
    ]
    for row in results:
        cells = [f"{row['data']} {'×'.join(map(str, row['size']))}, {row['fraction']:g}", printing.above(row["L"], 6)]
        for name in ("moments", "theorem_c", "cliques", "all_products"):
            found = row[name]
            value = printing.below(found["value"], 6) if name in ("moments", "cliques") else f"{found['value']:.6g}"
            ratio = printing.above(row["L"] / found["value"], decimals=4)
            word = "" if found.get("status", "optimal") == "optimal" else f" ({found['status']})"
            cells.append(f"{value} (L/it {ratio}) in {found['seconds']:.2g} s{word}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main(out: Path = HERE, rows: int = 30, fraction: float = 0.1, budget: float = 60.0, redraw: bool = False) -> None:
    """Write output_sdp.json into OUT and print the table; BUDGET is of the products of pairs."""
    torch.set_num_threads(1)
    file = out / "output_sdp.json"
    if not redraw:
        results = [study(name, rows, fraction, budget) for name in DATA]
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(json.loads(file.read_text(encoding="utf-8")))))


if __name__ == "__main__":
    typer.run(main)
