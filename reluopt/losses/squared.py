"""ℓ(f, y) = ½(f − y)²."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from reluopt.losses.protocol import Array, Loss, RealLoss


@dataclass(frozen=True)
class Squared(RealLoss):
    """ℓ = ½(f − y)², D(z) = yz − ½z² for all z."""

    name: ClassVar[str] = "squared"

    def value(self, f: Array, y: Array) -> Array:
        """½(f − y)²."""
        r = f - y
        return 0.5 * r * r

    def gradient(self, f: Array, y: Array) -> Array:
        """The residual f − y."""
        return f - y

    def curvature(self, f: Array, y: Array) -> Array:
        """1."""
        return 0.0 * f + 1.0

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """(f + step·y)/(1 + step)."""
        return (f + step * y) / (1.0 + step)

    def domain(self, y: Array) -> tuple[Array, Array]:
        """All numbers."""
        return 0.0 * y - math.inf, 0.0 * y + math.inf

    def dual(self, z: Array, y: Array) -> Array:
        """yz − ½z²."""
        return (y - 0.5 * z) * z

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """y − z."""
        return y - z

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """1."""
        return 0.0 * z + 1.0

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """yz − ½z²."""
        return (y - z / 2) * z

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """½(f − y)²."""
        return (f - y) ** 2 / 2

    def rescaled(self, unit: float) -> tuple[Loss, float]:
        """The same loss, in units of unit²."""
        return self, unit * unit
