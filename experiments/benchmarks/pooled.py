"""Pooled patches: a two-layer convolutional network, trained, bounded, and its certificate checked.

    OMP_NUM_THREADS=1 .venv/bin/python experiments/benchmarks/pooled.py [FOLDER] [SECONDS]

FOLDER holds MNIST's IDX files, of which 1,000 images are taken, in patches of 5×5 without overlap; without it
scikit-learn's digits, in patches of 4×4 with step 2. Pixels have mean 0 and deviation 1 over all images, patches a
column of ones, and equal patches are one row; squared loss, β = 0.1 β_max. Targets are ±1 (digits 0-4 and 5-9), and
unit rows of ten classes. Each training and each bound (moment, then cliques) has SECONDS (60) processor seconds.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
from pathlib import Path

import numpy as np

from reluopt import printing
from reluopt.beta_max import beta_max_estimate
from reluopt.bounds import Start
from reluopt.bounds.clique import Cliques
from reluopt.bounds.output_moments import OutputMoments
from reluopt.bounds.second_moments import SecondMoments
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.data import DataConfig, load_dataset
from reluopt.pooling import patches
from reluopt.problem import Problem
from reluopt.training import TrainConfig, Trainer
from reluopt.training.callbacks import Callback


class Until(Callback):
    """Ends training after so many processor seconds."""

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds

    def on_epoch(self, state: object) -> None:
        if time.process_time() > self.end:
            state.stop("time")  # type: ignore[attr-defined]


def images(folder: str | None) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Images (n, h, w), their digits, the size and the step of the patches."""
    if folder is None:
        data = load_dataset(DataConfig(dataset="digits", task="multiclass", scaling="none", bias=False))
        return data.X.reshape(-1, 8, 8), data.y.argmax(axis=1), 4, 2
    config = DataConfig(dataset=folder, task="multiclass", scaling="none", bias=False, subset=1000)
    data = load_dataset(config)
    return data.X.reshape(-1, 28, 28), data.y.argmax(axis=1), 5, 5


def study(name: str, problem: Problem, seconds: float) -> None:
    """Train, bound, write the certificate, and let the checker derive all of it again."""
    problem = problem.with_beta(0.1 * beta_max_estimate(problem))
    config = TrainConfig(width=30, epochs=100_000, record_every=50, learning_rate=1e-2, schedule="constant")
    network = config.make_network(problem.d, problem.outputs)
    Trainer(network, problem, config=config, callbacks=[Until(seconds)], progress=False).fit()
    network.balance()
    U, alpha = network.weights()
    L = problem.objective_upper(U, alpha)
    size = f"{problem.n} images, {len(problem.X)}×{problem.d} patches, {problem.outputs} outputs"
    print(f"{name}: {size}: L = {printing.above(L)}, zero network {problem.zero_value:.2f}", flush=True)
    start = Start()
    for kind in (OutputMoments() if problem.outputs > 1 else SecondMoments(), Cliques()):
        started = time.process_time()
        for bound in kind.run(problem, start, Clock(seconds)):
            spent = time.process_time() - started
            print(f"    {kind.name}: p* ≥ {printing.below(bound.value)}, L/bound = ", end="")
            print(f"{printing.above(L / bound.value, decimals=4)} after {spent:.1f} s", flush=True)
        start = start.after(bound)
    with tempfile.TemporaryDirectory() as folder:
        path, started = Path(folder) / "c.safetensors", time.process_time()
        write_certificate(path, problem, bound=bound, network=(U, alpha))
        content = checker.read_certificate(path)
        verdict = checker.check(content, problem.X, problem.targets)
        print(f"    {path.stat().st_size / 2**20:.1f} MiB, checked in {time.process_time() - started:.1f} s: ", end="")
        print(f"ratio at most {verdict.claims['ratio_at_most']:.4f}", flush=True)


def main(arguments: list[str]) -> None:
    """Both kinds of targets."""
    time.perf_counter = time.process_time  # the machine may have others on it: one thread, its own seconds
    seconds = float(arguments.pop()) if arguments and arguments[-1].replace(".", "", 1).isdigit() else 60.0
    pictures, digit, size, step = images(arguments[0] if arguments else None)
    X, pooling = patches((pictures - pictures.mean()) / pictures.std(), size, step)
    X, pooling = pooling.merged(np.hstack([X, np.ones((len(X), 1))]))
    study("two classes", Problem(X, np.where(digit < 5, -1.0, 1.0), pooling=pooling), seconds)
    study("ten classes", Problem(X, np.eye(10)[digit], pooling=pooling), seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
