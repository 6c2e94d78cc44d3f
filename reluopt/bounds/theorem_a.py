r"""Theorem A on a region: zᵀ(Xu)_+ ≤ vᵀCv on the core v = (1, u, s_paired), for any multipliers; proved in float64.

.. math:: C:\; ¼ Σ_{free} ψ_i²/ν_i − Σ_{free} x_iᵀu (c_i·F) + Σ_{decided +} z_i x_iᵀu
              + Σ_{paired} [z_j s_j − ν_j (s_j² − s_j x_jᵀu)] + FᵀrF,   ψ_i = w_i·F + ν_i x_iᵀu,

and λ(1 + ‖u‖²) ≥ vᵀCv gives zᵀ(Xu)_+ ≤ 2λ on ‖u‖ ≤ 1. The derivation is in ``certificate/SPEC.md``; without
cuts and pairs it is Theorem A of the design's section 7, and λ = λmax(C).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from reluopt import rounding
from reluopt.bounds.evidence import Evidence, Multipliers, Region


@dataclass(frozen=True, eq=False)
class Geometry:
    """What a region makes of the samples: its forms F (φ, core) and who is free, decided or paired."""

    X: Float[np.ndarray, "n d"]
    F: Float[np.ndarray, "f k"]
    pairs: Int[np.ndarray, " p"]
    free: Bool[np.ndarray, " n"]
    linear: Bool[np.ndarray, " n"]

    @classmethod
    def of(cls, X: Float[np.ndarray, "n d"], cuts: Float[np.ndarray, "k d"], pairs: Int[np.ndarray, " p"]) -> Geometry:
        """The geometry of the region σgᵀu ≥ 0 for the rows of ``cuts``."""
        (n, d), k, p = X.shape, len(cuts), len(pairs)
        F = np.zeros((1 + k + 2 * p, 1 + d + p))
        F[0, 0] = 1.0
        F[1 : 1 + k, 1 : 1 + d] = cuts
        F[1 + k : 1 + k + p, 1 + d :] = F[1 + k + p :, 1 + d :] = np.eye(p)
        F[1 + k + p :, 1 : 1 + d] = -X[pairs]
        sign = np.zeros(n)
        for target in (-1.0, 1.0):
            for cut in cuts:
                sign[(target * cut == X).all(axis=1)] = target
        sign[pairs] = 0.0
        free = sign == 0
        free[pairs] = False
        return cls(X, F, pairs, free, sign > 0)

    def allows(self, z: Float[np.ndarray, " n"], m: Multipliers) -> bool:
        """Whether the multipliers of z obey their signs exactly, in real arithmetic."""
        free, idle = self.free, ~self.free
        decided = idle.copy()
        decided[self.pairs] = False
        return bool(
            (m.c >= 0).all()
            and (m.r >= 0).all()
            and (m.nu[free] >= 0).all()
            and (m.nu[decided] == 0).all()
            and (m.w[:, idle] == 0).all()
            and (m.c[:, idle] == 0).all()
            and (m.w[:, free & (m.nu == 0)] == 0).all()
            and (m.w[1:] >= m.c[1:]).all()
            and _at_least_sum(m.w[0, free], z[free], m.c[0, free]).all()
        )

    def matrix(self, z: Float[np.ndarray, " n"], m: Multipliers) -> tuple[Float[np.ndarray, "k k"], float]:
        """(C, e): the matrix of the bound, and e with ‖fl(C) − C‖ ≤ e in the spectral norm."""
        X, F, d = self.X, self.F, self.X.shape[1]
        u, s = slice(1, 1 + d), slice(1 + d, None)
        half, size = self._factor(m)
        C = half.T @ half + F.T @ m.r @ F
        C[u] -= (X.T @ m.c.T) @ F
        C[0, u] += X.T @ np.where(self.linear, z, 0.0)
        own, products = m.nu[self.pairs], m.nu[self.pairs, None] * X[self.pairs]
        C[0, s] += z[self.pairs]
        C[s, s] -= np.diag(own)
        C[s, u] += products
        # the absolute values of all that was added, each in the Frobenius norm, times one γ for all of it
        added = [
            (np.abs(X).T @ m.c.T) @ np.abs(F),
            np.abs(F).T @ m.r @ np.abs(F),
            np.abs(X).T @ np.where(self.linear, np.abs(z), 0.0),
            z[self.pairs],
            own,
            products,
        ]
        terms = np.square(_frobenius(size)) + sum(_frobenius(part) for part in added)
        n, (f, k) = len(X), F.shape
        largest = 1.0 + max(float(np.abs(v).max(initial=0.0)) for v in (X, F, m.c, z))
        underflow = rounding.TINY * (n + f + 1) ** 2 * k * (1.0 + terms) * np.square(largest)
        return 0.5 * (C + C.T), rounding.gamma(2 * n + 6 * f + 32) * terms * 1.01 + underflow

    def _factor(self, m: Multipliers) -> tuple[Float[np.ndarray, "p k"], Float[np.ndarray, "p k"]]:
        """Rows ½ψ_i/√ν_i as vectors of the core, and the sizes of what was added up in them."""
        d, on = self.X.shape[1], self.free & (m.nu > 0)
        root, rows = np.sqrt(m.nu[on])[:, None], self.X[on]
        scaled = 0.5 * (m.w[:, on].T / root)
        half = scaled @ self.F
        half[:, 1 : 1 + d] += 0.5 * root * rows
        if len(self.F) == 1:
            return half, half  # nothing is added up: the factor is its own size
        size = np.abs(scaled) @ np.abs(self.F)
        size[:, 1 : 1 + d] += 0.5 * root * np.abs(rows)
        return half, size

    def support_upper(self, z: Float[np.ndarray, " n"], m: Multipliers) -> float:
        """A proved upper bound of zᵀ(Xu)_+ over the region and ‖u‖ ≤ 1; ``inf`` where the multipliers prove nothing."""
        if not self.allows(z, m):
            return math.inf
        with np.errstate(over="ignore", invalid="ignore"):
            C, error = self.matrix(z, m)
            level = level_of(C) if m.level is None and not len(self.pairs) else m.level
            if level is None or not (np.isfinite(C).all() and level >= 0):
                return math.inf
            d = self.X.shape[1]
            C[np.arange(d + 1), np.arange(d + 1)] -= level
            reach = float(rounding.norm_upper(self.X[self.pairs].ravel()))
            # the subtraction was rounded; what is left above the level counts for ‖(1, u, s)‖²
            rest = max(0.0, rounding.lambda_max_upper(C, error + rounding.gamma(2) * (level + float(np.abs(C).max()))))
            total = (2.0 * level + rest * (2.0 + reach * reach)) * (1 + rounding.gamma(8))
        return total if math.isfinite(total) else math.inf


def level_of(C: Float[np.ndarray, "k k"]) -> float | None:
    """λmax(C) as computed, clipped to ≥ 0: the best level of a region without pairs. None where C is not finite."""
    return max(0.0, float(np.linalg.eigvalsh(C)[-1])) if np.isfinite(C).all() else None


def _frobenius(part: np.ndarray) -> float:
    return float(rounding.norm_upper(part.ravel())) if part.size else 0.0


def _at_least_sum(
    w: Float[np.ndarray, " n"], a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """w ≥ a + b in exact arithmetic: the rounded sum, and Knuth's exact error of it."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    return (w > total) | ((w == total) & (error <= 0))


def region_upper(X: Float[np.ndarray, "n d"], z: Float[np.ndarray, " n"], region: Region) -> float:
    """B of one region: a proved upper bound of |zᵀ(Xu)_+| over it and ‖u‖ ≤ 1."""
    geometry = Geometry.of(X, region.cuts, region.pairs)
    return max(geometry.support_upper(z, region.positive), geometry.support_upper(-z, region.negative))


def evidence_upper(X: Float[np.ndarray, "n d"], evidence: Evidence) -> float:
    """B: a proved upper bound of |zᵀ(Xu)_+| over all ‖u‖ ≤ 1."""
    return max(region_upper(X, evidence.z, region) for region in evidence.regions)
