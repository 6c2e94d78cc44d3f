"""The Moreau envelope of a loss: what a loss with kinks becomes where an algorithm needs a smooth one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from reluopt.losses.protocol import Array, Loss


@dataclass(frozen=True)
class Envelope(Loss):
    r"""The Moreau envelope min_p ℓ(p, y) + (p − f)²/(2·step) of a loss with kinks: smooth, with the same domain of z.

    Its dual objective is D(z) − ½·step·z², so any of its dual points serves the loss itself.
    """

    loss: Loss
    step: float

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of the loss below."""
        return f"smoothed {self.loss.name}"

    @property
    def classes(self) -> bool:  # type: ignore[override]
        """Of the loss below."""
        return self.loss.classes

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        """1/step."""
        return 1.0 / self.step

    def value(self, f: Array, y: Array) -> Array:
        """ℓ(p) + (p − f)²/(2·step) at p = prox(f)."""
        p = self.loss.prox(f, y, self.step)
        return self.loss.value(p, y) + (p - f) ** 2 / (2 * self.step)

    def gradient(self, f: Array, y: Array) -> Array:
        """(f − prox(f))/step, kept inside of the domain, which rounding may leave."""
        low, high = self.loss.domain(y)
        return ((f - self.loss.prox(f, y, self.step)) / self.step).clip(-high, -low)

    def curvature(self, f: Array, y: Array) -> Array:
        """1/step where the gradient is inside of its domain, else 0 (the losses with kinks are piecewise linear)."""
        low, high = self.loss.domain(y)
        z, rounding = -self.gradient(f, y), 1e-9 * (high - low)
        return (0.0 * z + 1.0 / self.step) * ((z > low + rounding) & (z < high - rounding))

    def minimiser(self, y: Array) -> Array:
        """That of ℓ."""
        return self.loss.minimiser(y)

    def prox(self, f: Array, y: Array, step: Array | float) -> Array:
        """f + step/(step + self.step)·(prox_{step + self.step}(f) − f)."""
        whole = step + self.step
        return f + step / whole * (self.loss.prox(f, y, whole) - f)

    def domain(self, y: Array) -> tuple[Array, Array]:
        """That of ℓ."""
        return self.loss.domain(y)

    def dual(self, z: Array, y: Array) -> Array:
        """D(z) − ½·step·z²."""
        return self.loss.dual(z, y) - 0.5 * self.step * z * z

    def dual_gradient(self, z: Array, y: Array) -> Array:
        """D'(z) − step·z."""
        return self.loss.dual_gradient(z, y) - self.step * z

    def dual_curvature(self, z: Array, y: Array) -> Array:
        """−D''(z) + step."""
        return self.loss.dual_curvature(z, y) + self.step

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        """D(z) − ½·step·z², exactly."""
        below = self.loss.dual_exact(z, y)
        return None if below is None else below - Fraction(self.step) * z * z / 2

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        """ℓ(f, y): the envelope is never above."""
        return self.loss.value_exact(f, y)
