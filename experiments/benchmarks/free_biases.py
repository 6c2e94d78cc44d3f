"""Biases that are not decayed, as scikit-learn's MLPRegressor has them: the search beside Adam, and the quick bounds.

    OMP_NUM_THREADS=1 .venv/bin/python experiments/benchmarks/free_biases.py 15000 60

The arguments are Adam's epochs, and the most seconds of the search. Data are standardised, a column of ones carries
the first layer's biases, output="free" and first="free", β = 0.1 and 0.01 β_max. Adam has 100 neurons and a cosine from
1e-2 to 1e-7; the search begins with nothing. Processor seconds of one thread; every bound is proved.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

from reluopt import printing
from reluopt.beta_max import beta_max_estimate
from reluopt.biases import Biases
from reluopt.bounds import Start, race
from reluopt.bounds.registry import BOUNDS
from reluopt.clock import Clock
from reluopt.data import DataConfig, load_dataset
from reluopt.problem import Problem
from reluopt.search.refinement import refine
from reluopt.training import TrainConfig, Trainer

DATA, FRACTIONS = ("diabetes", "breast_cancer"), (0.1, 0.01)


def compare(name: str, fraction: float, epochs: int, limit: float) -> None:
    """A row of the table."""
    data = load_dataset(DataConfig(dataset=name, bias=True))
    problem = Problem(data.X, data.y, biases=Biases("free", "free"))
    problem = problem.with_beta(fraction * beta_max_estimate(problem))
    config = TrainConfig(epochs=epochs, beta=problem.beta, output_bias="free", first_bias="free")
    started = time.process_time()
    trained = Trainer(config.make_network(problem.d), problem, config=config, progress=False).fit()
    adam, started = time.process_time() - started, time.process_time()
    found = refine(problem, clock=Clock(limit), tolerance=1e-4)
    searched = time.process_time() - started
    U, alpha, *_ = found.network.weights()
    quick = [kind.name for kind in BOUNDS.values() if kind.quick and kind.takes(problem)]
    bounds = race(problem, Start(network=(U, alpha), z=found.z), Clock(30.0), names=quick)
    best = max(bounds, key=lambda bound: bound.value)
    print(
        f"| {name} | {fraction} | {trained.objective:.4f} | {adam:.1f} | {found.objective:.4f} | {searched:.1f} | "
        f"{found.price:.5f} ({found.status}) | {found.neurons} | {printing.below(best.value, 6)} ({best.method}) |",
        flush=True,
    )


if __name__ == "__main__":
    print("| data | β/β_max | L, Adam | seconds | L, search | seconds | largest price/β | neurons | p* ≥ |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in DATA:
        for fraction in FRACTIONS:
            compare(name, fraction, int(sys.argv[1]), float(sys.argv[2]))
