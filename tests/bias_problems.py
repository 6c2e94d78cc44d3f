"""Small problems with biases of every kind, and what a network of theirs costs in plain words."""

import itertools

import numpy as np

from reluopt.biases import Biases
from reluopt.problem import Problem

KINDS = [Biases("free"), Biases("decayed"), Biases("free", "free"), Biases("none", "free"), Biases("decayed", "free")]
LOSSES = ["squared", "huber:0.7", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]
OF_OUTPUTS = ["squared", "logistic", "cross_entropy", "absolute"]
CLASSES = ("hinge", "squared_hinge", "logistic")


def problem(seed, biases, loss="squared", outputs=1, n=9, d=2, beta=None, weighted=False):
    """A random problem of few samples; β is drawn unless given."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) + rng.standard_normal(d)
    y = rng.standard_normal((n, outputs)) + 2 * rng.standard_normal(outputs)
    if loss in CLASSES:
        y = np.where(y > np.median(y, axis=0), 1.0, -1.0)
    if loss == "cross_entropy":
        y = np.eye(outputs)[np.arange(n) % outputs]
    X = np.hstack([X, np.ones((n, 1))]) if biases.first_free else X
    kappa = rng.choice([0.0, 0.5, 2.0, 3.7], n) + 0.0 if weighted else None
    if weighted:
        kappa[: 2 * outputs] = 1.0
    beta = float(rng.uniform(0.05, 2.0)) if beta is None else beta
    return Problem(X, y[:, 0] if outputs == 1 else y, loss, beta, kappa, biases)


def network(seed, problem, m=4, size=1.0):
    """Random (U, α, c), c only where there is an intercept."""
    rng = np.random.default_rng(seed)
    row = problem.targets.shape[1:]
    parts = [size * rng.standard_normal((m, problem.d)), size * rng.standard_normal((m, *row))]
    return (*parts, np.asarray(3 * rng.standard_normal(row))) if problem.biases.intercept else tuple(parts)


def cost(problem, U, alpha, c=0.0):
    """L in plain words, sample by sample and weight by weight."""
    f = np.maximum(problem.X @ U.T, 0) @ alpha + c
    total = problem.loss_value(f)
    for row in U:
        total += 0.5 * problem.beta * sum(v * v for v in (row[:-1] if problem.biases.first_free else row))
    total += 0.5 * problem.beta * float((alpha**2).sum())
    return total + (0.5 * problem.beta * float(np.sum(np.square(c))) if problem.biases.output == "decayed" else 0.0)


def largest_at_kinks(X, z, U):
    """max over b of ‖zᵀ(Xu + b)_+‖ for every row u of U: over the kinks, one after another (X without its ones)."""
    H, Z = X @ U.T, z.reshape(len(z), -1)
    values = [np.linalg.norm(Z.T @ np.maximum(H - H[k], 0.0), axis=0) for k in range(len(X))]
    return np.max(values, axis=0)


def kinds_and_losses():
    """Every kind of biases with every loss of one output."""
    return list(itertools.product(KINDS, LOSSES))
