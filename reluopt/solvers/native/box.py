r"""The loss's part of the dual where the domain of z is a box: a penalty with multipliers e, as for the cones.

    h(z) = −D̄(z) + (τ/2)‖z − c‖² + (1/2s) Σ (e⁺² − e²),   e⁺ = v − s·clip(v/s, low, high),   v = e + sz,

with D̄ the dual objective, continued beyond the box by its second order expansion. At the optimum e is how far f lies
beyond the end of the box. Losses with kinks (absolute, quantile, hinge) have a linear D, which would leave Newton's
matrix singular: they have τ > 0, the proximal method of multipliers (Rockafellar 1976), exact in the limit for any τ.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.losses import Loss
from reluopt.solvers.native.conjugate import Conjugate, Direction, Point

#: τ for the penalty σ: PROXIMAL/√σ, never below LEAST_PROXIMAL.
PROXIMAL, LEAST_PROXIMAL = 3.0, 1e-6

Vector = Float[Tensor, " n"]


class BoxConjugate(Conjugate):
    """h for losses whose domain ends at a finite D'."""

    def __init__(self, loss: Loss, y: Vector, kappa: Vector | None) -> None:
        super().__init__(loss, y, kappa)
        self.tau, self.s = (0.0 if loss.smooth else 1.0), 1.0
        self.centre, self.e = torch.zeros_like(y), torch.zeros_like(y)

    def from_fit(self, f: Vector) -> Point:
        """The point z = −κℓ'(f), with the multipliers that go with f."""
        return self.start(f, None)

    def start(self, f: Vector, z: Vector | None) -> Point:
        """The point of z, −κℓ'(f) where there is none, with the multipliers that go with f."""
        z = -self.weights * self.loss.gradient(f, self.y) if z is None else z.clamp(self.low, self.high)
        beyond = self._continued(z)[0] - f
        upper, lower = (z >= self.high) & (beyond > 0), (z <= self.low) & (beyond < 0)
        self.e, self.centre = torch.where(upper | lower, beyond, torch.zeros_like(z)), z
        return self.at(z)

    def at(self, z: Vector) -> Point:
        """The point of any z."""
        slope, _ = self._continued(z)
        f = slope - self._excess(z)
        return Point(z, f - self.tau * (z - self.centre) if self.tau else f)

    def _excess(self, z: Vector) -> Vector:
        """e⁺."""
        v = self.e / self.s + z
        return self.s * (v - v.clamp(self.low, self.high))

    def _continued(self, z: Vector) -> tuple[Vector, Vector]:
        """D' and −D'' of the continued dual objective."""
        ratio = self.ratio(z)
        bend = self.loss.dual_curvature(ratio, self.y) / self.unit
        return self.loss.dual_gradient(ratio, self.y) - bend * (z - self.weights * ratio), bend

    def moved(self, point: Point, direction: Direction, step: float) -> Point:
        """The point a step further."""
        return self.at(point.z + step * direction.dz)

    def tangent(self, point: Point, direction: Direction) -> Vector:
        """The step itself."""
        return direction.dz

    def beyond(self, behind: Point, point: Point, reach: float, fit: Vector) -> Point:
        """The point as far beyond ``point`` as ``reach`` times the way from ``behind``; ``fit``: the blocks'."""
        return self.start(fit, point.z + reach * (point.z - behind.z))

    def recentred(self, point: Point, sigma: float) -> Point:
        """E ← e⁺ and c ← z, with s = σ and the τ of the penalty σ."""
        self.e, self.s = self._excess(point.z), sigma
        if self.tau:
            self.centre, self.tau = point.z, max(PROXIMAL / math.sqrt(sigma), LEAST_PROXIMAL)
        return self.at(point.z)

    def inside(self, z: Vector) -> Vector:
        """The nearest point of the box."""
        return z.clamp(self.low, self.high)

    def value(self, point: Point, dual: float) -> float:
        """h(z), given D at the nearest point of the box."""
        z = point.z
        slope, bend = self._continued(z)
        beyond, excess = z - self.inside(z), self._excess(z)
        # D̄ at z from its value at the end of the box, and its slope here
        h = float((excess.square() - self.e.square()).sum()) / (2 * self.s) - dual
        h -= float(beyond @ (slope + 0.5 * bend * beyond))
        return h + 0.5 * self.tau * float((z - self.centre).square().sum()) if self.tau else h

    def bend(self, point: Point) -> Vector:
        """W = 1/h''; 0 for samples of no weight."""
        v, bend = self.e / self.s + point.z, self._continued(point.z)[1]
        return (self.weights > 0) / (bend + self.tau + self.s * ((v < self.low) | (v > self.high)))

    def gain(self, gradient: Vector) -> float:
        """A bound of what Ψ can still lose at this gradient, by the strong convexity of h."""
        strong = self.tau + (1.0 / (self.loss.lipschitz * self.unit) if self.loss.smooth else 0.0)
        return 0.5 * float((gradient.square() * (self.weights > 0) / strong).sum())


def conjugate_of(loss: Loss, y: Vector, kappa: Vector | None) -> Conjugate:
    """The conjugate by the ends of the loss's domain."""
    ends = loss.domain(y)
    boxed = any(bool((end.isfinite() & loss.dual_gradient(end, y).isfinite()).any()) for end in ends)
    return BoxConjugate(loss, y, kappa) if boxed else Conjugate(loss, y, kappa)
