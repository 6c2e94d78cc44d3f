"""Refinement against multi-start Adam with the same processor seconds, on planted, noise and real problems.

Each row gives both the same processor seconds of one thread. Adam has them twice: once for a single start of its
cosine, once divided among several starts with other first steps; the better of its two ends counts, balanced.

    python experiments/search/run.py    # see --help
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import reluopt
from reluopt.clock import Clock
from reluopt.losses import make_loss
from reluopt.losses.protocol import each_sample
from reluopt.search.refinement import refine
from reluopt.tracking import style

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the studies' library is

from _lib.problems import at_fraction
from _lib.study import Study, main

#: First steps of Adam's starts in turn, and how far each falls.
STEPS, FALL = (0.03, 0.1, 0.01), 1e-4
#: At most so much above Adam, in the median.
ALLOWED = 1e-4


def points(config: dict[str, Any]) -> list[dict[str, Any]]:
    """One point for each instance and seed."""
    shared = {key: config[key] for key in ("budget", "width", "starts")}
    return [instance | shared | {"seed": seed} for instance in config["instance"] for seed in config["seeds"]]


def problem_of(point: dict[str, Any]) -> reluopt.Problem:
    """The problem; its data do not depend on the seed."""
    loss = make_loss(point.get("loss", "squared"))
    if point["kind"] == "real":
        settings = reluopt.DataConfig(dataset=point["data"], **({"task": "multiclass"} if point.get("classes") else {}))
        data = reluopt.load_dataset(settings)
        X, y = data.X, data.y
    elif point["kind"] == "planted":
        data = reluopt.planted(point["n"], point["d"], width=5, noise=0.1, seed=0)
        X, y = data.X, data.y
    else:
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((point["n"], point["d"])), rng.standard_normal(point["n"])
    if loss.classes and not loss.couples and y.ndim == 1:
        y = np.where(y > 0, 1.0, -1.0)
    return at_fraction(X, y, point["fraction"], loss)


def adam(problem: reluopt.Problem, width: int, first: float, seed: int, seconds: float) -> float:
    """L_bal where Adam ends whose step falls along a cosine of the processor time from ``first``."""
    generator = torch.Generator().manual_seed(seed)
    X, y, kappa = (torch.from_numpy(part) for part in (problem.X, problem.targets, problem.weights))
    shapes = (width, problem.d), (width, *problem.targets.shape[1:])
    U, alpha = (
        (0.1 * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes
    )
    optimizer = torch.optim.Adam([U, alpha], lr=first, weight_decay=problem.beta, fused=True)
    clock = Clock(seconds, time.process_time)
    while not clock.over:
        share = min(1.0, clock.spent / seconds)
        optimizer.param_groups[0]["lr"] = first * (FALL + (1 - FALL) * 0.5 * (1 + math.cos(math.pi * share)))
        optimizer.zero_grad()
        f = torch.relu(X @ U.T) @ alpha
        slope = problem.loss.gradient(f.detach(), y)
        f.backward(each_sample(kappa, slope) * slope)
        optimizer.step()
    value = problem.balanced_objective(U.detach().numpy(), alpha.detach().numpy())
    return value if math.isfinite(value) else math.inf


def task(point: dict[str, Any]) -> dict[str, Any]:
    """L where both end."""
    torch.set_num_threads(1)
    problem, seconds, starts, seed = problem_of(point), point["budget"], point["starts"], point["seed"]
    end = refine(problem, clock=Clock(seconds, time.process_time), tolerance=1e-6, seed=seed)
    one = adam(problem, point["width"], STEPS[0], starts * seed, seconds)
    each = [
        adam(problem, point["width"], STEPS[k % len(STEPS)], starts * seed + k, seconds / starts) for k in range(starts)
    ]
    return {
        "beta": problem.beta, "solve": end.objective, "price": end.price, "neurons": end.neurons,
        "spent": min(end.seconds, seconds), "adam_one": one, "adam_several": min(each),
    }  # fmt: skip


def summarise(rows: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """For each instance the ends, the relative difference of each seed's pair, and how many instances hold."""
    shown = []
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        pairs = [(row["solve"], min(row["adam_one"], row["adam_several"])) for row in mine]
        excess = [solve / other - 1 for solve, other in pairs]
        shown.append({
            "name": name,
            "solve": float(np.median([solve for solve, _ in pairs])),
            "adam": float(np.median([other for _, other in pairs])),
            "excess": excess,
            "median": float(np.median(excess)),
            "neurons": float(np.median([row["neurons"] for row in mine])),
            "price": float(np.median([row["price"] for row in mine])),
        })  # fmt: skip
    held = sum(entry["median"] <= ALLOWED for entry in shown)
    return {"instances": shown, "held": held, "seconds": config["budget"], "seeds": len(config["seeds"])}


def table(results: dict[str, Any]) -> list[str]:
    """README's table."""
    lines = [
        f"In the median of {results['seeds']} seeds refinement ends at most {ALLOWED:g} above multi-start Adam on "
        f"{results['held']} of {len(results['instances'])} instances, {results['seconds']:g} processor seconds each.",
        "| instance | L, solve | L, Adam | solve above Adam, %: median | least | most | neurons | largest price/β |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in results["instances"]:
        cells = [entry["name"], f"{entry['solve']:.6g}", f"{entry['adam']:.6g}"]
        cells += [f"{100 * f(entry['excess']):+.4f}" for f in (np.median, min, max)]
        cells += [f"{entry['neurons']:.0f}", f"{entry['price']:.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw(results: dict[str, Any], config: dict[str, Any]) -> Figure:
    """A row for each instance: the relative difference of each seed's pair; left of zero refinement is lower."""
    entries = results["instances"][::-1]
    figure, axes = style.figure(7.2, 1.0 + 0.28 * len(entries))
    for height, entry in enumerate(entries):
        values = 100 * np.array(entry["excess"])
        axes.plot(values, np.full(len(values), height), linestyle="none", marker="o", markersize=4, color="#1f77b4")
        axes.plot(100 * entry["median"], height, marker="|", markersize=14, color="#d62728")
    axes.axvline(0.0, color="#444444", linewidth=0.8)
    axes.set(xscale="symlog", xlabel="L of solve above L of Adam, % (a dot a seed, the median a line)")
    axes.set_xscale("symlog", linthresh=1e-2)
    axes.set_yticks(range(len(entries)), [entry["name"] for entry in entries], fontsize=7)
    style.title(axes, f"{results['seconds']:g} processor seconds each")
    return figure


study = Study(here=Path(__file__).resolve().parent, points=points, task=task, summarise=summarise, draw=draw)

if __name__ == "__main__":
    main(study)
