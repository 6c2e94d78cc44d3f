"""Refinement and Adam on classes, in pairs: how many times sooner is Adam's end reached?

    OMP_NUM_THREADS=1 .venv/bin/python experiments/race/paired.py             # some minutes of processor time
    OMP_NUM_THREADS=1 .venv/bin/python experiments/race/paired.py --redraw    # only the table, from paired.json

Both run in one process and one thread, one after the other, and the next pair in the other order; all seconds are the
processor's, after a small warm-up. Adam is `reluopt train` with its defaults (width 100, 15,000 epochs, cosine).
*Adam's end* is its last L with balanced neurons. Refinement starts from nothing, reaches that end at its first network
with L ≤ end·(1 + 1e-4), and goes on until L ≤ end or no neuron is dearer than β(1 + 1e-4). Adam's seconds are those of
its whole training, and those to its first of 500 records with L ≤ end·(1 + 1e-4), which only hindsight can tell.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import typer

from reluopt import printing
from reluopt.clock import Clock
from reluopt.data import DataConfig
from reluopt.problem import Problem
from reluopt.search.refinement import refinements
from reluopt.training import TrainConfig, Trainer
from reluopt.training.callbacks import Callback, Record
from reluopt.training.state import TrainState

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # where the studies' library is

from _lib.problems import of_data  # noqa: E402

#: Name: data set, task, loss, β/β_max.
INSTANCES = {
    "breast_cancer, logistic": ("breast_cancer", "classification", "logistic", 0.1),
    "digits 0-4 and 5-9, logistic": ("digits", "classification", "logistic", 0.1),
    "digits, ten classes, squared": ("digits", "multiclass", "squared", 0.1),
    "digits, ten classes, cross-entropy": ("digits", "multiclass", "cross_entropy", 0.1),
}
CLOSE = 1e-4


class Seconds(Callback):
    """(processor seconds, L) of every record."""

    def __init__(self) -> None:
        self.started, self.trace = time.process_time(), list[tuple[float, float]]()

    def on_record(self, state: TrainState, record: Record) -> None:
        """Note it."""
        self.trace.append((time.process_time() - self.started, record.scalars["train/objective"]))


def problem_of(instance: str) -> Problem:
    """The problem of a name in INSTANCES."""
    name, task, loss, fraction = INSTANCES[instance]
    return of_data(DataConfig(dataset=name, task=task), fraction, loss)


def adam(problem: Problem, seed: int, epochs: int) -> tuple[list[tuple[float, float]], float]:
    """The records of a training, and L of its balanced network."""
    settings = TrainConfig(loss=problem.loss.spec, epochs=epochs, seed=seed)
    network, seen = settings.make_network(problem.d, problem.outputs), Seconds()
    Trainer(network, problem, config=settings, callbacks=[seen], progress=False).fit()
    return seen.trace, problem.balanced_objective(*network.weights())


def refined(problem: Problem, seed: int, end: float, seconds: float) -> list[tuple[float, float]]:
    """(processor seconds, L) of every network on the way to ``end``."""
    clock, trace = Clock(seconds, time.process_time), list[tuple[float, float]]()
    for at in refinements(problem, clock=clock, tolerance=1e-4, seed=seed):
        trace.append((clock.spent, at.objective))
        if at.objective <= end:
            break
    return trace


def reached(trace: list[tuple[float, float]], value: float) -> float | None:
    """The seconds at which L ≤ ``value`` for the first time."""
    return next((seconds for seconds, objective in trace if objective <= value), None)


def pair(problem: Problem, seed: int, epochs: int, goal: tuple[float, float] | None) -> dict[str, Any]:
    """One pair; with a ``goal`` (L, seconds) of an earlier one of the same seed refinement comes first."""
    first = None if goal is None else refined(problem, seed, *goal)
    trace, end = adam(problem, seed, epochs)
    ours = first if first is not None else refined(problem, seed, end, trace[-1][0])
    return {
        "seed": seed, "end": end, "adam_whole": trace[-1][0], "adam": reached(trace, end * (1 + CLOSE)),
        "refined": reached(ours, end * (1 + CLOSE)), "refined_below": reached(ours, end), "refined_L": ours[-1][1],
    }  # fmt: skip


def race(instance: str, pairs: int, epochs: int) -> dict[str, Any]:
    """The pairs of one instance: Adam first, then refinement first, and so on."""
    problem, rows = problem_of(instance), list[dict[str, Any]]()
    for number in range(pairs):
        goal = (rows[-1]["end"], rows[-1]["adam_whole"]) if number % 2 else None
        rows.append(pair(problem, number // 2, epochs, goal))
    size = [problem.n, problem.d, problem.outputs]
    return {"instance": instance, "size": size, "beta": problem.beta, "epochs": epochs, "pairs": rows}


def table(results: list[dict[str, Any]]) -> list[str]:
    """Markdown: medians over the pairs, with the least and the largest ratio."""
    lines = [
        "| data, loss (n×d×C) | pairs | Adam's end | in | Adam first there · (1 + 1e-4) | refinement there "
        "| times sooner than Adam's end | than its first record there | refinement ends at most above Adam's end |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        rows, size = result["pairs"], "×".join(map(str, result["size"]))
        cells = [f"{result['instance']} ({size})", str(len(rows)), printing.nearest(_median(rows, "end"), 6)]
        cells += [_seconds(rows, name) for name in ("adam_whole", "adam", "refined")]
        cells += [_times(rows, "adam_whole"), _times(rows, "adam")]
        cells.append(f"{max(row['refined_L'] / row['end'] - 1 for row in rows):+.1e}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _times(rows: list[dict[str, Any]], name: str) -> str:
    ratios = [row[name] / row["refined"] if row["refined"] else 0.0 for row in rows]
    return f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def _median(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.median([np.inf if row[name] is None else row[name] for row in rows]))


def _seconds(rows: list[dict[str, Any]], name: str) -> str:
    median = _median(rows, name)
    return f"{median:.2f} s" if np.isfinite(median) else "not in Adam's time"


def main(out: Path = HERE, pairs: int = 3, epochs: int = 15000, only: str = "", redraw: bool = False) -> None:
    """Write paired.json into OUT (an instance as soon as it is done) and print the table; ONLY is a part of a name."""
    chosen = [name for name in INSTANCES if only in name]
    if not chosen:
        raise typer.BadParameter(f"no name has '{only}'; there are: {'; '.join(INSTANCES)}", param_hint="--only")
    torch.set_num_threads(1)
    file, small = out / "paired.json", Problem(np.eye(4), np.arange(4.0), beta=0.1)
    refined(small, 0, adam(small, 0, 20)[1], 1.0)  # what is loaded at the first call belongs to neither
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    for instance in () if redraw else chosen:
        done = race(instance, pairs, epochs)
        results = [result for result in results if result["instance"] != instance] + [done]
        results.sort(key=lambda result: list(INSTANCES).index(result["instance"]))
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(results)))


if __name__ == "__main__":
    typer.run(main)
