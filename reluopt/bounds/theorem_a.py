r"""Theorem A, with cuts: zᵀ(Xu)_+ ≤ 2 λmax(C) for all ‖u‖ ≤ 1 of a region, for any multipliers; proved in float64.

With s = (Xu)_+ and the forms F(u) ≥ 0 of the region, sum what is known, with its multipliers:

.. math:: zᵀs ≤ Σ_i s_i (w_i·F) − Σ_i x_iᵀu (c_i·F) + FᵀrF − Σ_i ν_i (s_i² − s_i x_iᵀu)
               ≤ ¼ Σ_i ψ_i²/ν_i − Σ_i x_iᵀu (c_i·F) + FᵀrF = (1, u) C (1, u)ᵀ,   ψ_i = w_i·F + ν_i x_iᵀu,

and (1, u) C (1, u)ᵀ ≤ λmax(C)(1 + ‖u‖²). Derivation: section 7 of the design; one form F = (1) is Theorem A itself.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from reluopt import rounding
from reluopt.bounds.evidence import Evidence, Multipliers, Region


def forms(evidence: Evidence, region: Region) -> Float[np.ndarray, "f k"]:
    """The rows of F on (1, u): first (1, 0), then (0, σg) for every cut on the path."""
    d = evidence.directions.shape[1]
    rows = [np.eye(1, d + 1)[0]]
    rows += [np.concatenate([[0.0], sign * evidence.directions[k]]) for k, sign in region.path]
    return np.stack(rows)


def allowed(z: Float[np.ndarray, " n"], m: Multipliers) -> bool:
    """Whether the multipliers obey their conditions exactly, in real arithmetic."""
    signs = (m.c >= 0).all() and (m.nu >= 0).all() and (m.r >= 0).all()
    zero = ((m.nu > 0) | (m.w == 0).all(axis=1)).all()
    return bool(signs and zero and (m.w[:, 1:] >= m.c[:, 1:]).all() and _at_least_sum(m.w[:, 0], z, m.c[:, 0]).all())


def _at_least_sum(
    w: Float[np.ndarray, " n"], a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """w ≥ a + b in exact arithmetic: the rounded sum, and Knuth's exact error of it."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    return (w > total) | ((w == total) & (error <= 0))


def bound_matrix(
    X: Float[np.ndarray, "n d"], m: Multipliers, F: Float[np.ndarray, "f k"]
) -> tuple[Float[np.ndarray, "k k"], float]:
    """(C, e): the matrix of the bound, and e with ‖fl(C) − C‖ ≤ e in the spectral norm."""
    on = m.nu > 0
    nu, rows = m.nu[on], X[on]
    half, size = _factor(m.w[on], nu, rows, F)
    cross = (X.T @ m.c) @ F
    C = half.T @ half + F.T @ m.r @ F
    C[1:] -= 0.5 * cross
    C[:, 1:] -= 0.5 * cross.T
    n, (f, k) = len(X), F.shape
    # the absolute values of all that was added, each in the Frobenius norm, times one γ for all of it
    terms = float(rounding.norm_upper(size.ravel())) ** 2 if len(size) else 0.0
    terms += float(rounding.norm_upper(((np.abs(X).T @ m.c) @ np.abs(F)).ravel()))
    terms += float(rounding.norm_upper((np.abs(F).T @ m.r @ np.abs(F)).ravel()))
    largest = 1.0 + float(np.abs(X).max()) + float(np.abs(F).max()) + float(m.c.max(initial=0.0))
    underflow = rounding.TINY * (n + f + 1) ** 2 * k * (1.0 + terms) * largest**2
    error = rounding.gamma(2 * n + 6 * f + 24) * terms * 1.01 + underflow
    return 0.5 * (C + C.T), error


def _factor(
    w: Float[np.ndarray, "p f"],
    nu: Float[np.ndarray, " p"],
    rows: Float[np.ndarray, "p d"],
    F: Float[np.ndarray, "f k"],
) -> tuple[Float[np.ndarray, "p k"], Float[np.ndarray, "p k"]]:
    """Rows ½ψ_i/√ν_i as vectors of (1, u), and the sizes of what was added up in them."""
    root = np.sqrt(nu)
    scaled = 0.5 * (w / root[:, None])
    half = scaled @ F
    half[:, 1:] += 0.5 * root[:, None] * rows
    if len(F) == 1:
        return half, half  # nothing is added up: the norm of the factor is its own size
    size = np.abs(scaled) @ np.abs(F)
    size[:, 1:] += 0.5 * root[:, None] * np.abs(rows)
    return half, size


def support_upper(
    X: Float[np.ndarray, "n d"], z: Float[np.ndarray, " n"], m: Multipliers, F: Float[np.ndarray, "f k"]
) -> float:
    """A proved upper bound of zᵀ(Xu)_+ over the region; ``inf`` where the multipliers prove nothing."""
    if not allowed(z, m):
        return math.inf
    with np.errstate(over="ignore", invalid="ignore"):
        C, error = bound_matrix(X, m, F)
        # sup over ‖u‖ ≤ 1 of (1, u) C (1, u)ᵀ is also ≥ 0 at u = 0, so a negative bound would be an error elsewhere
        return max(0.0, 2.0 * rounding.lambda_max_upper(C, error))


def evidence_upper(X: Float[np.ndarray, "n d"], evidence: Evidence) -> float:
    """B: a proved upper bound of |zᵀ(Xu)_+| over all ‖u‖ ≤ 1."""
    z, worst = evidence.z, 0.0
    for region in evidence.regions:
        F = forms(evidence, region)
        worst = max(worst, support_upper(X, z, region.positive, F), support_upper(X, -z, region.negative, F))
    return worst
