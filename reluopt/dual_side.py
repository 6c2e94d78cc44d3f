r"""The dual of the training problem, which bounds L from below for networks of every width.

.. math:: p* = max_z Σ_i κ_i D(z_i/κ_i, y_i)  s.t. |zᵀ(Xu)_+| ≤ β for ‖u‖ ≤ 1,  D(z) = −ℓ*(−z)

A free intercept adds Σ_i z_i = 0, a decayed one takes (Σ_i z_i)²/2β off the value, see :mod:`reluopt.biases`.
Source: Kim & Pilanci, ICML 2024, section 1; D of each loss is in its file in :mod:`reluopt.losses`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from reluopt.bias_side import BiasSide
from reluopt.biases import sums, with_zero_sums
from reluopt.losses import rationals
from reluopt.losses.protocol import Array, each_sample
from reluopt.pooling import Pooling
from reluopt.rigor import rounding


class DualSide(BiasSide):
    """What is asked of a dual candidate z, of the shape of the targets; :class:`~reluopt.Problem` has it all."""

    pooling: Pooling | None

    def spread(self, z: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "N ..."]:
        """Aᵀz: the dual vector of the rows of X; z itself without pooling."""
        return z if self.pooling is None else self.pooling.back(z)

    def pooled(self, values: Array) -> Array:
        """A values: from the rows of X (N, ...) to the samples (n, ...); values themselves without pooling."""
        return values if self.pooling is None else self.pooling.forward(values)

    @np.errstate(over="ignore", invalid="ignore")
    def support_of_samples(self, z: Float[np.ndarray, "n ..."], v: Float[np.ndarray, "N ..."], support: float) -> float:
        """≥ ‖(Aᵀz)ᵀ(Xu)_+‖ for ‖u‖ ≤ 1, where ``support`` is that for v, which is about Aᵀz.

        It is at most support + ‖v − Aᵀz‖_F‖X‖_F, as ‖(Xu)_+‖ ≤ ‖X‖_F‖u‖; the same number without pooling.
        """
        if self.pooling is None:
            return support
        computed = self.pooling.back(z)
        apart = rounding.frobenius_upper(v - computed) * (1 + rounding.gamma(4)) + self.pooling.back_error(z)
        total = (support + apart * rounding.frobenius_upper(self.X) * (1 + rounding.gamma(8))) * (1 + rounding.gamma(4))
        return math.nextafter(total, math.inf) if math.isfinite(total) else math.inf

    @cached_property
    def is_weighted(self) -> bool:
        """Whether any weight differs from 1."""
        return not bool((self.weights == 1.0).all())

    def settled(self, z: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        """z within rounding, such that the equalities of the dual's domain hold exactly: rows of the cross-entropy,
        and the sums over the samples that free biases ask for.
        """
        z = self.loss.settled(z, self.targets, self.weights)
        return with_zero_sums(z, self.weights if self.loss.couples else None) if self.biases.zero_sum else z

    def dual_value(self, z: Array) -> float:
        """Σ κ_i D(z_i/κ_i, y_i), less (Σz)²/2β for a decayed intercept; −inf outside of the domain of D."""
        paid = self._intercept_part(z)
        if not self.is_weighted:
            return float(self.loss.dual(z, self.targets).sum()) - paid
        on = self.weights > 0
        if (z[~on] != 0).any():
            return -math.inf
        kappa = self.weights[on]
        values = self.loss.dual(z[on] / each_sample(kappa, z), self.targets[on])
        return float((each_sample(kappa, values) * values).sum()) - paid

    def _intercept_part(self, z: Array) -> float:
        """(Σ_i z_i)²/(2·decay) of a decayed intercept, summed over the outputs; 0 for any other."""
        if not self.intercept_decay:
            return 0.0
        total = z.sum(0)
        return 0.5 * float((total * total).sum()) / self.intercept_decay

    def dual_domain(self) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
        """(low, high): the dual value is finite for low ≤ z ≤ high; 0 to 0 for samples of weight 0."""
        low, high = self.loss.domain(self.targets)
        if not self.is_weighted:
            return low, high
        kappa = self.weights if low.ndim == 1 else self.weights[:, None]
        on = kappa > 0
        low, high = (np.where(on, kappa * np.where(on, end, 0.0), 0.0) for end in (low, high))
        return low, high

    def proved_value(self, z: Float[np.ndarray, "n ..."], bound: float) -> tuple[float, float]:
        """(value, t): the proved dual value of tz, with t the best multiple for which t·``bound`` ≤ β holds exactly.

        Equation (*): max over 0 ≤ t ≤ β/B with tz in the domain of Σ κ D(tz/κ). ``bound`` is a proved B ≥ ‖zᵀ(Xu)_+‖
        on ‖u‖ ≤ 1. Where B or z is not finite t = 0, whose value is Σ κ D(0) (0 but for the loss of a constant).
        """
        nothing = rationals.dual_value_lower(self.loss, np.zeros_like(self.targets), self.targets, self.weights, 0.0)
        if not (math.isfinite(bound) and bound >= 0 and np.isfinite(z).all() and z.any()):
            return nothing, 0.0
        total = sums(z) if self.biases else []
        if self.biases.zero_sum and any(total):
            return nothing, 0.0
        most = rationals.largest_multiple(self.loss, z, self.targets, self.weights, bound, self.beta)
        scale = self.best_multiple(z, most)
        value = rationals.dual_value_lower(self.loss, z, self.targets, self.weights, scale)
        if self.intercept_decay and math.isfinite(value):
            square = sum((s * s for s in total), Fraction(0))
            value = rounding.round_down(
                Fraction(value) - Fraction(scale) ** 2 * square / (2 * Fraction(self.intercept_decay))
            )
        return (value, scale) if value >= nothing else (nothing, 0.0)

    def estimated_value(self, z: Float[np.ndarray, "n ..."], bound: float) -> float:
        """The value of :meth:`proved_value` in float64, which proves nothing; −inf where it is not finite."""
        if not (math.isfinite(bound) and bound >= 0 and np.isfinite(z).all()):
            return -math.inf
        if not z.any():
            return self.dual_value(z)
        most = rationals.largest_multiple(self.loss, z, self.targets, self.weights, bound, self.beta)
        return self.dual_value(self.best_multiple(z, most) * z)

    def best_multiple(self, z: Float[np.ndarray, "n ..."], most: float) -> float:
        """argmax over 0 ≤ t ≤ most of the concave dual value of tz, by its derivative Σ z D'(tz/κ) − t(Σz)²/β."""
        on = self.weights > 0
        paid = self._intercept_part(z)
        zs, y, ratio = z[on], self.targets[on], z[on] / each_sample(self.weights[on], z)

        def slope(t: float) -> float:
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                parts = np.where(zs != 0, zs * self.loss.dual_gradient(t * ratio, y), 0.0)
            most_of_one = 1e300 / parts.size
            return float(np.clip(parts, -most_of_one, most_of_one).sum()) - 2 * t * paid

        if most <= 0 or slope(0.0) <= 0:
            return 0.0
        high = most
        if not math.isfinite(most):
            high = 1.0
            while slope(high) > 0 and high < 1e300:
                high *= 4.0
        if slope(high) >= 0:
            return high
        # every multiple is allowed; where D has a kink the root is a jump, which is only approached
        return min(high, brentq(slope, 0.0, high, xtol=1e-300, rtol=1e-14, disp=False))
