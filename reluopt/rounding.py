r"""Rigorous float64: the one place, outside of the certificate checker, where rounding is accounted for.

Everything here returns a float64 that is *proved* to lie on the named side of the real number, for inputs taken
as exact binary64 values. Three tools suffice:

- a computed sum of k products is within γ_k Σ|terms| of the true one, γ_k = ku/(1 − ku), in any order of summation,
  with or without fused operations (Higham, ASNA §3); each underflow adds at most ``TINY``;
- integers: dot products of float64 vectors are computed exactly where a digit matters (``exact_dot``);
- RᵀR is positive semidefinite for any R, so λmax(C) ≤ c follows from cI − C ≈ RᵀR and the size of the residual.

Whatever is not finite proves nothing: upper bounds become ``inf``, lower bounds ``-inf``.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float

#: u: a rounded operation is within the factor 1 ± u of the true one.
UNIT = 2.0**-53
#: More than what one operation can lose to underflow, even where subnormal numbers are flushed to zero.
TINY = 2.0**-1020
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


def dual_value_lower(z: Vector, y: Vector, scale: float) -> float:
    """A float64 ≤ t yᵀz − ½t²‖z‖², the largest there is; t = ``scale``."""
    if not (math.isfinite(scale) and np.isfinite(z).all()):
        return -math.inf
    t = Fraction(scale)
    return round_down(t * exact_dot(y, z) - t * t * exact_dot(z, z) / 2)


def feasible_value(z: Vector, y: Vector, bound: float, beta: float) -> tuple[float, float]:
    """(value, t): the proved dual value of tz, with t the best multiple for which t·``bound`` ≤ β holds exactly.

    Equation (*): t = min(β/B, yᵀz/‖z‖²), clipped to ≥ 0. ``bound`` is a proved B, β an exact float64.
    Where B or z is not finite, t = 0 and the value is 0 (p* ≥ 0 always).
    """
    if not (math.isfinite(bound) and bound >= 0 and np.isfinite(z).all() and z.any()):
        return 0.0, 0.0
    yz, zz = exact_dot(y, z), exact_dot(z, z)
    t = yz / zz
    if bound > 0:
        t = min(t, Fraction(beta) / Fraction(bound))
    scale = max(0.0, round_down(t))
    t = Fraction(scale)
    return max(0.0, round_down(t * yz - t * t * zz / 2)), scale


@np.errstate(over="ignore", invalid="ignore")
def norm_upper(v: Float[np.ndarray, "... k"], error: Float[np.ndarray, "... k"] | float = 0.0) -> np.ndarray:
    """≥ ‖v'‖ over the last axis, for every v' with |v' − v| ≤ error entrywise."""
    size = np.abs(v) + error
    top = np.max(size, axis=-1, keepdims=True, initial=0.0)
    # a power of two: dividing by it is exact, and the squares neither overflow nor vanish
    scale = np.ldexp(1.0, np.maximum(np.frexp(np.where(np.isfinite(top), top, 1.0))[1], -1000))
    k = v.shape[-1]
    total = ((size / scale) ** 2).sum(axis=-1) + k * TINY
    bound = np.sqrt(total) * scale[..., 0] * (1 + gamma(k + 8))
    return np.where(np.isfinite(bound), bound, np.inf)


def frobenius_upper(part: np.ndarray) -> float:
    """≥ ‖part‖_F."""
    return float(norm_upper(part.ravel())) if part.size else 0.0


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


@np.errstate(over="ignore", invalid="ignore")
def objective_upper(
    X: Float[np.ndarray, "n d"], y: Vector, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"], beta: float
) -> float:
    """≥ L(U, α) of KP eq. (1), for weights taken as exact float64; ``inf`` where it is not finite."""
    (m, d), size = U.shape, np.abs(alpha)
    # Σ_j |α_j| |fl(x_iᵀu_j) − x_iᵀu_j| ≤ γ_d |x_i|ᵀ (Σ_j |α_j||u_j|): one product of matrix and vector
    reach = (size @ np.abs(U)) * (1 + gamma(m)) + TINY * m
    squares: list[float] = []
    for start in range(0, len(X), BLOCK):
        rows = X[start : start + BLOCK]
        s = np.maximum(rows @ U.T, 0.0)
        residual = s @ alpha - y[start : start + BLOCK]
        rounding = gamma(d) * (np.abs(rows) @ reach) * (1 + gamma(d)) + gamma(m + 1) * (s @ size) * (1 + gamma(m))
        underflow = TINY * (d + 1) * (m + float(size.sum()))
        r = (np.abs(residual) * (1 + gamma(1)) + rounding + underflow) * (1 + gamma(3))
        squares += (r * r * (1 + gamma(1)) + TINY).tolist()
    weights = ((U * U).sum(axis=1) + alpha * alpha) * (1 + gamma(d + 1)) + TINY * (d + 1)
    try:
        total = 0.5 * math.fsum(squares) + 0.5 * beta * math.fsum(weights.tolist())
    except (OverflowError, ValueError):
        return math.inf
    return _above(total * (1 + gamma(6)) + TINY)


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
