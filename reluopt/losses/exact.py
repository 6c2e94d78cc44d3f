r"""Exact arithmetic for the losses: the dual value of a point, the value of a fit, multiples that stay feasible.

Samples are rational numbers here, one after another: what is added is rounded once a sample, outward, to a multiple of
2^−``GRID``, so that sums stay short whatever the weights are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from reluopt.losses.protocol import Loss
from reluopt.losses.squared import Squared
from reluopt.rounding import exact_dot, round_down, round_up

#: Binary places of the sums; sizes up to 1e77 and their products have none that matter beyond them.
GRID = 1100

Vector = Float[np.ndarray, " n"]


def sum_below(terms: Iterable[Fraction]) -> Fraction:
    """≤ Σ terms."""
    return Fraction(sum((term.numerator << GRID) // term.denominator for term in terms), 1 << GRID)


def sum_above(terms: Iterable[Fraction]) -> Fraction:
    """≥ Σ terms."""
    return -sum_below(-term for term in terms)


def dual_value_lower(loss: Loss, z: Vector, y: Vector, weights: Vector, scale: float) -> float:
    """A float64 ≤ Σ κ_i D(t z_i/κ_i, y_i), t = ``scale``; −inf outside of the domain or where z is not finite.

    A sample of weight 0 has the domain {0}.
    """
    if not (math.isfinite(scale) and np.isfinite(z).all()):
        return -math.inf
    t = Fraction(scale)
    if isinstance(loss, Squared) and (weights == 1.0).all():
        return round_down(t * exact_dot(y, z) - t * t * exact_dot(z, z) / 2)
    terms = []
    for zi, yi, kappa in zip(z.tolist(), y.tolist(), weights.tolist(), strict=True):
        if kappa == 0.0:
            term: Fraction | None = None if zi * scale else Fraction(0)
        else:
            k = Fraction(kappa)
            below = loss.dual_exact(t * Fraction(zi) / k, Fraction(yi))
            term = None if below is None else k * below
        if term is None:
            return -math.inf
        terms.append(term)
    return round_down(sum_below(terms))


def largest_multiple(loss: Loss, z: Vector, y: Vector, weights: Vector, bound: float, beta: float) -> float:
    """The largest float64 t ≥ 0 with t·``bound`` ≤ β and tz in the domain, both exactly; 0 where there is none.

    ``inf`` where nothing limits it.
    """
    limits = [Fraction(beta) / Fraction(bound)] if bound > 0 else []
    unit = np.ones_like(z)
    low, high = loss.domain(y)
    finite = (np.isfinite(low) | (z >= 0)) & (np.isfinite(high) | (z <= 0)) & (z != 0)
    # the exact end may be a little outside of its float64: an inner one is taken, which is safe
    ends = np.where(z > 0, high, low)
    if (ends[finite] == 0).any() or ((weights == 0) & (z != 0)).any():
        return 0.0
    if finite.any():
        with np.errstate(over="ignore", divide="ignore"):
            ratios = np.where(finite, weights * ends / np.where(finite, z, unit), np.inf)
        # the float64 ratios only choose who is compared exactly
        near = np.flatnonzero(finite & (ratios <= ratios.min() * (1 + 1e-12)))
        limits += [Fraction(float(weights[i])) * Fraction(float(ends[i])) / Fraction(float(z[i])) for i in near]
    return max(0.0, round_down(min(limits))) if limits else math.inf


def loss_upper(loss: Loss, low: Vector, high: Vector, y: Vector, weights: Vector) -> float:
    """A float64 ≥ Σ κ_i ℓ(f_i, y_i) for every low ≤ f ≤ high: ℓ is convex, so its ends bound it."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return math.inf
    terms = (
        Fraction(kappa) * max(loss.value_exact(Fraction(a), Fraction(t)), loss.value_exact(Fraction(b), Fraction(t)))
        for a, b, t, kappa in zip(low.tolist(), high.tolist(), y.tolist(), weights.tolist(), strict=True)
        if kappa
    )
    return round_up(sum_above(terms))
