"""The losses as CVXPY states them, one line each: a loss that is missing here is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
from jaxtyping import Float

from reluopt.losses import Loss

Vector = Float[np.ndarray, " n"]


def _pinball(loss: Any, f: cp.Expression, y: Vector, kappa: Vector) -> cp.Expression:
    low, high = (float(end) for end in loss.ends)
    return cp.sum(cp.multiply(kappa, cp.maximum(high * (y - f), low * (y - f))))


def _logistic(loss: Any, f: cp.Expression, y: Vector, kappa: Vector) -> cp.Expression:
    return cp.sum(cp.multiply(kappa, cp.logistic(-cp.multiply(y, f))))


#: name → Σ κ_i ℓ(f_i, y_i) as an expression in f
STATEMENTS: dict[str, Callable[[Any, cp.Expression, Vector, Vector], cp.Expression]] = {
    "squared": lambda loss, f, y, kappa: 0.5 * cp.sum_squares(cp.multiply(np.sqrt(kappa), f - y)),
    # CVXPY's huber is twice ours
    "huber": lambda loss, f, y, kappa: 0.5 * cp.sum(cp.multiply(kappa, cp.huber(f - y, loss.delta))),
    "absolute": _pinball,
    "quantile": _pinball,
    "hinge": lambda loss, f, y, kappa: cp.sum(cp.multiply(kappa, cp.pos(1 - cp.multiply(y, f)))),
    "squared_hinge": lambda loss, f, y, kappa: (
        0.5 * cp.sum_squares(cp.multiply(np.sqrt(kappa), cp.pos(1 - cp.multiply(y, f))))
    ),
    "logistic": _logistic,
}


def states(loss: Loss) -> bool:
    """Whether CVXPY knows the loss."""
    return loss.name in STATEMENTS


def statement(loss: Loss, f: cp.Expression, y: Vector, kappa: Vector) -> cp.Expression:
    """Σ κ_i ℓ(f_i, y_i)."""
    return STATEMENTS[loss.name](loss, f, y, kappa)
