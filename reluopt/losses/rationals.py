r"""Exact arithmetic for the losses: the dual value of a point, the value of a fit, multiples that stay feasible.

Samples are rational numbers here, one after another: what is added is rounded once a sample, outward, to a multiple of
2^−1100, so that sums stay short whatever the weights are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from reluopt.losses.protocol import Loss
from reluopt.losses.squared import Squared
from reluopt.rigor.rounding import exact_dot, round_down, round_up, sum_above, sum_below

Vector = Float[np.ndarray, " n"]
#: (n,), or (n, C) with several outputs.
Targets = Float[np.ndarray, "n ..."]


def dual_value_lower(loss: Loss, z: Targets, y: Targets, weights: Vector, scale: float) -> float:
    """A float64 ≤ Σ κ_i D(t z_i/κ_i, y_i), t = ``scale``; −inf outside of the domain or where z is not finite.

    A sample of weight 0 has the domain {0}.
    """
    if not (math.isfinite(scale) and np.isfinite(z).all()):
        return -math.inf
    t = Fraction(scale)
    if isinstance(loss, Squared) and (weights == 1.0).all():
        return round_down(t * exact_dot(y.ravel(), z.ravel()) - t * t * exact_dot(z.ravel(), z.ravel()) / 2)
    terms = []
    for zi, yi, kappa in zip(_rows(z), _rows(y), weights.tolist(), strict=True):
        if kappa == 0.0:
            term: Fraction | None = None if any(zi) and scale else Fraction(0)
        else:
            k = Fraction(kappa)
            below = loss.dual_exact_row([t * v / k for v in zi], yi)
            term = None if below is None else k * below
        if term is None:
            return -math.inf
        terms.append(term)
    return round_down(sum_below(terms))


def largest_multiple(loss: Loss, z: Targets, y: Targets, weights: Vector, bound: float, beta: float) -> float:
    """The largest float64 t ≥ 0 with t·``bound`` ≤ β and tz in the domain, both exactly; 0 where there is none.

    ``inf`` where nothing limits it.
    """
    limits = [Fraction(beta) / Fraction(bound)] if bound > 0 else []
    unit = np.ones_like(z)
    low, high = loss.domain(y)
    finite = (np.isfinite(low) | (z >= 0)) & (np.isfinite(high) | (z <= 0)) & (z != 0)
    # the exact end may be a little outside of its float64: an inner one is taken, which is safe
    ends = np.where(z > 0, high, low)
    off = loss.couples and any(math.fsum(row) != 0 for row in z.tolist())
    kappa = weights if z.ndim == 1 else np.broadcast_to(weights[:, None], z.shape)
    if off or (ends[finite] == 0).any() or ((kappa == 0) & (z != 0)).any():
        return 0.0
    if finite.any():
        with np.errstate(over="ignore", divide="ignore"):
            ratios = np.where(finite, kappa * ends / np.where(finite, z, unit), np.inf)
        # the float64 ratios only choose who is compared exactly
        near = finite & (ratios <= ratios.min() * (1 + 1e-12))
        closest = zip(*(part[near].tolist() for part in (kappa, ends, z)), strict=True)
        limits += [Fraction(k) * Fraction(end) / Fraction(v) for k, end, v in closest]
    return max(0.0, round_down(min(limits))) if limits else math.inf


def loss_upper(loss: Loss, low: Targets, high: Targets, y: Targets, weights: Vector) -> float:
    """A float64 ≥ Σ κ_i ℓ(f_i, y_i) for every low ≤ f ≤ high, by ``value_exact_row``."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return math.inf
    terms = (
        Fraction(kappa) * loss.value_exact_row(a, b, t)
        for a, b, t, kappa in zip(_rows(low), _rows(high), _rows(y), weights.tolist(), strict=True)
        if kappa
    )
    return round_up(sum_above(terms))


def _rows(values: Targets) -> Iterator[list[Fraction]]:
    """The outputs of each sample as fractions."""
    return (list(map(Fraction, row)) for row in values.reshape(len(values), -1).tolist())
