r"""Theorem A on a region: zᵀ(Xu)_+ ≤ aᵀMa + δ on a = (1, u), for any multipliers; proved in float64.

With F = (1, cuts), s_g the activations of a group g of paired samples, and F_g = (F, s_g, s_g − X_g u),

.. math:: zᵀs ≤ ¼ Σ_{free} ψ_i²/ν_i − Σ_{free} x_iᵀu (c_i·F) + Σ_{decided +} z_i x_iᵀu + Σ_g [aᵀHa + 2 sᵀBa − sᵀAs]_g,

    [aᵀHa + 2 sᵀBa − sᵀAs]_g = Σ_{j ∈ g} [z_j s_j − ν_j (s_j² − s_j x_jᵀu)] + F_gᵀ r_g F_g,   ψ_i = w_i·F + ν_i x_iᵀu.

A group's variables are eliminated by A ≈ LLᵀ, B ≈ LY: its form is at most aᵀ(H + YᵀY)a, and what is missing to the
equalities counts in δ. λmax(M) ≤ λ gives zᵀ(Xu)_+ ≤ 2λ + δ on ‖u‖ ≤ 1. The derivation is in ``certificate/SPEC.md``,
section 6; Theorem A is the case without cuts and groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.group_bounds import groups_bound
from reluopt.bounds.row_space import COLUMNS, RowSpace, in_rows_of
from reluopt.rigor import rounding
from reluopt.rigor.rounding import frobenius_upper as size_of


@dataclass(frozen=True, eq=False)
class Geometry:
    """What a region makes of the samples: its forms F (1 + k, 1 + d) on (1, u) and who is free, decided or paired."""

    X: Float[np.ndarray, "n d"]
    F: Float[np.ndarray, "f e"]
    groups: tuple[Int[np.ndarray, " _"], ...]
    free: Bool[np.ndarray, " n"]
    linear: Bool[np.ndarray, " n"]
    idle: Bool[np.ndarray, " n"]

    @classmethod
    def of(
        cls, X: Float[np.ndarray, "n d"], cuts: Float[np.ndarray, "k d"], groups: tuple[Int[np.ndarray, " _"], ...]
    ) -> Geometry:
        """The geometry of the region σgᵀu ≥ 0 for the rows of ``cuts``."""
        F = np.zeros((1 + len(cuts), 1 + X.shape[1]))
        F[0, 0], F[1:, 1:] = 1.0, cuts
        sign, paired = np.zeros(len(X)), np.zeros(len(X), dtype=bool)
        for target in (-1.0, 1.0):
            for cut in cuts:
                sign[(target * cut == X).all(axis=1)] = target
        for group in groups:
            paired[group] = True
        return cls(X, F, groups, ~paired & (sign == 0), ~paired & (sign > 0), ~paired & (sign != 0))

    def allows(self, z: Float[np.ndarray, " n"], m: Multipliers) -> bool:
        """Whether the multipliers of z obey their signs exactly, in real arithmetic."""
        free = self.free
        return bool(
            (m.c >= 0).all()
            and all((r >= 0).all() for r in m.r)
            and (m.ball is None or m.ball.allows(m.r))
            and (m.nu[free] >= 0).all()
            and (m.nu[self.idle] == 0).all()
            and (m.w[:, ~free] == 0).all()
            and (m.c[:, ~free] == 0).all()
            and (m.w[:, free & (m.nu == 0)] == 0).all()
            and (m.w[1:] >= m.c[1:]).all()
            and self._allows_slopes(z, m)
        )

    def _allows_slopes(self, z: Float[np.ndarray, " n"], m: Multipliers) -> bool:
        """w[0] ≥ z + c[0] for free samples, and what affine slopes ask for beside."""
        allowed, above = (True, m.c[0]) if m.slopes is None else m.slopes.allow(self.X, m.c[0])
        only_free = m.slopes is None or (m.slopes.eta[~self.free] == 0).all()
        return allowed and bool(only_free and _at_least_sum(m.w[0, self.free], z[self.free], above[self.free]).all())

    def matrix(self, z: Float[np.ndarray, " n"], m: Multipliers) -> tuple[Float[np.ndarray, "e e"], float, float]:
        """(M, e, δ): the matrix on (1, u), e ≥ ‖fl(M) − M‖ in the spectral norm, and what is added to its bound.

        Raises ``LinAlgError`` where a group is not definite.
        """
        M, error = self._head(z, m)
        part, off, slack = groups_bound(self.X, self.F, self.groups, z, m.nu, m.r, m.ball)
        return M + part, (error + off) * (1 + rounding.gamma(1)), slack

    def _head(self, z: Float[np.ndarray, " n"], m: Multipliers) -> tuple[Float[np.ndarray, "e e"], float]:
        """What the free and the decided samples add to M, and the rounding of it."""
        X, F = self.X, self.F
        half, size = self._factor(m)
        M = half.T @ half
        M[1:] -= (X.T @ m.c.T) @ F
        M[0, 1:] += X.T @ np.where(self.linear, z, 0.0)
        # the absolute values of all that was added, each in the Frobenius norm, times one γ for all of it
        added = [(np.abs(X).T @ m.c.T) @ np.abs(F), np.abs(X).T @ np.where(self.linear, np.abs(z), 0.0)]
        terms = np.square(size_of(size)) + sum(size_of(part) for part in added)
        (n, d), f = X.shape, len(F)
        operations = 2 * n + 3 * d + 6 * f + len(self.groups) + 32
        largest = rounding.largest_entry(X, F, m.c, z)
        if m.slopes is not None:
            part, more = m.slopes.matrix(X)
            M, terms, operations = M + part, terms + more, operations + len(m.slopes.factor)
            largest = max(largest, rounding.largest_entry(m.slopes.eta))
        underflow = rounding.TINY * (operations + 1) ** 3 * (1.0 + terms) * np.square(largest)
        return 0.5 * (M + M.T), rounding.gamma(operations) * terms * 1.01 + underflow

    def _factor(self, m: Multipliers) -> tuple[Float[np.ndarray, "p e"], Float[np.ndarray, "p e"]]:
        """Rows ½ψ_i/√ν_i as forms of (1, u), and the sizes of what was added up in them."""
        on = self.free & (m.nu > 0)
        root, rows = np.sqrt(m.nu[on])[:, None], self.X[on]
        scaled = 0.5 * (m.w[:, on].T / root)
        half = scaled @ self.F
        half[:, 1:] += 0.5 * root * rows
        if len(self.F) == 1:
            return half, half  # nothing is added up: the factor is its own size
        size = np.abs(scaled) @ np.abs(self.F)
        size[:, 1:] += 0.5 * root * np.abs(rows)
        return half, size

    @np.errstate(over="ignore", invalid="ignore")
    def level(self, z: Float[np.ndarray, " n"], m: Multipliers) -> float:
        """λmax(M) as computed, clipped to ≥ 0: the best level. 0 where nothing is proved."""
        try:
            M, _, _ = self.matrix(z, m)
        except np.linalg.LinAlgError:
            return 0.0
        return max(0.0, float(np.linalg.eigvalsh(M)[-1])) if np.isfinite(M).all() else 0.0

    @np.errstate(over="ignore", invalid="ignore")
    def support_upper(self, z: Float[np.ndarray, " n"], m: Multipliers) -> float:
        """A proved upper bound of zᵀ(Xu)_+ over the region and ‖u‖ ≤ 1; ``inf`` where the multipliers prove nothing."""
        if not self.allows(z, m):
            return math.inf
        try:
            M, error, slack = self.matrix(z, m)
        except np.linalg.LinAlgError:
            return math.inf
        total = (2.0 * max(0.0, rounding.lambda_max_upper(M, error)) + slack) * (1 + rounding.gamma(8))
        return total if math.isfinite(total) else math.inf


def _at_least_sum(
    w: Float[np.ndarray, " n"], a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """w ≥ a + b in exact arithmetic: the rounded sum, and Knuth's exact error of it."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    return (w > total) | ((w == total) & (error <= 0))


def region_upper(X: Float[np.ndarray, "n d"], z: Float[np.ndarray, " n"], region: Region) -> float:
    """B of one region: a proved upper bound of ±zᵀ(Xu)_+ over it and ‖u‖ ≤ 1, for the signs that it is for."""
    geometry = Geometry.of(X, region.cuts, region.groups)
    return max(geometry.support_upper(sign * z, m) for sign, m in region.sides.items())


def evidence_upper(X: Float[np.ndarray, "n d"], evidence: Evidence) -> float:
    """B: a proved upper bound of |zᵀ(Xu)_+| over all ‖u‖ ≤ 1.

    Without cuts, and with many more columns than rows, it is proved in the space of the rows.
    """
    space = RowSpace.of(X) if not len(evidence.directions) else None
    if space is None:
        return max(region_upper(X, evidence.z, region) for region in evidence.regions)
    regions = [in_rows_of(space, region) for region in evidence.regions]
    # outside of the space of the rows a matrix has −δI of its tilt and nothing else
    outside = [-2.0 * m.slopes.tilt for part in regions for m in (part.positive, part.negative) if m.slopes]
    inside = max(region_upper(space.L, evidence.z, region) for region in regions)
    return space.support_upper(evidence.z, max(inside, *outside, 0.0))


def proof_operations(X: Float[np.ndarray, "n d"]) -> float:
    """About how many operations ``evidence_upper`` takes without cuts: two eigenvalue problems, and their products."""
    n, d = X.shape
    side = n if d >= COLUMNS * n else 1 + d
    return 2.0 * side**2 * (12.0 * side + n) + 8.0 * n * side * d


def closed_form_support(X: Float[np.ndarray, "n d"], z: Float[np.ndarray, "n ..."]) -> float:
    """A proved upper bound of |zᵀ(Xu)_+| on ‖u‖ ≤ 1 in O(nd): ‖X‖_F max(‖z_+‖, ‖z_−‖), or ‖X‖_F‖z‖ for z (n, C)."""
    parts = np.maximum(np.stack([z, -z]), 0.0) if z.ndim == 1 else z.reshape(1, -1)
    return math.nextafter(size_of(X) * float(rounding.norm_upper(parts).max()) * (1 + rounding.gamma(1)), math.inf)
