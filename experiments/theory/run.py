"""The theory's quantities against n for Gaussian data with n/d = c; write results.json and figure.png.

    .venv/bin/python experiments/theory/run.py            # four to eight minutes on two cores
    .venv/bin/python experiments/theory/run.py --redraw   # only the figure, from results.json

Data: X i.i.d. N(0, 1) (assumption (A1) of the paper), y from a planted ReLU network of width 5 with 10 % noise,
β = 0.1 β_max, P = 2n distinct Gaussian patterns. p* is not known at these sizes: p̃(S)/p* is shown as the interval
between p̃(S)/L for the network that `reluopt train` finds with its defaults (L ≥ p*) and p̃(S)/LB for the proved
moment bound (LB ≤ p*).
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes, two cores

import numpy as np
import typer

import reluopt
from reluopt.bounds import moment
from reluopt.data import planted
from reluopt.patterns.sampling import discover_patterns
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.search.pricing import beta_max_estimate
from reluopt.solvers.native import NativeSolver
from reluopt.theory.kernel import expected_gram, kappa, log_factor, smallest_eigenvalue
from reluopt.theory.sharpness_4_1_to_4_5 import sampled_sharpness
from reluopt.tracking import style

HERE = Path(__file__).resolve().parent
RATIOS = (1, 2, 5)
SIZES = (20, 40, 80, 160, 320, 640)
SHARPNESS_UP_TO, SOLVED_UP_TO = 320, 160  # a cone program for each sharpness, a convex program for each p̃
SEEDS = (0, 1, 2)


def study(case: tuple[int, int, int]) -> dict[str, Any]:
    """One data set: the kernel, the sharpness of 20 cones, the bracket of p̃/p*, the latter two up to a size."""
    n, c, seed = case
    started = time.perf_counter()
    data = planted(n, n // c, seed=seed)
    X, y, rng = data.X, data.y, np.random.default_rng(seed)
    patterns = discover_patterns(X, 2 * n, rng).patterns
    row = {
        "n": n,
        "d": n // c,
        "c": c,
        "seed": seed,
        "lambda_min_over_d": smallest_eigenvalue(expected_gram(X)) / (n // c),
        "kappa": kappa(X),
        "sqrt_log_2n": log_factor(n),
    }
    if n <= SHARPNESS_UP_TO:
        sharp = sampled_sharpness(X, patterns, rng, cones=20).values
        row |= {"sharpness_median": float(np.median(sharp)), "sharpness_largest": float(sharp.max())}
    if n <= SOLVED_UP_TO:
        beta = 0.1 * beta_max_estimate(X, y)
        relaxed = NativeSolver(tolerance=1e-3, time_limit=60).solve(RelaxedProgram(X, y, patterns, beta))
        config = reluopt.TrainConfig(beta=beta, seed=seed)
        trained = reluopt.Trainer(config.make_network(data.d), X, y, beta, config, progress=False).fit().objective
        row |= {
            "patterns": len(patterns),
            "relaxed": relaxed.value,
            "relaxed_gap": relaxed.relative_gap,
            "lower_bound": moment(X, y, beta).value,
            "trained": trained,
        }
    return row | {"seconds": round(time.perf_counter() - started, 1)}


def draw(rows: list[dict[str, Any]], out: Path) -> None:
    """Four panels against n; lines are medians over the seeds, bands their range (or the bracket of p̃/p*)."""
    figure, axes = style.figure(9.0, 7.0, ncols=2, nrows=2)
    panels = dict(zip(("lambda_min_over_d", "kappa", "sharpness_largest", "ratio"), axes.flat, strict=True))
    for index, c in enumerate(RATIOS):
        mine = [row for row in rows if row["c"] == c]
        for key in ("lambda_min_over_d", "kappa", "sharpness_largest"):
            sizes, values = _by_size([(row["n"], row[key]) for row in mine if key in row])
            style.band(panels[key], sizes, values, f"n/d = {c}", index)
        solved = [row for row in mine if "relaxed" in row]
        sizes, low = _by_size([(row["n"], row["relaxed"] / row["trained"]) for row in solved])
        _, high = _by_size([(row["n"], row["relaxed"] / row["lower_bound"]) for row in solved])
        style.band(panels["ratio"], sizes, low, f"n/d = {c}", index, upper=high)
    titles = {
        "lambda_min_over_d": "λmin(M)/d; KP Thm 3.9 puts it above 1/10 for large d",
        "kappa": "κ = λmax(XXᵀ)/λmin(M)",
        "sharpness_largest": "largest sharpness C(K, z) of 20 sampled cones",
        "ratio": "p̃(S)/p*, P = 2n patterns, between p̃/L and p̃/LB",
    }
    n = np.array(SIZES, dtype=np.float64)
    for key, axis in panels.items():
        axis.set(xscale="log", xlabel="n")
        style.title(axis, titles[key])
        axis.set_xticks(SIZES, [str(size) for size in SIZES], minor=False)
        axis.minorticks_off()
    panels["lambda_min_over_d"].axhline(0.1, color="black", linestyle=":", label="1/10")
    panels["kappa"].set_yscale("log")
    panels["sharpness_largest"].set(yscale="log", yticks=[1, 2, 5, 10, 20], yticklabels=["1", "2", "5", "10", "20"])
    panels["sharpness_largest"].minorticks_off()
    for key in ("sharpness_largest", "ratio"):
        panels[key].plot(n, np.sqrt(np.log(2 * n)), color="black", linestyle="--", label="√log(2n)")
    panels["ratio"].set_xlim(panels["kappa"].get_xlim())
    panels["ratio"].set_ylim(bottom=1.0)
    for axis in panels.values():
        style.legend(axis)
    style.save(figure, out / "figure.png")


def _by_size(points: list[tuple[int, float]]) -> tuple[list[int], np.ndarray]:
    """The sizes, and one row a seed, one column a size."""
    sizes = sorted({n for n, _ in points})
    return sizes, np.array([[value for n, value in points if n == size] for size in sizes]).T


def main(out: Path = HERE, workers: int = 2, redraw: bool = False) -> None:
    """Run the study and write results.json and figure.png into OUT."""
    if redraw:
        draw(json.loads((out / "results.json").read_text()), out)
        return
    cases = [(n, c, seed) for n in reversed(SIZES) for c in RATIOS for seed in SEEDS]
    with ProcessPoolExecutor(workers) as pool:
        rows = sorted(pool.map(study, cases), key=lambda row: (row["c"], row["n"], row["seed"]))
    (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, out)


if __name__ == "__main__":
    typer.run(main)
