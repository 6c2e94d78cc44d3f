"""KP Theorem 2.5 from many random starts: L(θ), p̃(S(θ)), p̃(S_kept), p̃(Gaussian) and a proved lower bound of p*.

    python experiments/theorem25/run.py            # config.toml, paper size
    python experiments/theorem25/run.py experiments/theorem25/small.toml

One data set; every row is one network. S(θ) are the patterns of its active neurons, S_kept those unchanged since its
start, and p̃(Gaussian) is taken over the patterns of the start itself, whose weights are i.i.d. Gaussian gates. The
lower bound is tightened for a fixed wall-clock time, so its value depends on the machine; whatever it is, it is proved.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import reluopt
from reluopt import printing
from reluopt.bounds import moment, tightened
from reluopt.certificate.stationary_point import kept_patterns
from reluopt.patterns.drift import unchanged_neurons
from reluopt.programs.mapping import active_patterns
from reluopt.tracking import style

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the studies' library is

from _lib.problems import at_fraction
from _lib.study import Study, main

RUNGS = {"kept": "p̃(S_kept)", "gaussian": "p̃(Gaussian)", "objective": "L(θ)", "own": "p̃(S(θ))"}
NAMES = {"sgd": "SGD", "adam": "Adam"}
FACTS = ("kept_fraction", "kept_patterns", "kept_and_active", "own_patterns")
BATCHES = 4
#: SGD's first step is this over a bound on the curvature, ‖X‖₂(‖y‖ + ‖X‖₂ m scale²).
SGD_STEP = 0.1
#: Programs are solved to the first relative gap; values are compared up to the second.
TOLERANCE, SLACK = 1e-5, 1 + 1e-4
#: What is counted over the starts; the first is the theorem's assumption, the others are parts of its chain.
RELATIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "(A2)": lambda row: row["kept_fraction"] >= 0.5,
    "L ≥ p̃(S(θ))": lambda row: row["objective"] * SLACK >= row["own"],
    "L ≤ 1.01 p̃(S(θ))": lambda row: row["objective"] <= row["own"] * 1.01,
    "p̃(S(θ)) ≤ p̃(S_kept)": lambda row: row["own"] <= row["kept"] * SLACK,
    "L ≤ p̃(S_kept)": lambda row: row["objective"] <= row["kept"] * SLACK,
    "L ≤ p̃(Gaussian)": lambda row: row["objective"] <= row["gaussian"] * SLACK,
}
#: The axis shows the logarithm of the excess over LB, so that 2 % and a factor of ten are both seen.
FLOOR = 0.02
EXCESS = (lambda v: np.log(np.maximum(v - 1 + FLOOR, 1e-9)), lambda t: np.exp(t) + 1 - FLOOR)


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The bound of the data set, and every start of every kind of network."""
    case = {key: config[key] for key in ("data", "n", "d", "data_seed", "beta_fraction")}
    kinds = product(config["widths"], config["scales"], config["optimizers"], range(config["starts"]))
    bound = case | {"optimizer": None, "seconds_allowed": config["bound_seconds"]}
    return [bound] + [
        case | {"optimizer": optimizer, "steps": config["steps"], "width": width, "scale": scale, "start": start}
        for width, scale, optimizer, start in kinds
    ]


def task(point: dict[str, Any]) -> dict[str, Any]:
    """The rungs of one network, or the lower bound of the data set."""
    data = getattr(reluopt, point["data"])(point["n"], point["d"], seed=point["data_seed"])
    problem = at_fraction(data.X, data.y, point["beta_fraction"])
    if point["optimizer"] is None:
        first = moment(problem).value
        return {"bound": max(first, tightened(problem, time_limit=point["seconds_allowed"]).value), "moment": first}
    network, initial = train(problem, point)
    X, (U, alpha) = problem.X, network.weights()
    own, kept = active_patterns(X, U, alpha, 1e-6), kept_patterns(X, initial, U)
    return {
        "objective": problem.objective(U, alpha),
        "own": optimum(problem, own),
        "kept": optimum(problem, kept),
        "gaussian": optimum(problem, reluopt.PatternSet.from_gates(X, initial.T)),
        "own_patterns": len(own),
        "kept_patterns": len(kept),
        "kept_and_active": int((own.positions_of(kept) >= 0).sum()),
        "kept_fraction": float(unchanged_neurons(X, initial, U).mean()),
    }


def train(problem: reluopt.Problem, point: dict[str, Any]) -> tuple[reluopt.TwoLayerReLU, np.ndarray]:
    """A trained network, Adam on all data or SGD with momentum on quarters of them, and U at its start."""
    settings: dict[str, Any] = {"epochs": point["steps"]}
    if point["optimizer"] == "sgd":
        norm = float(np.linalg.norm(problem.X, 2))
        curvature = norm * (float(np.linalg.norm(problem.y)) + norm * point["width"] * point["scale"] ** 2)
        settings = {"epochs": point["steps"] // BATCHES, "batch_size": -(-problem.n // BATCHES)}
        settings["learning_rate"] = SGD_STEP / curvature
    settings |= {"width": point["width"], "init_scale": point["scale"], "seed": point["start"]}
    config = reluopt.TrainConfig(beta=problem.beta, optimizer=point["optimizer"], **settings)
    network = config.make_network(problem.d)
    initial = network.weights()[0]
    return reluopt.Trainer(network, problem, config=config, progress=False).fit().network, initial


def optimum(problem: reluopt.Problem, patterns: reluopt.PatternSet) -> float:
    """p̃ over a pattern set; over none of them the network is zero."""
    if not len(patterns):
        return problem.zero_value
    program = reluopt.RelaxedProgram(problem, patterns)
    return reluopt.solve(program, reluopt.NativeSolver(tolerance=TOLERANCE)).value


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """The rungs of every group of starts, and in how many of them each relation of the theorem holds."""
    bound = next((row for row in rows if row["optimizer"] is None), {})
    networks, groups = [row for row in rows if row["optimizer"] is not None], []
    for width, scale, optimizer in product(config["widths"], config["scales"], config["optimizers"]):
        mine = [r for r in networks if (r["width"], r["scale"], r["optimizer"]) == (width, scale, optimizer)]
        values = {key: [row[key] for row in mine] for key in (*RUNGS, *FACTS)}
        kind = {"width": width, "scale": scale, "optimizer": optimizer, "starts": len(mine)}
        holds = {name: sum(map(relation, mine)) for name, relation in RELATIONS.items()}
        groups.append(kind | values | {"holds": holds})
    return {
        "lower_bound": bound.get("bound"),
        "moment_bound": bound.get("moment"),
        "best_known": min(row[rung] for row in networks for rung in RUNGS),
        "groups": groups,
    }


def _unit(results: dict[str, Any]) -> tuple[str, float]:
    """What values are divided by: the lower bound, or the best known objective where its row failed."""
    low = results["lower_bound"]
    return ("proved lower bound LB", low) if low else ("best known", results["best_known"])


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """A panel for each width and scale: every start is a point on every rung, over the proved lower bound."""
    columns, rows = len(config["scales"]), len(config["widths"])
    figure, axes = style.figure(1.0 + 3.9 * columns, 1.2 + 2.7 * rows, ncols=columns, nrows=rows)
    panels = dict(zip(product(config["widths"], config["scales"]), np.ravel(axes), strict=True))
    unit, scale = _unit(results)
    highest = 1.5 * max(max(group[rung]) for group in results["groups"] for rung in RUNGS) / scale
    for (width, start), axis in panels.items():
        axis.axhspan(1.0, results["best_known"] / scale, color=style.SHADE, zorder=0, label="p* is in here")
        for index, optimizer in enumerate(config["optimizers"]):
            for group in results["groups"]:
                if (group["width"], group["scale"], group["optimizer"]) == (width, start, optimizer):
                    _strips(axis, group, scale, index, len(config["optimizers"]))
        axis.axhline(1.0, color=style.COLOURS[3], linestyle=":", label=unit)
        axis.set_xticks(range(len(RUNGS)), list(RUNGS.values()))
        axis.set(xlim=(-0.5, len(RUNGS) - 0.5), ylabel=f"value / {unit}")
        axis.set_yscale("function", functions=EXCESS)
        axis.set_ylim(1 - FLOOR / 2, highest)
        ticks = [t for t in (1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100) if t <= highest]
        axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
        style.title(axis, f"width m = {width}, start N(0, {start:g}²)")
    handles, labels = np.ravel(axes)[0].get_legend_handles_labels()
    style.legend(figure, handles=handles, labels=labels, ncols=min(4, 2 * columns))
    return figure


def _strips(axis: Axes, group: dict[str, Any], scale: float, index: int, count: int) -> None:
    """The starts of one optimiser on every rung, side by side with the others', and their median as a bar."""
    look = style.series(index)
    for place, rung in enumerate(RUNGS):
        values = np.array(group[rung]) / scale
        centre = place + (index - (count - 1) / 2) * 0.36
        spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
        label = f"{NAMES[group['optimizer']]}, one point a start"
        axis.plot(
            centre + spread, values, look["marker"], color=look["color"], markersize=3.5, alpha=0.7,
            label=label if place == 0 else None,
        )  # fmt: skip
        axis.hlines(np.median(values), centre - 0.16, centre + 0.16, color=style.INK, linewidth=1.5)


def table(results: dict[str, Any]) -> list[str]:
    """Medians over the starts as multiples of the lower bound, and in how many starts each relation holds."""
    heads = ["m", "scale", "optimiser", *RUNGS.values(), "kept", *RELATIONS]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    scale = _unit(results)[1]
    for group in results["groups"]:
        medians = " | ".join(printing.above(np.median(group[rung]) / scale, decimals=3) for rung in RUNGS)
        holds, starts = group["holds"], group["starts"]
        counts = " | ".join(f"{holds[key]}/{starts}" for key in RELATIONS)
        lines.append(
            f"| {group['width']} | {group['scale']:g} | {group['optimizer']} | {medians} "
            f"| {np.median(group['kept_fraction']):.0%} | {counts} |"
        )
    return lines


study = Study(here=Path(__file__).parent, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
