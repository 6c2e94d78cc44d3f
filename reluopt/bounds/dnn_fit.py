r"""The proximal step of the loss on a sum of nonnegative parts: what ADMM asks of each sample (``dnn.py``).

.. math:: \min_{S ≥ 0} κℓ(Σ_k ±S_k, y) + \frac1{2·step} Σ_k (S_k − W_k)^2

has S_k = (W_k ± step·z)_+ at the root z of z = −κℓ'(f(z)), f(z) = Σ ±(W_k ± step·z)_+, which rises with z.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.biases import decreasing_root
from reluopt.problem import Problem

#: Where Newton's method for z ends, in units of the targets.
EXACT = 1e-13


def dual_root(
    problem: Problem,
    W: Float[np.ndarray, "b n"],
    sign: Float[np.ndarray, "b 1"],
    step: float,
    start: Float[np.ndarray, " n"],
    shift: float = 0.0,
) -> Float[np.ndarray, " n"]:
    """The z with z = −κℓ'(f), f = shift + Σ ±(W ± step·z)_+: an increasing equation a sample; W = −∞ where a part is 0.

    f is piecewise linear in z; on the line that it has at a z the root is that of a proximal map of ℓ. That is
    Newton's method with the loss as it is, kept inside of a bracket.
    """
    bottom, top = problem.dual_domain()
    z, low, high = np.clip(start, bottom, top), bottom.copy(), top.copy()
    for _ in range(60):
        moved = W + sign * step * z
        f, slope = shift + (sign * np.maximum(moved, 0.0)).sum(axis=0), step * (moved > 0).sum(axis=0)
        following = np.clip(_on_line(problem, f - slope * z, slope), bottom, top)
        if np.abs(following - z).max() < EXACT:
            break
        low, high = np.where(following >= z, z, low), np.where(following <= z, z, high)
        with np.errstate(invalid="ignore"):
            middle = 0.5 * (low + high)
        outside = ((following < low) | (following > high)) & np.isfinite(middle)
        z = np.where(outside, middle, following)
    return z


def with_intercept(
    problem: Problem,
    W: Float[np.ndarray, "b n"],
    sign: Float[np.ndarray, "b 1"],
    step: float,
    start: Float[np.ndarray, " n"],
    c: float,
) -> tuple[Float[np.ndarray, " n"], float]:
    """(z, c) with the z of :func:`dual_root` at the shift c, and Σz = decay·c, whose left side falls with c."""
    decay, z = problem.intercept_decay, start
    assert decay is not None

    def slope(value: float) -> float:
        nonlocal z
        z = dual_root(problem, W, sign, step, z, value)
        return float(z.sum()) - decay * value

    c = decreasing_root(slope, c, 1e-3)
    return dual_root(problem, W, sign, step, z, c), c


def _on_line(problem: Problem, f: Float[np.ndarray, " n"], slope: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The z with z = −κℓ'(f + slope·z)."""
    loss, y, kappa = problem.loss, problem.y, problem.weights
    step = kappa * slope
    fit = np.where(step > 0, loss.prox(f, y, np.where(step > 0, step, 1.0)), f)
    if loss.smooth:
        return -kappa * loss.gradient(fit, y)
    return np.where(step > 0, (fit - f) / np.where(step > 0, slope, 1.0), -kappa * loss.gradient(f, y))
