"""Free biases: how far scikit-learn's MLPs are proved to be from the optimum of every width.

    OMP_NUM_THREADS=1 .venv/bin/python experiments/benchmarks/biases.py [SECONDS]

MLPRegressor on diabetes and MLPClassifier on breast_cancer decay weights, not biases (free output intercept, free
first-layer biases). Features have mean 0 and deviation 1, targets of diabetes too; alpha = β is 0.1, 0.01 β_max. Each
is fitted by lbfgs from three starts, the best of which ``refine`` carries on for SECONDS (60) processor seconds: that
is L. Then the bounds: moment, affine, and cliques after it with SECONDS more.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.neural_network import MLPClassifier, MLPRegressor

import reluopt
from reluopt import printing
from reluopt.biases import Biases
from reluopt.bounds.protocol import Start
from reluopt.bounds.registry import BOUNDS
from reluopt.clock import Clock
from reluopt.problem import Problem
from reluopt.search.refinement import refine


def standardised(X: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1."""
    return (X - X.mean(axis=0)) / X.std(axis=0)


def fitted(kind: type, X: np.ndarray, y: np.ndarray, alpha: float) -> list:
    """Three fits of 100 neurons by lbfgs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make = {"hidden_layer_sizes": (100,), "alpha": alpha, "solver": "lbfgs", "max_iter": 3000}
        return [kind(random_state=seed, **make).fit(X, y) for seed in range(3)]


def study(name: str, kind: type, X: np.ndarray, y: np.ndarray, loss: str, part: float, seconds: float) -> None:
    """One line: L, and L divided by each bound, with processor seconds."""
    ones = np.hstack([X, np.ones((len(X), 1))])
    targets = np.where(y > 0, 1.0, -1.0) if loss == "logistic" else y
    problem = Problem(ones, targets, loss, 1.0, biases=Biases("free", "free"))
    problem = problem.with_beta(part * reluopt.beta_max_estimate(problem))
    best = min(fitted(kind, X, y, problem.beta), key=lambda model: model.loss_)
    U = np.hstack([best.coefs_[0].T, best.intercepts_[0][:, None]])
    own = problem.objective_upper(U, best.coefs_[1][:, 0], best.intercepts_[1][0])
    start = reluopt.from_weights(U, best.coefs_[1][:, 0], best.intercepts_[1][0])
    network = refine(problem, network=start, clock=Clock(seconds)).network.weights()
    L = min(own, problem.objective_upper(*network))
    print(
        f"{name} {len(X)}×{X.shape[1]}, {part} β_max: MLP {printing.above(own)}, best L {printing.above(L)}", flush=True
    )
    known = Start()
    for bound, clock in (("moment", None), ("affine", None), ("cliques", seconds)):
        started = time.process_time()
        found = BOUNDS[bound].best(problem, known, Clock(clock))
        known = known.after(found)
        spent = time.process_time() - started
        ratio = printing.above(L / found.value, decimals=3)
        print(f"    {bound}: p* ≥ {printing.below(found.value)}, within a factor {ratio}, {spent:.1f} s", flush=True)


def main(arguments: list[str]) -> None:
    """Both data sets at both β."""
    time.perf_counter = time.process_time  # the machine may have others on it: one thread, its own seconds
    seconds = float(arguments[0]) if arguments else 60.0
    for part in (0.1, 0.01):
        X, y = load_diabetes(return_X_y=True)
        study("diabetes", MLPRegressor, standardised(X), (y - y.mean()) / y.std(), "squared", part, seconds)
        X, y = load_breast_cancer(return_X_y=True)
        study("breast_cancer", MLPClassifier, standardised(X), y, "logistic", part, seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
