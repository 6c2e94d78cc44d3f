r"""The objective of a network, its gradient, and proved bounds on it.

.. math:: L(U, α) = Σ_i κ_i ℓ(f_i, y_i) + (β/2) Σ_j (‖u_j‖² + ‖α_j‖²),  f = Σ_j (X u_j)_+ α_j        (KP eq. 1)
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.losses import Loss, exact
from reluopt.losses.protocol import Array, each_sample
from reluopt.rigor import rounding


class PrimalSide:
    """What is asked of a network (U, α) or its fit f; :class:`~reluopt.Problem` has it all."""

    X: Float[np.ndarray, "n d"]
    targets: Float[np.ndarray, "n ..."]
    loss: Loss
    beta: float
    weights: Float[np.ndarray, " n"]

    def loss_value(self, f: Array) -> float:
        """Σ κ_i ℓ(f_i, y_i)."""
        values = self.loss.value(f, self.targets)
        return float((each_sample(self.weights, values) * values).sum())

    @cached_property
    def zero_value(self) -> float:
        """L of the zero network: p* is at most this, and is this for β ≥ β_max."""
        return self.loss_value(np.zeros_like(self.targets))

    @cached_property
    def zero_value_lower(self) -> float:
        """≤ L of the zero network, proved: the optimum over no pattern at all."""
        below = exact.loss_upper(self.loss, *2 * (np.zeros_like(self.targets),), self.targets, self.weights)
        return max(0.0, math.nextafter(below * (1 - 2.0**-50), -math.inf))

    def predict(self, U: Array, alpha: Array) -> Array:
        """f = Σ_j (X u_j)_+ α_j."""
        return neurons.predict(self.X, U, alpha)

    def objective(self, U: Array, alpha: Array) -> float:
        """L(U, α)."""
        return self.loss_value(self.predict(U, alpha)) + float(neurons.weight_decay(U, alpha, self.beta))

    def gradient(self, U: Array, alpha: Array) -> tuple[Array, Array]:
        """∇L with ReLU'(0) = 0: shapes (m, d) and (m,) or (m, C).

        ∂L/∂u_j = −Xᵀ(1[Xu_j > 0] ∘ zα_j) + β u_j,  ∂L/∂α_j = −zᵀ(Xu_j)_+ + β α_j,  z = −κ ∘ ∂ℓ/∂f.
        """
        h = self.X @ U.T
        active = h > 0
        z = self.dual_point((h * active) @ alpha)
        pulls = active * neurons.back(z, alpha)
        return self.beta * U - pulls.T @ self.X, self.beta * alpha - (h * active).T @ z

    def balanced_objective(self, U: Array, alpha: Array) -> float:
        """L_bal = Σ κℓ + β Σ_j ‖u_j‖‖α_j‖ ≤ L, with equality iff ‖u_j‖ = ‖α_j‖ for all j."""
        return self.loss_value(self.predict(U, alpha)) + self.beta * float(neurons.strength(U, alpha).sum())

    def objective_upper(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."]) -> float:
        """≥ L(U, α), rounding accounted for, for weights taken as exact float64; ``inf`` where it is not finite."""
        if not (np.isfinite(U).all() and np.isfinite(alpha).all()):
            return math.inf
        low, high = rounding.fit_interval(self.X, U, alpha)
        loss = exact.loss_upper(self.loss, low, high, self.targets, self.weights)
        return (
            rounding.round_up(Fraction(loss) + rounding.decay_upper(U, alpha, self.beta))
            if math.isfinite(loss)
            else math.inf
        )

    def dual_point(self, f: Array) -> Array:
        """z = −κ ∘ ∂ℓ/∂f, the dual candidate that belongs to a fit f (n,) or (n, C); dual optimal where f is."""
        return -each_sample(self.weights, f) * self.loss.gradient(f, self.targets)

    @cached_property
    def zero_dual_point(self) -> Float[np.ndarray, "n ..."]:
        """z of the zero network: β_max = max ‖zᵀ(Xu)_+‖ over ‖u‖ ≤ 1 (y for the squared loss)."""
        return self.dual_point(np.zeros_like(self.targets))
