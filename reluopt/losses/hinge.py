"""The hinge loss of support vector machines and its square."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from reluopt.losses.protocol import Array, ClassLoss, namespace


@dataclass(frozen=True)
class Hinge(ClassLoss):
    """ℓ = (1 − yf)_+, D(z) = t on 0 ≤ t ≤ 1, t = yz."""

    name: ClassVar[str] = "hinge"
    smooth: ClassVar[bool] = False
    lipschitz: ClassVar[float] = math.inf

    def value(self, f: Array, y: Array) -> Array:
        """(1 − yf)_+."""
        short = 1.0 - y * f
        return short * (short > 0)

    def gradient(self, f: Array, y: Array) -> Array:
        """−y where yf < 1, else 0."""
        return -y * (y * f < 1.0)

    def curvature(self, f: Array, y: Array) -> Array:
        """0."""
        return 0.0 * f

    def minimiser(self, y: Array) -> Array:
        """F = y, where the margin is 1 (no f that is further out is better)."""
        return y

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """F + step·y·((1 − yf)/step clipped to [0, 1])."""
        return f + step * y * ((1.0 - y * f) / step).clip(0.0, 1.0)

    def domain(self, y: Array) -> tuple[Array, Array]:
        """From 0 to y."""
        return y.clip(-1.0, 0.0), y.clip(0.0, 1.0)

    def dual(self, z: Array, y: Array) -> Array:
        """t = yz where 0 ≤ t ≤ 1."""
        xp, t = namespace(z), y * z
        return xp.where((t >= 0) & (t <= 1), t, -xp.inf)

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """y."""
        return 0.0 * z + y

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """0."""
        return 0.0 * z

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """t = yz where 0 ≤ t ≤ 1."""
        t = y * z
        return t if 0 <= t <= 1 else None

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """(1 − yf)_+."""
        return max(Fraction(0), 1 - y * f)


@dataclass(frozen=True)
class SquaredHinge(ClassLoss):
    """ℓ = ½(1 − yf)_+², D(z) = t − ½t² on t ≥ 0, t = yz."""

    name: ClassVar[str] = "squared_hinge"

    def value(self, f: Array, y: Array) -> Array:
        """½(1 − yf)_+²."""
        short = 1.0 - y * f
        return 0.5 * short * short * (short > 0)

    def gradient(self, f: Array, y: Array) -> Array:
        """−y(1 − yf)_+."""
        short = 1.0 - y * f
        return -y * short * (short > 0)

    def curvature(self, f: Array, y: Array) -> Array:
        """1 where yf < 1, else 0."""
        return (0.0 * f + 1.0) * (y * f < 1.0)

    def minimiser(self, y: Array) -> Array:
        """F = y."""
        return y

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """F + step·y·(1 − yf)_+/(1 + step)."""
        short = 1.0 - y * f
        return f + step / (1.0 + step) * y * short * (short > 0)

    def domain(self, y: Array) -> tuple[Array, Array]:
        """From 0 to y·∞."""
        xp = namespace(y)
        return xp.where(y > 0, 0.0 * y, -xp.inf), xp.where(y > 0, xp.inf + 0.0 * y, 0.0)

    def dual(self, z: Array, y: Array) -> Array:
        """t − ½t² where t = yz ≥ 0."""
        xp, t = namespace(z), y * z
        return xp.where(t >= 0, t - 0.5 * t * t, -xp.inf)

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """y − z."""
        return y - z

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """1."""
        return 0.0 * z + 1.0

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """t − ½t² where t = yz ≥ 0."""
        t = y * z
        return t - t * t / 2 if t >= 0 else None

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """½(1 − yf)_+²."""
        return max(Fraction(0), 1 - y * f) ** 2 / 2
