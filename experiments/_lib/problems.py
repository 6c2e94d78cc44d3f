"""The training problems of the studies."""

from __future__ import annotations

import numpy as np

import reluopt
from reluopt.losses import Loss


def at_fraction(X: np.ndarray, y: np.ndarray, fraction: float, loss: str | Loss = "squared") -> reluopt.Problem:
    """The problem at β = ``fraction`` of β_max, which a local search estimates from below."""
    problem = reluopt.Problem(X, y, loss)
    return problem.with_beta(fraction * reluopt.beta_max_estimate(problem))


def of_data(settings: reluopt.DataConfig, fraction: float, loss: str | Loss = "squared") -> reluopt.Problem:
    """That of a data set as it is prepared for a training."""
    data = reluopt.load_dataset(settings)
    return at_fraction(data.X, data.y, fraction, loss)
