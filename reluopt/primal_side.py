r"""The objective of a network, its gradient, and proved bounds on it.

.. math:: L(U, α) = Σ_i κ_i ℓ(f_i, y_i) + (β/2) Σ_j (‖u_j‖² + ‖α_j‖²),  f = Σ_j (X u_j)_+ α_j        (KP eq. 1)

With biases f has an intercept c beside, and what is decayed is said in :mod:`reluopt.biases`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.bias_side import SHARP
from reluopt.dual_side import DualSide
from reluopt.losses import rationals
from reluopt.losses.protocol import Array, each_sample
from reluopt.rigor import rounding


class PrimalSide(DualSide):
    """What is asked of a network (U, α) or its fit f; :class:`~reluopt.Problem` has it all."""

    def loss_value(self, f: Array) -> float:
        """Σ κ_i ℓ(f_i, y_i)."""
        values = self.loss.value(f, self.targets)
        return float((each_sample(self.weights, values) * values).sum())

    @cached_property
    def zero_value(self) -> float:
        """L without neurons: p* is at most this, and is this for β ≥ β_max."""
        c = self.constant[0]
        return self.loss_value(self.constant) + 0.5 * (self.intercept_decay or 0.0) * float((c * c).sum())

    @cached_property
    def zero_value_lower(self) -> float:
        """≤ the least L without neurons, proved: the optimum over no pattern at all."""
        if self.biases:
            return max(0.0, self.proved_value(self.zero_dual_point, 0.0)[0])
        below = rationals.loss_upper(self.loss, *2 * (np.zeros_like(self.targets),), self.targets, self.weights)
        return max(0.0, math.nextafter(below * (1 - 2.0**-50), -math.inf))

    def predict(self, U: Array, alpha: Array, intercept: Array | float = 0.0) -> Array:
        """f = Σ_j (X u_j)_+ α_j + c, A Σ_j (X u_j)_+ α_j of pooled rows."""
        return self.pooled(neurons.predict(self.X, U, alpha, intercept))

    def objective(self, U: Array, alpha: Array, intercept: Array | float = 0.0) -> float:
        """L(U, α, c)."""
        return self.loss_value(self.predict(U, alpha, intercept)) + float(self.weight_decay(U, alpha, intercept))

    def gradient(self, U: Array, alpha: Array, intercept: Array | float = 0.0) -> tuple[Array, Array]:
        """∇L by U and α with ReLU'(0) = 0: shapes (m, d) and (m,) or (m, C).

        ∂L/∂u_j = −Xᵀ(1[Xu_j > 0] ∘ zα_j) + β u_j,  ∂L/∂α_j = −zᵀ(Xu_j)_+ + β α_j,  z = −κ ∘ ∂ℓ/∂f.
        """
        h = self.X @ U.T
        active = h > 0
        z = self.spread(self.dual_point(self.pooled((h * active) @ alpha) + intercept))
        pulls = active * neurons.back(z, alpha)
        by_U = -(pulls.T @ self.X)
        by_U[:, : self.decayed(U).shape[1]] += self.beta * self.decayed(U)
        return by_U, self.beta * alpha - (h * active).T @ z

    def balanced_objective(self, U: Array, alpha: Array, intercept: Array | float = 0.0) -> float:
        """L_bal = Σ κℓ + β Σ_j ‖u_j‖‖α_j‖ (+ (β/2)c²) ≤ L, with equality iff ‖u_j‖ = ‖α_j‖ for all j."""
        paid = self.beta * float(self.strength(U, alpha).sum()) + float(self.weight_decay(0 * U, 0 * alpha, intercept))
        return self.loss_value(self.predict(U, alpha, intercept)) + paid

    def objective_upper(
        self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], intercept: Any = 0.0
    ) -> float:
        """≥ L(U, α, c), rounding accounted for, for weights taken as exact float64; ``inf`` where it is not finite."""
        c = np.asarray(intercept, dtype=np.float64)
        if not (np.isfinite(U).all() and np.isfinite(alpha).all() and np.isfinite(c).all()):
            return math.inf
        low, high = rounding.fit_interval(self.X, U, alpha)
        if self.biases.intercept:
            low, high = np.nextafter(low + c, -np.inf), np.nextafter(high + c, np.inf)
        if self.pooling is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                low, high = self.pooling.interval(low, high)
        loss = rationals.loss_upper(self.loss, low, high, self.targets, self.weights)
        if not math.isfinite(loss):
            return math.inf
        decay = rounding.decay_upper(np.ascontiguousarray(self.decayed(U)), alpha, self.beta)
        if self.biases.output == "decayed":
            decay += Fraction(self.beta) / 2 * sum((Fraction(v) ** 2 for v in c.ravel().tolist()), Fraction(0))
        return rounding.round_up(Fraction(loss) + decay)

    def dual_point(self, f: Array) -> Array:
        """z = −κ ∘ ∂ℓ/∂f, the dual candidate that belongs to a fit f (n,) or (n, C); dual optimal where f is."""
        return -each_sample(self.weights, f) * self.loss.gradient(f, self.targets)

    @cached_property
    def zero_dual_point(self) -> Float[np.ndarray, "n ..."]:
        """z without neurons: β_max = max ‖zᵀ(Xu)_+‖ over ‖u‖ ≤ 1 (y for the squared loss, y − ȳ with an intercept)."""
        if not self.biases:
            return self.dual_point(np.zeros_like(self.targets))
        return self.balanced_dual_point(np.zeros_like(self.targets))

    def balanced_dual_point(self, f: Float[np.ndarray, "n ..."], smoothing: float = 0.0) -> Float[np.ndarray, "n ..."]:
        """z of the fit f, at its best intercept where there is one, settled: a point of the dual's domain."""
        if self.intercept_decay is None:
            return self.settled(self.dual_point(f))
        loss = self.loss.smoothed(smoothing or SHARP)
        moved = f + self.best_intercept(f, smoothing)
        return self.settled(-each_sample(self.weights, f) * loss.gradient(moved, self.targets))
