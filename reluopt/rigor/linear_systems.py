r"""Inverses of many small matrices with proved errors, and the signs that these errors leave no doubt of."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int8

from reluopt.rigor.rounding import gamma

#: Far above what underflow can lose in a sum of a few hundred products.
SMALLEST_DOUBT = 1e-290


def inverse_error(M: Float[np.ndarray, "B r r"], inverse: Float[np.ndarray, "B r r"]) -> Float[np.ndarray, "B r"]:
    """e (B, r) with |M⁻¹ − W̃| ≤ e 1ᵀ, row by row, for any approximate inverses W̃; infinite where W̃ is no inverse.

    With R = I − MW̃ and ‖R‖_∞ = ρ < 1, M⁻¹ = W̃(I − R)⁻¹, so |M⁻¹ − W̃| ≤ |W̃| 1 ρ/(1 − ρ); ρ/(1 − ρ) ≤ 2ρ for ρ ≤ ½.
    """
    r = M.shape[1]
    share = gamma(2 * r)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        residual = np.abs(np.eye(r) - M @ inverse) + share * (np.abs(M) @ np.abs(inverse) + np.eye(r))
        rho = residual.sum(axis=2).max(axis=1) * (1 + share)
        spread = 2 * rho[:, None] * np.abs(inverse).sum(axis=2) * (1 + share)
    return np.where((rho < 0.5)[:, None], spread, np.inf)


def clear_signs(
    B: Float[np.ndarray, "T r"], points: Float[np.ndarray, "B r"], spread: Float[np.ndarray, "B r"]
) -> Int8[np.ndarray, "T B"]:
    """Signs of b·p for every |p − point| ≤ spread, with 2 where these or rounding leave them open."""
    share = gamma(2 * B.shape[1])
    product = B @ points.T
    with np.errstate(over="ignore", invalid="ignore"):
        doubt = np.abs(B) @ (spread + share * np.abs(points)).T * (1 + share) + SMALLEST_DOUBT
        clear = np.abs(product) > doubt
    return np.where(clear, np.sign(product), 2).astype(np.int8)
