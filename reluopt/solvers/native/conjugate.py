r"""The loss's part of the dual: h(z) = Σ κ_i ℓ*(−z_i/κ_i).

Two kinds of losses, told apart by the ends of the domain of D = −ℓ*(−·):

- where D' is infinite at the ends (squared, logistic), z = −κℓ'(f) maps every f into the domain: steps are made in f,
  and what is a barrier in z is a straight line in f;
- elsewhere the domain is a box (:mod:`box`), which the augmented Lagrangian takes as it takes the cones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.losses import Loss

#: How far from an end of the domain, relative to its width, a given z must lie to have a finite f: this power of ε.
INSIDE = 0.75
#: The least curvature in Newton's matrix, for samples whose loss has gone flat.
FLAT_SLOPE = 1e-12

Vector = Float[Tensor, " n"]


@dataclass(eq=False)
class Point:
    """z (n,) and f = −∇h(z)."""

    z: Vector
    f: Vector


@dataclass(eq=False)
class Direction:
    """A Newton step: its slope dz (n,) in z at the start, and its way df (n,) in f; None where df = −dz."""

    dz: Vector
    df: Vector | None


class Conjugate:
    """h and its derivatives for one problem in natural units, for losses whose D' is infinite at the domain's ends.

    Parameters
    ----------
    loss, y : of the problem. ``kappa`` : (n,) weights, None where all are 1.
    """

    def __init__(self, loss: Loss, y: Vector, kappa: Vector | None) -> None:
        self.loss, self.y, self.kappa = loss, y, kappa
        one = torch.ones_like(y)
        self.weights = one if kappa is None else kappa
        self.unit = self.weights.where(self.weights > 0, one)
        self.ends = loss.domain(y)
        self.low, self.high = (torch.where(self.weights > 0, end * self.unit, 0.0 * one) for end in self.ends)
        self.bounded = bool(self.low.isfinite().any() or self.high.isfinite().any())
        self.quadratic, self.least = self._is_quadratic(), self.dual(torch.zeros_like(y))

    def _is_quadratic(self) -> bool:
        """Whether D'' is the same at several points inside of the domain: then D(tz) is known for all t from one z."""
        low, high = (end.clamp(-2.0, 2.0) for end in self.ends)
        inside = [self.loss.dual_curvature(low + share * (high - low), self.y) for share in (0.2, 0.5, 0.7)]
        return all(bool((one == inside[0]).all()) for one in inside)

    # -- points ------------------------------------------------------------------------------------------------------

    def from_fit(self, f: Vector) -> Point:
        """The point z = −κℓ'(f)."""
        z = -self.loss.gradient(f, self.y)
        return Point(z if self.kappa is None else self.weights * z, f)

    def start(self, f: Vector, z: Vector | None) -> Point:
        """The point of z, or where there is none of f."""
        return self.from_fit(f) if z is None else self.at(z)

    def at(self, z: Vector) -> Point:
        """The point of z, brought into the domain."""
        ratio = self.ratio(z)
        low, high = self.ends
        room = torch.finfo(z.dtype).eps ** INSIDE * (high - low).nan_to_num(posinf=0.0)
        return Point(self.weights * ratio, self.loss.dual_gradient(ratio.clamp(low + room, high - room), self.y))

    def ratio(self, z: Vector) -> Vector:
        """z/κ inside of the loss's own domain."""
        ratio = z if self.kappa is None else z / self.unit
        return ratio.clamp(*self.ends) if self.bounded else ratio

    def moved(self, point: Point, direction: Direction, step: float) -> Point:
        """The point a step further."""
        if direction.df is None:
            return Point(point.z + step * direction.dz, point.f - step * direction.dz)
        return self.from_fit(point.f + step * direction.df)

    def tangent(self, point: Point, direction: Direction) -> Vector:
        """The derivative of z along the step, at a point on it."""
        return direction.dz if direction.df is None else -self.bend(point) * direction.df

    def beyond(self, behind: Point, point: Point, reach: float, fit: Vector) -> Point:
        """The point as far beyond ``point`` as ``reach`` times the way from ``behind``; ``fit``: the blocks'."""
        return self.from_fit(point.f + reach * (point.f - behind.f))

    def recentred(self, point: Point, sigma: float) -> Point:
        """The point after an outer step, where h has no multipliers of its own."""
        return point

    def inside(self, z: Vector) -> Vector:
        """The nearest point of the domain: z itself, which never leaves it."""
        return z

    # -- values ------------------------------------------------------------------------------------------------------

    def primal(self, f: Vector) -> float:
        """Σ κ_i ℓ(f_i, y_i)."""
        return self.sum(self.loss.value(f, self.y))

    def value(self, point: Point, dual: float) -> float:
        """h(z), given D there."""
        return -dual

    def dual(self, z: Vector) -> float:
        """Σ κ_i D(z_i/κ_i, y_i)."""
        return self.sum(self.loss.dual(self.ratio(z), self.y))

    def sum(self, values: Vector) -> float:
        """Σ κ_i v_i."""
        return float(values.sum() if self.kappa is None else self.kappa @ values)

    def best_dual(self, z: Vector, dual: float, most: float) -> float:
        """The largest dual value of a multiple tz with t ≤ ``most``; ``dual`` is that of z itself."""
        if self.bounded:
            most = min(most, self._reach(z))
        if not self.quadratic:
            return self._best_by_newton(z, dual, most)
        # D(tz) = D(0) + t·linear − t²·square inside of the domain, from its value and slope at t = 1
        slope = float(z @ self.loss.dual_gradient(self.ratio(z), self.y))
        linear, square = 2 * (dual - self.least) - slope, dual - self.least - slope
        if linear <= 0.0:
            return self.least
        t = min(linear / (2 * square), most) if square > 0 else min(most, 1e300)
        return self.least + t * linear - t * t * square

    def _best_by_newton(self, z: Vector, dual: float, most: float) -> float:
        """A few steps of Newton on the slope of D(tz); any t ≤ ``most`` is good, the best one better."""
        t = min(most, 1.0)
        for _ in range(3):
            ratio = self.ratio(t * z)
            slope = float(z @ self.loss.dual_gradient(ratio, self.y).clamp(-1e30, 1e30))
            bend = float((z * z / self.unit) @ self.loss.dual_curvature(ratio, self.y).clamp(max=1e30))
            following = min(max(t + slope / bend if bend > 0 else t, 0.1 * t), most)
            if abs(following - t) <= 1e-9 * t:
                break
            t = following
        best = self.dual(t * z)
        return max(best, dual) if most >= 1.0 else best

    def _reach(self, z: Vector) -> float:
        """The largest t with tz in the domain."""
        end = torch.where(z > 0, self.high, self.low)
        return float(torch.where(z != 0, end / z, torch.full_like(z, math.inf)).min())

    # -- Newton ------------------------------------------------------------------------------------------------------

    def bend(self, point: Point) -> Vector:
        """W = 1/h'' = −dz/df."""
        return self.weights * self.loss.curvature(point.f, self.y).clamp(min=FLAT_SLOPE)

    def weight(self, point: Point) -> Vector | None:
        """W for Newton's matrix; None where it is 1 for all."""
        bend = self.bend(point)
        return None if bool((bend == 1.0).all()) else bend

    def gain(self, gradient: Vector) -> float:
        """A bound of what Ψ can still lose at this gradient, by the strong convexity of h."""
        return 0.5 * self.loss.lipschitz * self.sum(gradient.square())
