"""The training problems of the studies."""

from __future__ import annotations

import numpy as np

import reluopt


def at_fraction(X: np.ndarray, y: np.ndarray, fraction: float) -> reluopt.Problem:
    """The squared-loss problem at β = ``fraction`` of β_max, which a local search estimates from below."""
    return reluopt.Problem(X, y, beta=fraction * reluopt.beta_max_estimate(X, y))
