r"""Theorem C: ‖zᵀ(Xu)_+‖ ≤ 2 λmax(M) for z (n, C), with one matrix on (a, u) and no two signs; proved in float64.

‖zᵀs‖ = max aᵀzᵀs over ‖a‖ ≤ 1, s = (Xu)_+. With b_i = z_iᵀa and s_i² = s_i x_iᵀu, for any ν > 0

.. math:: b_i s_i = b_i s_i − ν_i (s_i² − s_i x_iᵀu) ≤ (b_i + ν_i x_iᵀu)²/4ν_i,

a quadratic form of (a, u), whatever the sign of b_i. Samples of a *clique* g keep their s_j as variables, which
products r ≥ 0 of the forms s_j ≥ 0 and s_j − x_jᵀu ≥ 0 tie together; they are eliminated (``group_bounds.py``). The
derivation is in ``certificate/SPEC.md``, section 9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from reluopt.bounds.group_bounds import groups_bound
from reluopt.rigor import rounding
from reluopt.rigor.rounding import frobenius_upper as size_of


@dataclass(frozen=True, eq=False)
class OutputEvidence:
    """z with everything that proves B ≥ ‖zᵀ(Xu)_+‖ for all ‖u‖ ≤ 1.

    Attributes
    ----------
    z : (n, C) the dual point before scaling.
    nu : (n,) multipliers of s_i² = s_i x_iᵀu; ≥ 0 outside of cliques, and 0 there only where the row of z is 0.
    groups : disjoint cliques of samples, each in rising order.
    r : for each clique of p samples a matrix (2p, 2p) ≥ 0, multipliers of the products of (s_j, s_j − x_jᵀu).
    """

    z: Float[np.ndarray, "n C"]
    nu: Float[np.ndarray, " n"]
    groups: tuple[Int[np.ndarray, " _"], ...] = ()
    r: tuple[Float[np.ndarray, "_ _"], ...] = ()

    @property
    def free(self) -> np.ndarray:
        """Mask (n,) of the samples outside of cliques."""
        free = np.ones(len(self.nu), dtype=bool)
        for group in self.groups:
            free[group] = False
        return free

    def allows(self) -> bool:
        """Whether the multipliers obey their signs."""
        nu, free = self.nu, self.free
        moved = self.z.any(axis=1)
        return bool(
            np.isfinite(nu).all()
            and (nu[free] >= 0).all()
            and (nu[free & moved] > 0).all()
            and all((r >= 0).all() for r in self.r)
        )

    def matrix(self, X: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "e e"], float, float]:
        """(M, e, δ): the matrix on (a, u), e ≥ ‖fl(M) − M‖ in the spectral norm, and what is added to its bound.

        Raises ``LinAlgError`` where a clique is not definite.
        """
        (n, d), C, steps = X.shape, self.z.shape[1], len(self.groups)
        on = self.free & (self.nu > 0)
        root = np.sqrt(self.nu[on])[:, None]
        half = 0.5 * np.hstack([self.z[on] / root, root * X[on]])
        terms = np.square(size_of(half))
        largest = rounding.largest_entry(X, self.z)
        error = rounding.gamma(2 * n + steps + 32) * terms * 1.01
        error += rounding.TINY * (n + C + d + 1) ** 3 * (1.0 + terms) * largest**2
        part, off, slack = groups_bound(X, np.zeros((0, C + d)), self.groups, self.z, self.nu, self.r)
        M = half.T @ half + part
        return 0.5 * (M + M.T), (error + off) * (1 + rounding.gamma(1)), slack

    @np.errstate(over="ignore", invalid="ignore")
    def level(self, X: Float[np.ndarray, "n d"]) -> float:
        """λmax(M) as computed, clipped to ≥ 0; 0 where nothing is proved."""
        try:
            M, _, _ = self.matrix(X)
        except np.linalg.LinAlgError:
            return 0.0
        return max(0.0, float(np.linalg.eigvalsh(M)[-1])) if np.isfinite(M).all() else 0.0

    @np.errstate(over="ignore", invalid="ignore")
    def support_upper(self, X: Float[np.ndarray, "n d"]) -> float:
        """B: a proved upper bound of ‖zᵀ(Xu)_+‖ on ‖u‖ ≤ 1; ``inf`` where the multipliers prove nothing."""
        if not self.allows():
            return math.inf
        try:
            M, error, slack = self.matrix(X)
        except np.linalg.LinAlgError:
            return math.inf
        total = (2.0 * max(0.0, rounding.lambda_max_upper(M, error)) + slack) * (1 + rounding.gamma(8))
        return total if math.isfinite(total) else math.inf


def theorem_c(z: Float[np.ndarray, "n C"], nu: Float[np.ndarray, " n"]) -> OutputEvidence:
    """Evidence without cliques; a row of z that is 0 needs no ν, and any other a positive one."""
    return OutputEvidence(z, np.where(z.any(axis=1), np.maximum(nu, 2.0**-256), 0.0))


def balanced(X: Float[np.ndarray, "n d"], evidence: OutputEvidence) -> OutputEvidence:
    """The evidence with ν multiplied by the number that makes 2 λmax(M) smallest: M = [A/τ, B; Bᵀ, τD]."""
    on, C = evidence.nu > 0, evidence.z.shape[1]
    if not on.any():
        return evidence
    root = np.sqrt(evidence.nu[on])[:, None]
    half = 0.5 * np.hstack([evidence.z[on] / root, root * X[on]])
    M = half.T @ half
    if not np.isfinite(M).all():
        return evidence
    best, step = 0.0, 1.0
    values = {0.0: _scaled_level(M, C, 0.0)}
    while step > 1e-6:
        for near in (best - step, best + step):
            values.setdefault(near, _scaled_level(M, C, near))
        least = min((best, best - step, best + step), key=values.__getitem__)
        best, step = least, step / (4.0 if least == best else 1.0)
    return OutputEvidence(evidence.z, np.where(on, evidence.nu * math.exp(best), 0.0))


def _scaled_level(M: Float[np.ndarray, "e e"], C: int, log_tau: float) -> float:
    scale = np.full(len(M), math.exp(0.5 * log_tau))
    scale[:C] = math.exp(-0.5 * log_tau)
    return float(np.linalg.eigvalsh(scale[:, None] * M * scale)[-1])
