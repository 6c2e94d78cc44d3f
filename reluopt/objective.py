r"""The training problem and its scaling: the only place in reluopt where they are written down.

.. math:: L(U, α) = ½‖Σ_j (X u_j)_+ α_j − y‖² + (β/2) Σ_j (‖u_j‖² + α_j²)          (KP eq. 1)

There is **no 1/n**. A mini-batch of size B is scaled by n/B; with ``MSELoss(mean)`` the same problem
has ``weight_decay = 2β/n``. A bias is a column of ones in X, regularised like any other weight.

Functions take numpy arrays or torch tensors alike (they use only operators that both share), with
``X`` (n, d), ``y`` (n,), ``U`` (m, d) with rows u_j, ``alpha`` (m,).

Source: Kim & Pilanci, ICML 2024 ("KP"), section 1 of the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Array = Any  # numpy.ndarray or torch.Tensor; the formulas below hold for both


def relu(h: Array) -> Array:
    """(h)_+ elementwise."""
    return h * (h > 0)


@dataclass(frozen=True)
class SquaredLoss:
    """ℓ(f, y) = ½‖f − y‖², its gradient, and its dual objective −ℓ*(−z)."""

    name: str = "squared"

    def value(self, f: Array, y: Array) -> Array:
        """½‖f − y‖²."""
        r = f - y
        return 0.5 * (r * r).sum()

    def gradient(self, f: Array, y: Array) -> Array:
        """∂ℓ/∂f = f − y, shape (n,)."""
        return f - y

    def dual_point(self, f: Array, y: Array) -> Array:
        """z = −∂ℓ/∂f = y − f: the dual candidate that belongs to a fit f. Shape (n,)."""
        return y - f

    def dual_objective(self, z: Array, y: Array) -> Array:
        """−ℓ*(−z) = yᵀz − ½‖z‖²: the objective of every dual program of reluopt."""
        return (y * z).sum() - 0.5 * (z * z).sum()

    def best_scaling(self, z: Array, y: Array, bound: float, beta: float) -> float:
        """t = min(β/B, yᵀz/‖z‖²), clipped to ≥ 0: the best multiple tz that is still dual feasible.

        ``bound`` is any B ≥ the dual constraint's left side at z (equation (*) of the lower bounds:
        LB = t yᵀz − ½t²‖z‖²).
        """
        zz = float((z * z).sum())
        if zz == 0.0:
            return 0.0
        unconstrained = float((y * z).sum()) / zz
        limit = beta / bound if bound > 0 else math.inf
        return max(0.0, min(limit, unconstrained))


SQUARED = SquaredLoss()


def predict(X: Array, U: Array, alpha: Array) -> Array:
    """f = Σ_j (X u_j)_+ α_j, shape (n,)."""
    return relu(X @ U.T) @ alpha


def weight_decay(U: Array, alpha: Array, beta: float) -> Array:
    """(β/2) Σ_j (‖u_j‖² + α_j²)."""
    return 0.5 * beta * ((U * U).sum() + (alpha * alpha).sum())


def path_norm(U: Array, alpha: Array) -> Array:
    """Σ_j ‖u_j‖ |α_j|: what weight decay amounts to once every neuron is balanced."""
    return ((U * U).sum(-1) ** 0.5 * abs(alpha)).sum()


def objective(X: Array, y: Array, U: Array, alpha: Array, beta: float) -> Array:
    """L(U, α), KP eq. (1)."""
    return SQUARED.value(predict(X, U, alpha), y) + weight_decay(U, alpha, beta)


def balanced_objective(X: Array, y: Array, U: Array, alpha: Array, beta: float) -> Array:
    """L_bal = ½‖f − y‖² + β Σ_j ‖u_j‖|α_j| ≤ L, with equality iff ‖u_j‖ = |α_j| for all j."""
    return SQUARED.value(predict(X, U, alpha), y) + beta * path_norm(U, alpha)


def gradient(X: Array, y: Array, U: Array, alpha: Array, beta: float) -> tuple[Array, Array]:
    """∇L with ReLU'(0) = 0: shapes (m, d) and (m,).

    ∂L/∂u_j = α_j Xᵀ(1[Xu_j > 0] ∘ (f − y)) + β u_j,  ∂L/∂α_j = (f − y)ᵀ(Xu_j)_+ + β α_j.
    """
    h = X @ U.T
    active = h > 0
    r = SQUARED.gradient((h * active) @ alpha, y)
    back = active * r[:, None]
    return alpha[:, None] * (back.T @ X) + beta * U, (h * active).T @ r + beta * alpha
