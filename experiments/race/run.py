"""L over processor seconds: refinement, Adam, SGD, L-BFGS, and sampled convex programs with their mapping.

    .venv/bin/python experiments/race/run.py             # about a minute of processor time
    .venv/bin/python experiments/race/run.py --redraw    # only figure and table, from results.json

Every runner has the same processor seconds of one thread for each of five seeds. Adam and SGD fall along a cosine that
ends with the time, from the first step that does best in a short trial of seed 0; L-BFGS is torch's with strong Wolfe
line search; the networks have width 100. pyscnn and adelie solve the convex program over 50 Gaussian patterns; what
they find is mapped to a network, one point a seed. Peers that are not installed are left out.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import typer

import reluopt
from reluopt.clock import Clock
from reluopt.patterns.sampling import discover_patterns
from reluopt.programs.mapping import network_from_blocks
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.search.refinement import refinements
from reluopt.tracking import style

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "benchmarks" / "convex_relu")]

from benchmark_utils import peers  # noqa: E402

from _lib.problems import of_data  # noqa: E402

INSTANCES = {"diabetes, β = 0.1 β_max": ("diabetes", 0.1), "breast_cancer, β = 0.01 β_max": ("breast_cancer", 0.01)}
SEEDS, WIDTH, PATTERNS = (0, 1, 2, 3, 4), 100, 50
EFFORTS = {"pyscnn": 2.0**8, "adelie": 1e-6}
STEPS = {"adam": (0.1, 0.03, 0.01, 0.003), "sgd": (3e-3, 1e-3, 3e-4, 1e-4)}
#: Records of one run at most.
POINTS = 60
#: (seconds, L), one a record.
Trace = list[tuple[float, float]]


def problem_of(instance: str) -> reluopt.Problem:
    """The problem of a name in INSTANCES."""
    name, fraction = INSTANCES[instance]
    return of_data(reluopt.DataConfig(dataset=name), fraction)


def refined(problem: reluopt.Problem, seed: int, seconds: float) -> Trace:
    """The package's refinement from nothing."""
    clock = Clock(seconds, time.process_time)
    return [(clock.spent, at.objective) for at in refinements(problem, clock=clock, tolerance=1e-6, seed=seed)]


class Weights:
    """A random network in torch, and L of it."""

    def __init__(self, problem: reluopt.Problem, seed: int) -> None:
        torch.manual_seed(seed)
        self.problem, self.X, self.y = problem, torch.as_tensor(problem.X), torch.as_tensor(problem.y)
        self.U = (0.1 * torch.randn(WIDTH, problem.d, dtype=torch.float64)).requires_grad_()
        self.alpha = (0.1 * torch.randn(WIDTH, dtype=torch.float64)).requires_grad_()

    def objective(self) -> torch.Tensor:
        """L(U, α)."""
        residual = torch.relu(self.X @ self.U.T) @ self.alpha - self.y
        return 0.5 * (residual**2).sum() + 0.5 * self.problem.beta * ((self.U**2).sum() + (self.alpha**2).sum())

    def balanced(self) -> float:
        """L_bal, which every method may claim."""
        return self.problem.balanced_objective(self.U.detach().numpy(), self.alpha.detach().numpy())


def first_order(method: str, first: float) -> Callable[[reluopt.Problem, int, float], Trace]:
    """Adam or SGD from a first step, which falls to a thousandth of it along a cosine of the time."""

    def run(problem: reluopt.Problem, seed: int, seconds: float) -> Trace:
        at, clock, trace = Weights(problem, seed), Clock(seconds, time.process_time), list[tuple[float, float]]()
        kind = torch.optim.Adam if method == "adam" else torch.optim.SGD
        optimizer = kind([at.U, at.alpha], lr=first, **({} if method == "adam" else {"momentum": 0.9}))
        while not clock.over:
            share = min(1.0, clock.spent / seconds)
            for group in optimizer.param_groups:
                group["lr"] = first * (1e-3 + 0.999 * 0.5 * (1 + math.cos(math.pi * share)))
            optimizer.zero_grad()
            value = at.objective()
            value.backward()
            optimizer.step()
            if not math.isfinite(value.item()):
                return [*trace, (clock.spent, math.inf)]
            if len(trace) < POINTS * share:
                trace.append((clock.spent, at.balanced()))
        return [*trace, (clock.spent, at.balanced())]

    return run


def lbfgs(problem: reluopt.Problem, seed: int, seconds: float) -> Trace:
    """torch's L-BFGS with a strong Wolfe line search."""
    at, clock, trace = Weights(problem, seed), Clock(seconds, time.process_time), list[tuple[float, float]]()
    optimizer = torch.optim.LBFGS([at.U, at.alpha], max_iter=10, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = at.objective()
        value.backward()
        return value

    while not clock.over:
        before = trace[-1][1] if trace else math.inf
        optimizer.step(closure)
        trace.append((clock.spent, at.balanced()))
        if not trace[-1][1] < before:
            break
    return trace[:: max(1, len(trace) // POINTS)] + trace[-1:]


def mapped(solver: str) -> Callable[[reluopt.Problem, int, float], Trace]:
    """A peer's convex program over sampled patterns, and the network of what it finds."""

    def run(problem: reluopt.Problem, seed: int, seconds: float) -> Trace:
        started = time.process_time()
        patterns = discover_patterns(problem.X, PATTERNS, np.random.default_rng(seed)).patterns
        blocks = peers.SOLVERS[solver](RelaxedProgram(problem, patterns), EFFORTS[solver])
        network = network_from_blocks(blocks)
        return [(time.process_time() - started, problem.balanced_objective(*network.weights()))]

    return run


def runners(instance: str, seconds: float) -> dict[str, Callable[[reluopt.Problem, int, float], Trace]]:
    """All runners that are installed; first steps chosen by a short trial."""
    problem, best = problem_of(instance), {}
    for method, steps in STEPS.items():
        best[method] = min(steps, key=lambda step: first_order(method, step)(problem, 0, 0.25 * seconds)[-1][1])
    chosen = {"solve": refined} | {method: first_order(method, step) for method, step in best.items()}
    return chosen | {"lbfgs": lbfgs} | {name: mapped(name) for name in EFFORTS if not peers.missing(name)}


def race(case: tuple[str, float]) -> list[dict[str, Any]]:
    """All rows of one instance."""
    instance, seconds = case
    torch.set_num_threads(1)
    problem, rows = problem_of(instance), []
    for name, runner in runners(instance, seconds).items():
        for seed in SEEDS:
            trace = [(round(s, 4), value) for s, value in runner(problem, seed, seconds) if math.isfinite(value)]
            rows.append({"instance": instance, "runner": name, "seed": seed, "trace": trace})
    return rows


def _ends(rows: list[dict[str, Any]], instance: str, runner: str) -> list[float]:
    """The least L of every seed."""
    mine = [row for row in rows if (row["instance"], row["runner"]) == (instance, runner)]
    return [min(value for _, value in row["trace"]) for row in mine if row["trace"]]


def _reached(rows: list[dict[str, Any]], instance: str, runner: str, value: float) -> list[float]:
    """Seconds of every seed until L ≤ ``value``, inf where it is not reached."""
    mine = [row for row in rows if (row["instance"], row["runner"]) == (instance, runner)]
    return [min((s for s, v in row["trace"] if v <= value), default=math.inf) for row in mine]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: the median and the range of the ends, and the seconds until Adam's median end times 1 + 1e-4."""
    lines = ["| instance | runner | L at the end: median (range) | seconds to Adam's median end · (1 + 1e-4) |"]
    lines.append("|---|---|---|---|")
    for instance in dict.fromkeys(row["instance"] for row in rows):
        goal = float(np.median(_ends(rows, instance, "adam"))) * (1 + 1e-4)
        for runner in dict.fromkeys(row["runner"] for row in rows if row["instance"] == instance):
            ends, seconds = _ends(rows, instance, runner), np.median(_reached(rows, instance, runner, goal))
            if not ends:
                continue
            when = f"{seconds:.2f}" if math.isfinite(seconds) else "not reached"
            lines.append(
                f"| {instance} | {runner} | {np.median(ends):.4f} ({min(ends):.4f} to {max(ends):.4f}) | {when} |"
            )
    return lines


def draw(rows: list[dict[str, Any]], out: Path) -> None:
    """One panel an instance: (L − best)/best over processor seconds, medians and bands over the seeds."""
    instances = list(dict.fromkeys(row["instance"] for row in rows))
    figure, axes = style.figure(10.0, 4.2, ncols=len(instances))
    for axis, instance in zip(np.atleast_1d(axes), instances, strict=True):
        mine = [row for row in rows if row["instance"] == instance]
        best = min(value for row in mine for _, value in row["trace"])
        times = np.geomspace(0.01, max(s for row in mine for s, _ in row["trace"]), 80)
        for index, runner in enumerate(dict.fromkeys(row["runner"] for row in mine)):
            traces = [row["trace"] for row in mine if row["runner"] == runner and row["trace"]]
            if not traces:
                continue
            if all(len(trace) == 1 for trace in traces):
                points = np.array([trace[0] for trace in traces])
                look = style.series(index) | {"linestyle": "none"}
                axis.plot(points[:, 0], points[:, 1] / best - 1 + 1e-7, label=runner, **look)
                continue
            runs = np.array([[_at(trace, t) for t in times] for trace in traces])
            style.band(axis, times, runs / best - 1 + 1e-7, runner, index)
        axis.set(xscale="log", yscale="log", xlabel="processor seconds", ylabel="(L − best)/best + 1e-7")
        style.title(axis, instance)
        style.legend(axis)
    style.save(figure, out / "figure.png")


def _at(trace: Trace, seconds: float) -> float:
    """The least L by then, nan where there is none."""
    return min((value for s, value in trace if s <= seconds), default=math.nan)


def main(out: Path = HERE, seconds: float = 1.0, workers: int = 2, redraw: bool = False) -> None:
    """Run the race and write results.json and figure.png into OUT; print the table."""
    if not redraw:
        with ProcessPoolExecutor(workers) as pool:
            rows = [row for part in pool.map(race, [(name, seconds) for name in INSTANCES]) for row in part]
        (out / "results.json").write_text(json.dumps(rows) + "\n")
    rows = json.loads((out / "results.json").read_text())
    draw(rows, out)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    typer.run(main)
