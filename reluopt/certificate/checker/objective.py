"""Section 4 of SPEC.md: the objective of the network from above."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .losses import Loss
from .numbers import UNDERFLOW, Array, exact_dot, finite, gamma, on_grid_above

BLOCK = 2**20  # activations (samples × neurons) at a time


def objective_upper(
    X: Array, y: Array, weights: Array | None, loss: Loss, beta: float, U: Array, alpha: Array
) -> Fraction:
    """a' ≥ Σ_i κ_i ℓ(f_i, y_i) + (β/2)(‖U‖² + ‖α‖²), f = (XUᵀ)_+ α; ``weights`` None: κ = 1."""
    (m, d), total = U.shape, Fraction(0)
    reach = np.abs(alpha) @ np.abs(U)
    step = max(1, BLOCK // max(1, m))
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        hidden = finite(rows @ U.T, "a product x·u")
        fit = finite(np.maximum(hidden, 0.0) @ alpha, "an output f")
        off = finite(gamma(d + m + 8) * (np.abs(rows) @ reach) + UNDERFLOW, "the rounding of an output")
        for i, (f, error) in enumerate(zip(fit.tolist(), off.tolist(), strict=True), start):
            weight = Fraction(1) if weights is None else Fraction(float(weights[i]))
            total += interval_upper(loss, f, error, float(y[i]), weight)
    return total + Fraction(beta) / 2 * (exact_dot(U.ravel(), U.ravel()) + exact_dot(alpha, alpha))


def interval_upper(loss: Loss, f: float, error: float, y: float, weight: Fraction) -> Fraction:
    """≥ κ ℓ(f', y) for all f' within ``error`` of f: a convex function is largest at an end."""
    if weight == 0:
        return Fraction(0)
    middle, off, target = Fraction(f), Fraction(error), Fraction(y)
    return on_grid_above(weight * max(loss.value(middle - off, target), loss.value(middle + off, target)))
