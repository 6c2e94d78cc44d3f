r"""Evidence in simplices: a dual point z and, for each sign, a tree of simplicial cones that covers the row space.

With any basis B (r, d) and A = XBᵀ as computed, Xu = A(Bu) + (X − AB)u, so that for ‖u‖ ≤ 1

.. math:: zᵀ(Xu)_+ ≤ ‖B‖ \max_{‖p‖≤1} zᵀ(Ap)_+ + ‖z‖‖X − AB‖_F.

On the cone of v_1 … v_r (whole numbers, in one orthant), p = Σλ_kv_k: samples with z_i > 0 are interpolated between
the vertices, for the others (a_iᵀp)_+ ≥ θ_i a_iᵀp with θ_i the side on which the middle of the cone lies. So
zᵀ(Ap)_+ ≤ Σλ_kc_k with c_k = Σ_{z_i>0} z_i(a_iᵀv_k)_+ − gᵀv_k, and any w with v_kᵀw ≥ c_k proves ‖w‖ on ‖p‖ ≤ 1. An ε
with v_kᵀw ≥ c_k − ε|v_k|₁ proves ‖w‖ + ε√r: 1-norms add up in an orthant. The error falls with the square of the width.
``certificate/SPEC.md``, section 10, has the rounding and the format on disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from reluopt.bounds.preorder import replayed
from reluopt.rigor import rounding
from reluopt.rigor.rounding import frobenius_upper as size_of

#: Entries of (samples, cones) arrays.
BLOCK = 2**20
#: A middle is on the side of a_iᵀp > 0 from this share of the largest entry of A on: ties are no matter of rounding.
TIE = 2.0**-30
#: Rounds of exchanges for the w of least norm.
EXCHANGES = 8


@dataclass(frozen=True, eq=False)
class Simplices:
    """z with trees of simplicial cones that prove B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1.

    Attributes
    ----------
    z : (n,) the dual point before scaling. ``basis`` : (r, d) B, entries at most 1 in size.
    trees : for z and for −z the 2^r trees of the orthants one after another, each in preorder, a byte a node: the edge
        (i, j) that is cut at v_i + v_j, or ``LEAF``. The first child has v_i + v_j in the place of v_i.
    level : (2,) what every cone is at most by its own w, so that leaves need not be bounded any tighter.
    """

    z: Float[np.ndarray, " n"]
    basis: Float[np.ndarray, "r d"]
    trees: tuple[UInt8[np.ndarray, " _"], UInt8[np.ndarray, " _"]]
    level: Float[np.ndarray, " s"]

    def support_upper(self, X: Float[np.ndarray, "n d"]) -> float:
        """B ≥ |zᵀ(Xu)_+| on ‖u‖ ≤ 1, every leaf bounded; ``inf`` where numbers are not finite, or bytes no trees."""
        try:
            return self._support_upper(X)
        except ValueError:
            return math.inf

    def _support_upper(self, X: Float[np.ndarray, "n d"]) -> float:
        space, worst = Coordinates.of(X, self.basis), 0.0
        for z, tree, level in zip((self.z, -self.z), self.trees, self.level, strict=True):
            cones = Cones(space.A, z)
            worst = max(worst, float(level))
            for K, cells in replayed(tree, len(self.basis)):
                heights = cones.heights(K)
                for at in cones.blocks(len(cells)):
                    found = cones.bounds(K, heights, cells[at], float(level))[0]
                    worst = max(worst, float(found.max(initial=0.0)))
        return space.support_upper(self.z, worst)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """X ≈ AB in a basis B of its rows. ``stretch`` ≥ ‖B‖, ``off`` ≥ ‖X − AB‖_F, rounding counted."""

    A: Float[np.ndarray, "n r"]
    B: Float[np.ndarray, "r d"]
    stretch: float
    off: float

    @classmethod
    def of(cls, X: Float[np.ndarray, "n d"], B: Float[np.ndarray, "r d"]) -> Coordinates:
        """For any basis."""
        A, spare, size = X @ B.T, 1 + rounding.gamma(8), size_of(B)
        loss = rounding.gamma(B.shape[1] + 1) * (size * size + 1.0) + rounding.TINY * B.size * len(B)
        stretch = math.sqrt(1.0 + (size_of(B @ B.T - np.eye(len(B))) + loss) * spare) * spare
        product = rounding.gamma(len(B)) * size_of(A) * size + rounding.TINY * X.size * len(B)
        off = (size_of(X - A @ B) * (1 + rounding.gamma(1)) + product) * spare
        return cls(A, B, stretch, off)

    def support_upper(self, z: Float[np.ndarray, " n"], bound: float) -> float:
        """≥ |zᵀ(Xu)_+| on ‖u‖ ≤ 1, from a ``bound`` ≥ |zᵀ(Ap)_+| on ‖p‖ ≤ 1."""
        total = (self.stretch * bound + float(rounding.norm_upper(z)) * self.off) * (1 + rounding.gamma(8))
        return math.nextafter(total, math.inf) if math.isfinite(total) else math.inf


def basis_of(X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "r d"]:
    """The right singular vectors of the singular values that are not negligible."""
    gram = (X / (np.abs(X).max() or 1.0)).T
    _, values, vectors = np.linalg.svd(gram.T, full_matrices=False)
    rank = max(1, int((values > 1e-10 * (values[0] or 1.0)).sum()))
    return np.clip(vectors[:rank], -1.0, 1.0)


class Cones:
    """Bounds of z (n,) on simplicial cones of the data A (n, r), many at a time; rounding counted."""

    def __init__(self, A: Float[np.ndarray, "n r"], z: Float[np.ndarray, " n"]) -> None:
        (n, r), plus, minus = A.shape, z > 0, z < 0
        self.r, self.root = r, math.sqrt(r) * (1 + rounding.gamma(2))
        self.plus, self.z_plus = np.ascontiguousarray(A[plus]), z[plus]
        self.minus = np.ascontiguousarray(A[minus])
        self.weighted = np.ascontiguousarray((-z[minus, None] * self.minus).T)
        self.tie = TIE * float(np.abs(A).max(initial=0.0))
        # |a_iᵀv| ≤ max|a_i| |v|_1: all of c_k is within share·size·|v_k|_1, and v_kᵀw within share·‖w‖·|v_k|_1
        self.size = float(np.abs(z) @ np.abs(A).max(axis=1)) * (1 + rounding.gamma(n))
        self.share = rounding.gamma(n + 2 * r + 16)
        self.lost = rounding.TINY * 2.0**60 * (1.0 + float(np.abs(z).sum()))  # to underflow
        self.block = max(64, BLOCK // max(1, n))

    def blocks(self, count: int) -> Iterator[slice]:
        """Slices of so many cones."""
        return (slice(start, start + self.block) for start in range(0, count, self.block))

    def heights(self, K: Float[np.ndarray, "m r"]) -> Float[np.ndarray, " m"]:
        """Σ_{z_i>0} z_i (a_iᵀv)_+ of vertices."""
        found = np.empty(len(K))
        for at in self.blocks(len(K)):
            H = self.plus @ K[at].T
            found[at] = self.z_plus @ np.maximum(H, 0.0, out=H)
        return found

    def values(self, p: Float[np.ndarray, "k r"]) -> Float[np.ndarray, " k"]:
        """zᵀ(Ap)_+ itself, in float64."""
        return self.heights(p) - np.maximum(p @ self.weighted, 0.0).sum(axis=1)

    def bounds(
        self, K: Float[np.ndarray, "m r"], heights: Float[np.ndarray, " m"], cells: Int[np.ndarray, "c r"], limit: float
    ) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, "r c"], Float[np.ndarray, "r r c"]]:
        """(bounds, λ, v/‖v‖): the best bound of each cone, or any bound ≤ ``limit``; then λ may be 0.

        λ are the coordinates of the p at which the bound is attained.
        """
        V = np.ascontiguousarray(K[cells].transpose(1, 2, 0))
        ones, norms = np.abs(V).sum(axis=1), np.sqrt((V * V).sum(axis=1))
        unit = V / norms[:, None]
        middle = unit.sum(axis=0)
        H = self.minus @ middle
        g = self.weighted @ np.greater(H, self.tie, out=H)
        c = heights[cells].T - (V * g).sum(axis=1)
        # all c_k below that of a multiple of the middle
        along = (V * middle).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            w = middle * np.where(along > 0, c / along, np.where(c > 0, np.inf, 0.0)).max(axis=0).clip(0.0)
        best, multipliers = self._proved(V, ones, c, w), np.zeros(c.shape)
        rest = np.flatnonzero(~(best <= limit))
        if len(rest):
            lam = least_norm(unit[:, :, rest], c[:, rest] / norms[:, rest])
            w = (unit[:, :, rest] * lam[:, None]).sum(axis=0)
            tighter = self._proved(V[:, :, rest], ones[:, rest], c[:, rest], w)
            best[rest] = np.where(np.isfinite(tighter), np.fmin(best[rest], tighter), np.inf)
            multipliers[:, rest] = lam
        return best, multipliers, unit

    def _proved(
        self,
        V: Float[np.ndarray, "r r c"],
        ones: Float[np.ndarray, "r c"],
        c: Float[np.ndarray, "r c"],
        w: Float[np.ndarray, "r c"],
    ) -> Float[np.ndarray, " c"]:
        """‖w‖ + ε√r; ``inf`` where it is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.sqrt((w * w).sum(axis=0) + rounding.TINY * self.r) * (1 + rounding.gamma(self.r + 8))
            below = ((c - (V * w).sum(axis=1)) / ones).max(axis=0).clip(0.0)
            found = (length + self.root * (below + self.share * (self.size + length) + self.lost)) * (
                1 + rounding.gamma(8)
            )
        return np.where(np.isfinite(found), found, np.inf)


def least_norm(unit: Float[np.ndarray, "r r c"], c: Float[np.ndarray, "r c"]) -> Float[np.ndarray, "r c"]:
    """λ ≥ 0 with w = Σλ_kv_k of (nearly) least norm subject to v_kᵀw ≥ c_k, by exchanging whole sets of active rows."""
    gram = np.einsum("kec,lec->klc", unit, unit)
    active, found, todo = np.ones(c.shape, dtype=bool), np.zeros(c.shape), np.arange(c.shape[1])
    tolerance = 1e-12 * np.abs(c).max(axis=0)
    for _ in range(EXCHANGES):
        on = active[:, todo]
        lam = solved(gram[:, :, todo], c[:, todo], on)
        off = c[:, todo] - np.einsum("klc,lc->kc", gram[:, :, todo], lam)
        new = np.where(on, lam > 0, off > tolerance[todo])
        found[:, todo] = lam.clip(0.0)
        active[:, todo] = new
        todo = todo[(new != on).any(axis=0)]
        if not len(todo):
            break
    return found


def solved(
    gram: Float[np.ndarray, "r r c"], c: Float[np.ndarray, "r c"], on: Bool[np.ndarray, "r c"]
) -> Float[np.ndarray, "r c"]:
    """The solutions of the rows and columns that are on, by elimination; 0 elsewhere. Nothing is assumed of them."""
    r, G, b = len(c), np.where(on[:, None] & on, gram, 0.0), np.where(on, c, 0.0)
    G[np.arange(r), np.arange(r)] = np.where(on, 1.0 + 1e-14, 1.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for k in range(r - 1):
            factor = G[k + 1 :, k] / G[k, k]
            G[k + 1 :, k + 1 :] -= factor[:, None] * G[k, k + 1 :]
            b[k + 1 :] -= factor * b[k]
        for k in range(r - 1, -1, -1):
            b[k] = (b[k] - (G[k, k + 1 :] * b[k + 1 :]).sum(axis=0)) / G[k, k]
    return np.where(np.isfinite(b), b, 0.0)
