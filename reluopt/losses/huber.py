"""Huber's loss: squared near zero, linear beyond δ (Huber, Ann. Math. Statist. 35, 1964)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from reluopt.losses.protocol import Array, Loss, RealLoss, namespace


@dataclass(frozen=True)
class Huber(RealLoss):
    """ℓ = ½r² where |r| ≤ δ, else δ|r| − ½δ², r = f − y; D(z) = yz − ½z² on |z| ≤ δ. δ is in the units of y."""

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    @property
    def spec(self) -> str:
        """With δ."""
        return f"huber:{self.delta!r}"

    def value(self, f: Array, y: Array) -> Array:
        """|g|(|r| − ½|g|) with g the gradient."""
        r = f - y
        g = r.clip(-self.delta, self.delta)
        return g * (r - 0.5 * g)

    def gradient(self, f: Array, y: Array) -> Array:
        """r clipped to [−δ, δ]."""
        return (f - y).clip(-self.delta, self.delta)

    def curvature(self, f: Array, y: Array) -> Array:
        """1 where |r| < δ, else 0."""
        return (0.0 * f + 1.0) * (abs(f - y) < self.delta)

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """F − step·(r/(1 + step) clipped to [−δ, δ])."""
        return f - step * ((f - y) / (1.0 + step)).clip(-self.delta, self.delta)

    def domain(self, y: Array) -> tuple[Array, Array]:
        """[−δ, δ]."""
        return 0.0 * y - self.delta, 0.0 * y + self.delta

    def dual(self, z: Array, y: Array) -> Array:
        """yz − ½z² where |z| ≤ δ."""
        xp = namespace(z)
        return xp.where(abs(z) <= self.delta, (y - 0.5 * z) * z, -xp.inf)

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """y − z."""
        return y - z

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """1."""
        return 0.0 * z + 1.0

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """yz − ½z² where |z| ≤ δ."""
        return (y - z / 2) * z if abs(z) <= Fraction(self.delta) else None

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """½r² or δ|r| − ½δ²."""
        r, delta = abs(f - y), Fraction(self.delta)
        return r * r / 2 if r <= delta else delta * (r - delta / 2)

    def rescaled(self, unit: float) -> tuple[Loss, float]:
        """δ/unit, in units of unit²."""
        return Huber(self.delta / unit), unit * unit
