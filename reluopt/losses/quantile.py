"""The quantile (pinball) loss and the absolute one (Koenker & Bassett, Econometrica 46, 1978)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from reluopt.losses.protocol import Array, Loss, RealLoss, namespace


class _Pinball(RealLoss):
    """ℓ = high·(y − f)_+ + (−low)·(f − y)_+, D(z) = yz on low ≤ z ≤ high."""

    smooth: ClassVar[bool] = False
    lipschitz: ClassVar[float] = math.inf

    @property
    def ends(self) -> tuple[Fraction, Fraction]:
        """(low, high), exactly."""
        raise NotImplementedError

    @property
    def _floats(self) -> tuple[float, float]:
        """(low, high) as float64 inside of the exact ones."""
        low, high = (float(end) for end in self.ends)
        return low if Fraction(low) >= self.ends[0] else math.nextafter(low, math.inf), high

    def value(self, f: Array, y: Array) -> Array:
        """high·(y − f)_+ + (−low)·(f − y)_+."""
        low, high = self._floats
        r = y - f
        return high * (r * (r > 0)) + low * (r * (r < 0))

    def gradient(self, f: Array, y: Array) -> Array:
        """−high below y, −low above it, 0 at the kink (−0 ∈ [low, high])."""
        low, high = self._floats
        one = 0.0 * f + 1.0  # a number times a mask alone would be float32 in torch
        return -low * one * (f > y) - high * one * (f < y)

    def curvature(self, f: Array, y: Array) -> Array:
        """0."""
        return 0.0 * f

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """F + step·((y − f)/step clipped to [low, high])."""
        low, high = self._floats
        return f + step * ((y - f) / step).clip(low, high)

    def domain(self, y: Array) -> tuple[Array, Array]:
        """[low, high]."""
        low, high = self._floats
        return 0.0 * y + low, 0.0 * y + high

    def dual(self, z: Array, y: Array) -> Array:
        """yz in the domain."""
        xp, (low, high) = namespace(z), self.domain(y)
        return xp.where((z >= low) & (z <= high), y * z, -xp.inf)

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """y."""
        return 0.0 * z + y

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """0."""
        return 0.0 * z

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """yz in the domain."""
        low, high = self.ends
        return y * z if low <= z <= high else None

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """The larger of the two lines."""
        low, high = self.ends
        return max(high * (y - f), low * (y - f))

    def rescaled(self, unit: float) -> tuple[Loss, float]:
        """The same loss, in units of unit."""
        return self, unit


@dataclass(frozen=True)
class Absolute(_Pinball):
    """ℓ = |f − y|, D(z) = yz on |z| ≤ 1."""

    name: ClassVar[str] = "absolute"

    @property
    def ends(self) -> tuple[Fraction, Fraction]:
        """(−1, 1)."""
        return Fraction(-1), Fraction(1)


@dataclass(frozen=True)
class Quantile(_Pinball):
    """ℓ = τ(y − f)_+ + (1 − τ)(f − y)_+, D(z) = yz on τ − 1 ≤ z ≤ τ: its fit is the τ-quantile."""

    tau: float = 0.5
    name: ClassVar[str] = "quantile"

    @property
    def spec(self) -> str:
        """With τ."""
        return f"quantile:{self.tau!r}"

    @property
    def ends(self) -> tuple[Fraction, Fraction]:
        """(τ − 1, τ); τ − 1 is exact, its float64 may not be."""
        return Fraction(self.tau) - 1, Fraction(self.tau)
