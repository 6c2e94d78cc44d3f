r"""The matrix M = E_g[D_g X Xᵀ D_g] of Gaussian gates, its condition number κ, and the factors made of them.

.. math:: M_{ij} = x_iᵀx_j (π − θ_{ij}) / (2π),  θ_{ij} the angle between x_i and x_j;  M_{ii} = ‖x_i‖²/2.

Source: KP section 3 (Prop. 3.2, Thm 3.8).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from reluopt.errors import ConfigError


def expected_gram(X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """M (n, n) in closed form. A zero row gives a zero row: it adds nothing under any pattern.

    The angle is 2·atan2(‖a − b‖, ‖a + b‖) of the unit rows (Kahan), accurate for nearly parallel rows too,
    where the arc cosine loses half of the digits.
    """
    norms = np.linalg.norm(X, axis=1)
    unit = X / np.where(norms > 0, norms, 1.0)[:, None]
    angle = 2 * np.arctan2(cdist(unit, unit), cdist(unit, -unit))
    M = (X @ X.T) * (np.pi - angle) / (2 * np.pi)
    np.fill_diagonal(M, 0.5 * norms**2)
    return 0.5 * (M + M.T)


def smallest_eigenvalue(M: Float[np.ndarray, "n n"]) -> float:
    """λmin(M), or 0.0 where it is not distinguishable from zero in float64 (≤ n·ε·λmax)."""
    eigenvalues = np.linalg.eigvalsh(M)
    noise = len(M) * np.finfo(np.float64).eps * float(np.abs(eigenvalues).max())
    return float(eigenvalues[0]) if eigenvalues[0] > noise else 0.0


def largest_gram_eigenvalue(X: Float[np.ndarray, "n d"]) -> float:
    """λmax(XXᵀ) = σmax(X)²."""
    return float(np.linalg.norm(X, ord=2)) ** 2


def kappa(X: Float[np.ndarray, "n d"]) -> float:
    """κ = λmax(XXᵀ)/λmin(M) ≥ 2; ``inf`` where λmin(M) is numerically zero (repeated, parallel or zero rows)."""
    smallest = smallest_eigenvalue(expected_gram(X))
    return largest_gram_eigenvalue(X) / smallest if smallest > 0 else math.inf


def instance_factor(X: Float[np.ndarray, "n d"]) -> float:
    """2√2·√κ: what KP Thm 3.8 bounds p_gated(S)/p_gated(all) by on this X; ``inf`` where κ is."""
    return 2 * math.sqrt(2) * math.sqrt(kappa(X))


def log_factor(n: int) -> float:
    """√log(2n): the growth of the factor in KP Thm 2.1 and Cor. 4.5 (without their constant, which KP leaves open)."""
    if n < 1:
        raise ConfigError(f"n is {n}.", "Give the number of samples, at least one.")
    return math.sqrt(math.log(2 * n))
