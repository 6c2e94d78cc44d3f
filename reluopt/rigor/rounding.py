r"""Rigorous float64: sums, dot products, norms, eigenvalues and the outputs of a network, with rounding accounted for.

Everything here returns a float64 that is *proved* to lie on the named side of the real number, for inputs taken
as exact binary64 values. Three tools suffice:

- a computed sum of k products is within γ_k Σ|terms| of the true one, γ_k = ku/(1 − ku), in any order of summation,
  with or without fused operations (Higham, ASNA §3); each underflow adds at most ``TINY``;
- integers: dot products of float64 vectors are computed exactly where a digit matters (``exact_dot``);
- RᵀR is positive semidefinite for any R, so λmax(C) ≤ c follows from cI − C ≈ RᵀR and the size of the residual.

Whatever is not finite proves nothing: upper bounds become ``inf``, lower bounds ``-inf``. The four questions:

- overflow: products are looked at before anything clips or compares them (``fit_interval``), or reach the result as
  ``inf`` (norms, residuals);
- underflow: ``TINY`` an operation; norms are scaled by a power of 2, decay and dual values are rational numbers;
- subnormal numbers: exact in rational numbers; a norm is raised by one number after it is scaled back;
- NaN: every comparison with it fails, and a failed one is ``inf``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float

#: u: a rounded operation is within the factor 1 ± u of the true one.
UNIT = 2.0**-53
#: More than what one operation can lose to underflow, even where subnormal numbers are flushed to zero.
TINY = 2.0**-1020
#: Binary places of sums of fractions; sizes up to 1e77 and their products have none that matter beyond them.
GRID = 1100
#: Rows of X worked on at a time, so that (rows, m) arrays stay small.
BLOCK = 2048

Vector = Float[np.ndarray, " n"]


def gamma(k: int) -> float:
    """An upper bound of γ_k = ku/(1 − ku); four spare operations are counted in."""
    k = k + 4
    return k * UNIT / (1.0 - 2 * k * UNIT) if k < 2**40 else math.inf


def round_down(value: Fraction) -> float:
    """The largest float64 ≤ value."""
    nearest = _nearest(value)
    return nearest if math.isinf(nearest) or Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)


def round_up(value: Fraction) -> float:
    """The smallest float64 ≥ value."""
    return -round_down(-value)


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.nextafter(math.inf, 0.0)


def sum_below(terms: Iterable[Fraction]) -> Fraction:
    """≤ Σ terms, each rounded down to a multiple of 2^−``GRID``, so that sums stay short."""
    return Fraction(sum((term.numerator << GRID) // term.denominator for term in terms), 1 << GRID)


def sum_above(terms: Iterable[Fraction]) -> Fraction:
    """≥ Σ terms."""
    return -sum_below(-term for term in terms)


def float32_below(value: float) -> float:
    """The largest float32 ≤ value."""
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(single if float(single) <= value else np.nextafter(single, np.float32(-np.inf)))


def float32_above(value: float) -> float:
    """The smallest float32 ≥ value."""
    return -float32_below(-value)


def exact_dot(a: Vector, b: Vector) -> Fraction:
    """aᵀb without any rounding. Raises ValueError where an entry is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("exact_dot of numbers that are not finite")
    both = (a != 0) & (b != 0)
    if not both.any():
        return Fraction(0)
    (p, i), (q, j) = np.frexp(a[both]), np.frexp(b[both])
    shift = i.astype(np.int64) + j
    base = int(shift.min())
    left, right = np.ldexp(p, 53).astype(np.int64).tolist(), np.ldexp(q, 53).astype(np.int64).tolist()
    total = sum((x * y) << s for x, y, s in zip(left, right, (shift - base).tolist(), strict=True))
    return Fraction(total) * Fraction(2) ** (base - 106)


@np.errstate(over="ignore", invalid="ignore")
def norm_upper(v: Float[np.ndarray, "... k"], error: Float[np.ndarray, "... k"] | float = 0.0) -> np.ndarray:
    """≥ ‖v'‖ over the last axis, for every v' with |v' − v| ≤ error entrywise."""
    size = np.abs(v) + error
    top = np.max(size, axis=-1, keepdims=True, initial=0.0)
    # a power of two: dividing by it is exact, and the squares neither overflow nor vanish
    scale = np.ldexp(1.0, np.clip(np.frexp(np.where(np.isfinite(top), top, 1.0))[1], -1000, 1000))
    k = v.shape[-1]
    total = ((size / scale) ** 2).sum(axis=-1) + k * TINY
    # scaled back last, and raised by one number: among subnormal numbers that is the only factor that counts
    bound = np.sqrt(total) * (1 + gamma(k + 8)) * scale[..., 0]
    return np.where(np.isfinite(bound), np.nextafter(bound, np.inf), np.inf)


def frobenius_upper(part: np.ndarray) -> float:
    """≥ ‖part‖_F."""
    return float(norm_upper(part.ravel())) if part.size else 0.0


def largest_entry(*parts: np.ndarray | None) -> float:
    """1 + the largest size of an entry of all of these."""
    return 1.0 + max(float(np.abs(part).max(initial=0.0)) for part in parts if part is not None)


def lambda_max_upper(C: Float[np.ndarray, "k k"], error: Float[np.ndarray, "k k"] | float = 0.0) -> float:
    """≥ λmax(C') for every symmetric C' near the symmetric C; ``inf`` where nothing can be proved.

    ``error`` is either a bound of the spectral norm ‖C' − C‖ or an entrywise bound of |C' − C|.
    With eigenvectors R from LAPACK, cI − C = RᵀR + E, so λmax(C) ≤ c + ‖E‖: only the residual E is trusted.
    """
    spread = float(np.max(np.sum(error, axis=1))) * (1 + gamma(len(C))) if isinstance(error, np.ndarray) else error
    if not (np.isfinite(C).all() and math.isfinite(spread)):
        return math.inf
    try:
        values, vectors = np.linalg.eigh(C)
    except np.linalg.LinAlgError:
        return math.inf
    c = float(values[-1])
    R = np.sqrt(np.maximum(c - values, 0.0))[:, None] * vectors.T
    shifted = -0.5 * (C + C.T)
    shifted[np.diag_indices(len(C))] += c
    residual = np.abs(shifted - R.T @ R) + 2 * UNIT * np.abs(shifted) + TINY * len(C)
    # |fl(RᵀR) − RᵀR| ≤ γ |R|ᵀ|R|, whose spectral norm is at most ‖R‖_F²
    loss = gamma(len(C)) * float(np.square(norm_upper(R.ravel())))
    bound = c + (float(norm_upper(residual.ravel())) + loss + spread) * (1 + gamma(8)) + TINY
    return _above(bound)


def lambda_max_of_gram_upper(half: Float[np.ndarray, "k d"]) -> float:
    """≥ λmax(HᵀH) = ‖H‖² for ``half`` H, by the smaller one of HᵀH and HHᵀ."""
    gram = half.T @ half if half.shape[1] <= len(half) else half @ half.T
    # |fl(HᵀH) − HᵀH| ≤ γ |H|ᵀ|H|, whose spectral norm is at most ‖H‖_F²
    spread = gamma(max(half.shape) + 1) * float(np.square(norm_upper(half.ravel()))) + TINY * half.size
    return lambda_max_upper(0.5 * (gram + gram.T), spread * (1 + gamma(4)))


@np.errstate(over="ignore", invalid="ignore")
def fit_interval(
    X: Float[np.ndarray, "n d"], U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."]
) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
    """(low, high) around f = (XUᵀ)_+ α of KP eq. (1), of every output; infinite where f overflows.

    Weights are taken as exact float64.

    Every product is looked at before (·)_+ clips it: an overflow to −inf is an overflow, not a 0.
    """
    (m, d), size = U.shape, np.abs(alpha)
    low, high = (np.empty((len(X), *alpha.shape[1:])) for _ in range(2))
    # Σ_j |α_j| |fl(x_iᵀu_j) − x_iᵀu_j| ≤ γ_d |x_i|ᵀ (Σ_j |α_j||u_j|): one product of matrix and vector
    reach = (size.T @ np.abs(U)) * (1 + gamma(m)) + TINY * m
    underflow = TINY * (d + 1) * (m + float(size.sum()))
    for start in range(0, len(X), BLOCK):
        rows, at = X[start : start + BLOCK], slice(start, start + BLOCK)
        h = rows @ U.T
        s = np.maximum(h, 0.0)
        error = gamma(d) * (np.abs(rows) @ reach.T) * (1 + gamma(d)) + gamma(m + 1) * (s @ size) * (1 + gamma(m))
        error, f = error + underflow, s @ alpha
        reached = np.isfinite(h).all(axis=1).reshape(-1, *[1] * (alpha.ndim - 1))
        known = reached & np.isfinite(f) & np.isfinite(error)
        off = error * (1 + gamma(3)) + UNIT * np.abs(f)  # the sums below are rounded too
        low[at], high[at] = np.where(known, f - off, -np.inf), np.where(known, f + off, np.inf)
    return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)


def decay_upper(U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], beta: float) -> Fraction:
    """(β/2)(‖U‖² + ‖α‖²), exactly: in float64 half of the smallest β would be 0."""
    return Fraction(beta) / 2 * (exact_dot(U.ravel(), U.ravel()) + exact_dot(alpha.ravel(), alpha.ravel()))


def correlation_norm_upper(
    X: Float[np.ndarray, "n d"],
    z: Vector,
    side: float,
    pattern: Bool[np.ndarray, " n"],
    multipliers: Vector,
) -> float:
    """≥ ‖Xᵀ(±Dz + (2D − I)λ)‖, hence ≥ sup{±zᵀDXu : u ∈ K_D, ‖u‖ ≤ 1}; ``inf`` where λ has a negative entry."""
    if not (multipliers >= 0).all():
        return math.inf
    a = np.where(pattern, side * z + multipliers, -multipliers)
    return float(norm_upper(a @ X, correlation_error(X, a)))


def correlation_error(X: Float[np.ndarray, "n d"], a: Float[np.ndarray, "... n"]) -> Float[np.ndarray, "... d"]:
    """≥ |fl(Xᵀa') − Xᵀa| entrywise, where a' = a but for one rounding or for entries that are left out (set to 0)."""
    return gamma(len(X) + 2) * (np.abs(a) @ np.abs(X)) * (1 + gamma(len(X))) + TINY * len(X)


def _above(value: float) -> float:
    """The next float64 above; ``inf`` for what is not finite."""
    return math.nextafter(value, math.inf) if math.isfinite(value) else math.inf
