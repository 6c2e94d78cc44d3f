"""Section 4 of SPEC.md: the objective of the network from above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from .biases import NO_BIASES, Biases
from .losses import Loss, cross_entropy_above
from .numbers import UNDERFLOW, Array, exact_dot, finite, gamma, on_grid_above

BLOCK = 2**20  # activations (samples × neurons) at a time


def objective_upper(
    X: Array,
    y: Array,
    weights: Array | None,
    loss: Loss,
    beta: float,
    U: Array,
    alpha: Array,
    biases: Biases = NO_BIASES,
    intercept: Array | None = None,
) -> Fraction:
    """a' ≥ Σ_i κ_i ℓ(f_i, y_i) + (β/2)(‖U‖² + ‖α‖²), f = (XUᵀ)_+ α + c; ``weights`` None: κ = 1.

    Biases that are not decayed are left out of the norms, and a decayed c is one more term of them.
    """
    (m, d), total = U.shape, Fraction(0)
    moved = np.zeros(alpha.shape[1:]) if intercept is None else intercept  # added exactly
    c = [Fraction(v) for v in moved.ravel().tolist()]
    reach = np.abs(alpha).T @ np.abs(U)
    step = max(1, BLOCK // max(1, m))
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        hidden = finite(rows @ U.T, "a product x·u")
        fit = finite(np.maximum(hidden, 0.0) @ alpha, "an output f")
        off = finite(gamma(d + m + 8) * (np.abs(rows) @ reach.T) + UNDERFLOW, "the rounding of an output")
        for i, (f, error, target) in enumerate(
            zip(*map(_rows, (fit, off, y[start : start + step])), strict=True), start
        ):
            weight = Fraction(1) if weights is None else Fraction(float(weights[i]))
            total += box_upper(loss, [v + k for v, k in zip(f, c, strict=True)], error, target, weight)
    paid = [np.ascontiguousarray(U[:, :-1] if biases.first_free else U), alpha]
    paid += [intercept] if biases.output == "decayed" and intercept is not None else []
    return total + Fraction(beta) / 2 * sum((exact_dot(part.ravel(), part.ravel()) for part in paid), Fraction(0))


def _rows(values: Array) -> Iterator[list[Fraction]]:
    """The outputs of every sample."""
    return (list(map(Fraction, row)) for row in values.reshape(len(values), -1).tolist())


def box_upper(
    loss: Loss, f: Sequence[Fraction], off: Sequence[Fraction], y: Sequence[Fraction], weight: Fraction
) -> Fraction:
    """≥ κ ℓ(f', y) for all f' within ``off`` of f, output by output."""
    if weight == 0:
        return Fraction(0)
    low, high = ([v + sign * e for v, e in zip(f, off, strict=True)] for sign in (-1, 1))
    if loss.name == "cross_entropy":
        return on_grid_above(weight * cross_entropy_above(low, high, y))
    return sum((interval_upper(loss, v, e, t, weight) for v, e, t in zip(f, off, y, strict=True)), Fraction(0))


def interval_upper(loss: Loss, f: Fraction, error: Fraction, y: Fraction, weight: Fraction) -> Fraction:
    """≥ κ ℓ(f', y) for all f' within ``error`` of f: a convex function is largest at an end."""
    return on_grid_above(weight * max(loss.value(f - error, y), loss.value(f + error, y)))
