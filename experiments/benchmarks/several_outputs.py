"""Several classes: Theorem C's bound, that with cliques, a refined network, accuracy beside scikit-learn.

    OMP_NUM_THREADS=1 .venv/bin/python experiments/benchmarks/several_outputs.py 120

The argument is how many processor seconds the cliques have (none: they are left out).

Data are standardised with a ones column, squared loss on unit rows and cross-entropy, β = 0.1 β_max. L is that of a
network refined for 15 s at most; every line of a bound is proved. Accuracy: a quarter of the samples is held out, both
networks have 50 neurons, the cross-entropy and the same weight decay (scikit-learn's alpha is β); its biases are not
decayed. One-vs-rest, the baseline, is a network of 50 neurons for each class, with the logistic loss.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier

from reluopt import printing
from reluopt.beta_max import beta_max_estimate
from reluopt.bounds import Start
from reluopt.bounds.clique import Cliques
from reluopt.bounds.output_moments import OutputMoments
from reluopt.clock import Clock
from reluopt.data import DataConfig, load_dataset
from reluopt.problem import Problem
from reluopt.search.refinement import refine
from reluopt.training import TrainConfig, Trainer

DATA, LOSSES = ("iris", "wine", "digits"), ("squared", "cross_entropy")


def bounds(name: str, loss: str, budget: float) -> None:
    """L and the bound after every run of its search, then that with cliques."""
    data = load_dataset(DataConfig(dataset=name, task="multiclass"))
    problem = Problem(data.X, data.y, loss)
    problem = problem.with_beta(0.1 * beta_max_estimate(problem))
    best = refine(problem, clock=Clock(15.0))
    size = f"{problem.n}×{problem.d}×{problem.outputs}"
    print(f"{name} {size}, {loss}: L = {best.objective:.3f} (largest price {best.price:.4f} β)", flush=True)
    for kind, limit in ((OutputMoments(), 60.0), (Cliques(), budget)):
        started = time.process_time()
        for bound in kind.run(problem, Start(), Clock(limit)) if limit else ():
            seconds, ratio = time.process_time() - started, best.objective / bound.value
            print(f"    {bound.method}: p* ≥ {printing.below(bound.value)}, L/bound = ", end="")
            print(f"{printing.above(ratio, decimals=4)} after {seconds:.2f} s", flush=True)


def accuracy(name: str) -> None:
    """Held-out accuracy of this package's network and of scikit-learn's."""
    data = load_dataset(DataConfig(dataset=name, task="multiclass", test_fraction=0.25))
    problem = Problem(data.X, data.y, "cross_entropy")
    beta = 0.01 * beta_max_estimate(problem)
    config = TrainConfig(width=50, epochs=2000, loss="cross_entropy", beta=beta)
    network = config.make_network(problem.d, problem.outputs)
    Trainer(network, problem.with_beta(beta), config=config, progress=False).fit()
    assert data.test_X is not None and data.test_y is not None
    U, alpha = network.weights()
    true = data.test_y.argmax(axis=1)
    ours = float((problem.loss.score(np.maximum(data.test_X @ U.T, 0.0) @ alpha, data.test_y))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may not have converged in 2000 epochs
        model = MLPClassifier((50,), alpha=beta, max_iter=2000, random_state=0)
        model.fit(data.X[:, :-1], data.y.argmax(axis=1))
    theirs = float((model.predict(data.test_X[:, :-1]) == true).mean())
    against = one_vs_rest(data.X, data.y, data.test_X, config)
    rest = float((against.argmax(axis=1) == true).mean())
    print(f"{name}: held-out accuracy {ours:.3f}, one-vs-rest {rest:.3f}, ", end="")
    print(f"MLPClassifier {theirs:.3f} (β = 0.01 β_max)", flush=True)


def one_vs_rest(X: np.ndarray, y: np.ndarray, test_X: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Scores (k, C) of C networks, each of one class against the others with the logistic loss."""
    scores = []
    for k in range(y.shape[1]):
        problem = Problem(X, 2.0 * y[:, k] - 1.0, "logistic")
        beta = 0.01 * beta_max_estimate(problem)
        own = config.replace(loss="logistic", beta=beta)
        network = own.make_network(problem.d)
        Trainer(network, problem.with_beta(beta), config=own, progress=False).fit()
        U, alpha = network.weights()
        scores.append(np.maximum(test_X @ U.T, 0.0) @ alpha)
    return np.stack(scores, axis=1)


if __name__ == "__main__":
    time.perf_counter = time.process_time  # the machine may have others on it: one thread, its own seconds
    seconds_of_cliques = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    for dataset in DATA:
        for chosen in LOSSES:
            bounds(dataset, chosen, seconds_of_cliques)
    for dataset in DATA:
        accuracy(dataset)
