r"""Section 3 of SPEC.md: numbers and rounding.

Every number of the file and of the data is 0 or at most ``LARGEST`` in absolute value; every computed array is finite
before anything clips or compares it. A sum of products that takes K operations is within Γ(K) times the size of what
is added up; Γ is twice what theory asks for, which also covers the rounding of the size itself.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from .refusal import require

UNIT = 2.0**-53  # u
LARGEST = 2.0**256  # of every number, about 1e77
SMALLEST_NU = 2.0**-256  # of a ν that is not 0
UNDERFLOW = 2.0**-400  # ε: more than underflow can do to the norm of any computed matrix
GRID = 1200  # loss values and dual values are rounded to multiples of 2^-GRID
CHUNK = 2**16  # entries that are turned into integers at a time

Array = np.ndarray


def gamma(k: int) -> float:
    """Γ(k) = 2ku."""
    return 2.0 * k * UNIT


def within_domain(values: Array, name: str) -> Array:
    """The values, if all of them are finite and at most LARGEST in absolute value."""
    top, bottom = values.max(initial=0.0), values.min(initial=0.0)  # NaN if there is one
    require(top <= LARGEST and bottom >= -LARGEST, f"{name} has an entry that is NaN, infinite or larger than 2^256")
    return values


def finite(values: Array, name: str) -> Array:
    """The computed values, if none of them is NaN or infinite."""
    require(np.isfinite(values).all(), f"overflow: {name} is not finite")
    return values


def norm(values: Array) -> float:
    """≥ the Euclidean (Frobenius) norm. Scaled by a power of 2, so that no square overflows or vanishes."""
    size = np.abs(values).ravel()
    top = float(size.max(initial=0.0))
    require(math.isfinite(top), "overflow: a norm is not finite")
    if top == 0.0:
        return 0.0
    scale = math.ldexp(1.0, min(1000, max(-1000, math.frexp(top)[1])))
    root = math.sqrt(float(((size / scale) ** 2).sum())) * (1.0 + gamma(size.size + 8))
    result = math.nextafter(root * scale, math.inf)
    require(math.isfinite(result), "overflow: a norm is not finite")
    return result


def row_norms(values: Array) -> Array:
    """≥ the Euclidean norm of every row, of numbers whose squares do not overflow."""
    lost = values.shape[1] * 2.0**-1020  # more than the squares lose to underflow
    return np.sqrt(np.einsum("ij,ij->i", values, values) + lost) * (1.0 + gamma(values.shape[1] + 8))


def exact_dot(a: Array, b: Array) -> Fraction:
    """aᵀb without rounding: mantissas multiplied and added as integers."""
    total = Fraction(0)
    for start in range(0, len(a), CHUNK):
        (p, i), (q, j) = np.frexp(a[start : start + CHUNK]), np.frexp(b[start : start + CHUNK])
        shift = i.astype(np.int64) + j
        base = int(shift.min(initial=0))
        left, right = (np.ldexp(part, 53).astype(np.int64).tolist() for part in (p, q))
        products = zip(left, right, (shift - base).tolist(), strict=True)
        total += Fraction(sum((x * y) << s for x, y, s in products)) * Fraction(2) ** (base - 106)
    return total


def at_least_sum(w: Array, a: Array, b: Array) -> Array:
    """w ≥ a + b in exact arithmetic, entry by entry: the rounded sum with Knuth's exact error of it."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    return (w > total) | ((w == total) & (error <= 0))


def above(value: Fraction) -> float:
    """The next binary64 number above a number near to ``value``; infinite where it overflows."""
    try:
        return math.nextafter(float(value), math.inf) if value else 0.0
    except OverflowError:
        return math.inf


def on_grid_below(value: Fraction) -> Fraction:
    """The largest multiple of 2^-GRID that is ≤ value."""
    return Fraction((value.numerator << GRID) // value.denominator, 1 << GRID)


def on_grid_above(value: Fraction) -> Fraction:
    """The smallest multiple of 2^-GRID that is ≥ value."""
    return -on_grid_below(-value)


def binary64_below(value: Fraction) -> float:
    """A binary64 number ≤ value, next to it; value ≥ 0."""
    try:
        nearest = float(value)
    except OverflowError:
        return math.nextafter(math.inf, 0.0)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)
