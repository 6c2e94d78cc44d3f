"""Objective against the number of patterns and the width: relaxation, trained networks, best known, proved bound.

    python experiments/figure1/run.py            # config.toml, paper size
    python experiments/figure1/run.py experiments/figure1/small.toml

Everything is divided by the best known objective of its data set (the smallest of all values of this study, column
generation among them). The lower bound is tightened for a fixed wall-clock time, so its value depends on the machine;
whatever it is, it is proved. All other values depend on the point alone.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import reluopt
from reluopt import printing
from reluopt.bounds import moment, tightened
from reluopt.patterns.sampling import discover_patterns
from reluopt.programs.mapping import active_patterns
from reluopt.tracking import style

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the studies' library is

from _lib.problems import at_fraction
from _lib.study import Study, main

CURVES = {"relaxed": "p̃(P Gaussian patterns)", "sgd": "L of SGD, width m", "adam": "L of Adam, width m"}
BATCHES = 4
#: SGD's first step is this over ‖X‖₂‖y‖ (the units of 1/∇²L, so that one number fits every β and data set).
SGD_STEP = 0.1
#: A price above β(1 + this) makes column generation go on; at most so many new patterns a round.
PRICE_MARGIN, COLUMNS = 1e-4, 50


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Each data set with its bound, its best known network, and every curve at every size."""
    grid = []
    for data, fraction, seed in product(config["data"], config["beta_fractions"], config["seeds"]):
        case = {"data": data, "n": config["n"], "d": config["d"], "beta_fraction": fraction, "seed": seed}
        trained = case | {"steps": config["steps"]}
        grid.append(case | {"curve": "bound", "seconds_allowed": config["bound_seconds"]})
        grid.append(trained | {"curve": "best", "size": config["best_width"], "rounds": config["rounds"]})
        drawn = case | {"curve": "relaxed", "drawn": max(config["sizes"])}
        grid += [drawn | {"size": size} for size in config["sizes"]]
        grid += [trained | {"curve": curve, "size": size} for curve in ("sgd", "adam") for size in config["sizes"]]
    return grid


def task(point: dict[str, Any]) -> dict[str, Any]:
    """One value of one data set."""
    data = getattr(reluopt, point["data"])(point["n"], point["d"], seed=point["seed"])
    problem = at_fraction(data.X, data.y, point["beta_fraction"])
    rng = np.random.default_rng(point["seed"])
    if point["curve"] == "bound":
        first = moment(problem).value
        return {"value": max(first, tightened(problem, time_limit=point["seconds_allowed"]).value), "moment": first}
    if point["curve"] == "relaxed":
        # the first P of one sample, so that more patterns never give a larger optimum
        patterns = discover_patterns(problem.X, point["drawn"], rng).patterns.select(np.arange(point["size"]))
        solution = reluopt.solve(reluopt.RelaxedProgram(problem, patterns), reluopt.NativeSolver(tolerance=1e-4))
        return {"value": solution.value, "gap": solution.relative_gap, "status": solution.status.value}
    if point["curve"] == "best":
        return best_known(problem, train(problem, "adam", point), point["rounds"], rng)
    U, alpha = train(problem, point["curve"], point).weights()
    return {"value": problem.objective(U, alpha)}


def train(problem: reluopt.Problem, optimizer: str, point: dict[str, Any]) -> reluopt.TwoLayerReLU:
    """A network of width ``size`` after ``steps`` steps: Adam on all data, SGD with momentum on quarters of them."""
    settings: dict[str, Any] = {"epochs": point["steps"]}
    if optimizer == "sgd":
        rate = SGD_STEP / float(np.linalg.norm(problem.X, 2) * np.linalg.norm(problem.y))
        settings = {"epochs": point["steps"] // BATCHES, "batch_size": -(-problem.n // BATCHES), "learning_rate": rate}
    config = reluopt.TrainConfig(
        width=point["size"], beta=problem.beta, optimizer=optimizer, seed=point["seed"], **settings
    )
    return reluopt.Trainer(config.make_network(problem.d), problem, config=config, progress=False).fit().network


def best_known(
    problem: reluopt.Problem, network: reluopt.TwoLayerReLU, rounds: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Column generation from a network's patterns: solve, price, add the patterns of neurons that pay, drop idle ones.

    Pricing is a local search: where it finds nothing, that proves nothing.
    """
    patterns = active_patterns(problem.X, *network.weights(), 1e-6)
    for _ in range(rounds):
        solution = reluopt.solve(reluopt.RelaxedProgram(problem, patterns), reluopt.NativeSolver(tolerance=1e-6))
        price = reluopt.price(problem.X, solution.z, rng)
        pays = price.candidate_values > problem.beta * (1 + PRICE_MARGIN)
        grown = patterns.union(reluopt.PatternSet.from_gates(problem.X, price.candidates[:, pays][:, :COLUMNS]))
        if len(grown) == len(patterns):
            break
        idle = np.zeros(len(grown), dtype=bool)
        idle[: len(patterns)] = (solution.blocks == 0).all(axis=(0, 2))
        patterns = grown.select(~idle)
    return {"value": solution.value, "largest_price_over_beta": price.value / problem.beta}


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """For each data set and β: one row a seed, one column a size; bounds and best known one number a seed."""
    panels = []
    for data, fraction in product(config["data"], config["beta_fractions"]):
        mine = [row for row in rows if (row["data"], row["beta_fraction"]) == (data, fraction)]
        seeds = [[row for row in mine if row["seed"] == seed] for seed in config["seeds"]]
        alone = {curve: [_only(seed, curve) for seed in seeds] for curve in ("bound", "best")}
        panels.append(
            {
                "data": data,
                "beta_fraction": fraction,
                "lower_bound": [_value(row) for row in alone["bound"]],
                "moment_bound": [row and row["moment"] for row in alone["bound"]],
                "best_known": [min(row["value"] for row in seed if row["curve"] != "bound") for seed in seeds],
                "column_generation": [_value(row) for row in alone["best"]],
                "largest_price_over_beta": [row and row["largest_price_over_beta"] for row in alone["best"]],
                **{c: [[_value(_only(seed, c, size)) for size in config["sizes"]] for seed in seeds] for c in CURVES},
            }
        )
    return {"sizes": config["sizes"], "n": config["n"], "d": config["d"], "panels": panels}


def _only(rows: list[dict[str, Any]], curve: str, size: int | None = None) -> dict[str, Any] | None:
    """The row of a curve, or None where it failed."""
    found = [row for row in rows if row["curve"] == curve and size in (None, row["size"])]
    return found[0] if found else None


def _value(row: dict[str, Any] | None) -> float | None:
    return None if row is None else row["value"]


def _relative(panel: dict[str, Any], key: str) -> np.ndarray:
    """Values over the best known one of their seed, (seeds, ...); NaN where there is none."""
    values = np.array(panel[key], dtype=np.float64)
    best = np.array(panel["best_known"], dtype=np.float64)
    return values / best.reshape(-1, *[1] * (values.ndim - 1))


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """A panel for each data set and β: the curves over the best known objective, and where p* lies."""
    rows, columns = len(config["data"]), len(config["beta_fractions"])
    figure, axes = style.figure(1.5 + 3.7 * columns, 1.2 + 2.9 * rows, ncols=columns, nrows=rows)
    sizes = results["sizes"]
    for axis, panel in zip(np.ravel(axes), results["panels"], strict=True):
        low = _relative(panel, "lower_bound")
        span = [sizes[0] / 1.25, sizes[-1] * 1.25]
        axis.axhspan(float(np.nanmedian(low)), 1.0, color=style.SHADE, zorder=0, label="p* is in here (median)")
        for index, (curve, label) in enumerate(CURVES.items()):
            style.band(axis, sizes, _relative(panel, curve), label, index)
        style.band(axis, span, np.column_stack([low, low]), "proved lower bound", 3)
        axis.lines[-1].set_marker("")
        axis.axhline(1.0, color=style.INK, linewidth=1, label="best known network")
        axis.set(xscale="log", yscale="log", xlim=span, xlabel="patterns P, or width m")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        ticks = [t for t in (0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20) if axis.get_ylim()[0] <= t <= axis.get_ylim()[1]]
        axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axis.minorticks_off()
        axis.set_ylabel("objective / best known")
        style.title(axis, f"{panel['data']}, n×d = {results['n']}×{results['d']}, β = {panel['beta_fraction']:g} β_max")
    handles, labels = np.ravel(axes)[0].get_legend_handles_labels()
    style.legend(figure, handles=handles, labels=labels, ncols=min(3, columns + 1))
    return figure


def table(results: dict[str, Any]) -> list[str]:
    """Medians over the seeds, as multiples of the best known objective."""
    sizes = results["sizes"]
    shown = sorted({0, len(sizes) // 2, len(sizes) - 1})
    heads = [f"{name} {letter}={sizes[k]}" for name, letter in (("p̃", "P"), ("SGD", "m"), ("Adam", "m")) for k in shown]
    lines = [
        f"| data | β/β_max | {' | '.join(heads)} | proved bound | proved within |",
        "|---" * (len(heads) + 4) + "|",
    ]
    for panel in results["panels"]:
        numbers = [np.nanmedian(_relative(panel, curve), axis=0)[k] for curve in CURVES for k in shown]
        low = float(np.nanmedian(_relative(panel, "lower_bound")))
        cells = " | ".join(printing.nearest(number, decimals=3) for number in numbers)
        bound = f"{printing.below(low, decimals=3)} | {printing.percent_above(printing.excess(1.0, low), 3)}"
        lines.append(f"| {panel['data']} | {panel['beta_fraction']:g} | {cells} | {bound} |")
    return lines


study = Study(here=Path(__file__).parent, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
