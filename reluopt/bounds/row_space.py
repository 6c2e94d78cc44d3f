r"""Data with many more columns than rows, in the space of the rows: zᵀ(Xu)_+ depends on Qᵀu only.

With Q (d, n) orthonormal up to rounding and L = XQ computed, X = LQᵀ + E for *any* Q and L, and (·)_+ enlarges no
difference, so that for ‖u‖ ≤ 1

.. math:: zᵀ(Xu)_+ ≤ zᵀ(LQᵀu)_+ + ‖z‖‖Eu‖ ≤ ‖Q‖ \max_{‖p‖≤1} zᵀ(Lp)_+ + ‖z‖‖E‖_F.

Theorem A without cuts asks nothing of its multipliers that depends on X: those that prove a bound for X prove one for
L, from a matrix of side n + 1 in the place of d + 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.rigor import rounding
from reluopt.rigor.rounding import frobenius_upper as size_of

#: Worth it from so many columns a row on.
COLUMNS = 2


@dataclass(frozen=True, eq=False)
class RowSpace:
    """X (n, d) ≈ LQᵀ with Q (d, n), L (n, n).

    Attributes
    ----------
    stretch : ≥ ‖Q‖ in the spectral norm. ``off`` : ≥ ‖X − LQᵀ‖_F. Both count rounding in.
    """

    Q: Float[np.ndarray, "d n"]
    L: Float[np.ndarray, "n n"]
    stretch: float
    off: float

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def of(cls, X: Float[np.ndarray, "n d"]) -> RowSpace | None:
        """The space of the rows; None where X has too few columns for it, or where it overflows."""
        n, d = X.shape
        if d < COLUMNS * n:
            return None
        try:
            Q, _ = np.linalg.qr(X.T)
        except np.linalg.LinAlgError:
            return None
        L = X @ Q
        length, spare = size_of(Q), 1 + rounding.gamma(8)
        # |fl(QᵀQ) − QᵀQ| ≤ γ_d |Q|ᵀ|Q|, and the identity is taken off with one more rounding
        loss = rounding.gamma(d + 1) * (length * length + 1.0) + rounding.TINY * d * n
        stretch = math.sqrt(1.0 + (size_of(Q.T @ Q - np.eye(n)) + loss) * spare) * spare
        product = rounding.gamma(n) * size_of(L) * length + rounding.TINY * n * n * d
        off = (size_of(X - L @ Q.T) * (1 + rounding.gamma(1)) + product) * spare
        return cls(Q, L, stretch, off) if math.isfinite(stretch) and math.isfinite(off) else None

    def support_upper(self, z: Float[np.ndarray, " n"], bound: float) -> float:
        """≥ |zᵀ(Xu)_+| on ‖u‖ ≤ 1, from a ``bound`` ≥ |zᵀ(Lp)_+| on ‖p‖ ≤ 1."""
        total = (self.stretch * bound + float(rounding.norm_upper(z)) * self.off) * (1 + rounding.gamma(8))
        total = math.nextafter(total, math.inf)  # where all of it is subnormal, the factor counts for nothing
        return total if math.isfinite(total) else math.inf


def in_rows_of(space: RowSpace, region: Region) -> Region:
    """A region without cuts and its multipliers for L in the place of X."""

    def seen(m: Multipliers) -> Multipliers:
        return replace(
            m, slopes=m.slopes and m.slopes.seen_through(space.Q), ball=m.ball and m.ball.seen_through(space.Q)
        )

    positive, negative = seen(region.positive), seen(region.negative)
    return replace(region, cuts=np.zeros((0, space.L.shape[1])), positive=positive, negative=negative)


def kept_to_rows(X: Float[np.ndarray, "n d"], evidence: Evidence) -> Evidence:
    """The evidence without what its affine slopes and ball products have outside of the space of the rows.

    That moves no activation: a proof in the space of the rows does not see it, and for one that does not go there it
    is nothing but loss.
    """
    sides = [m for region in evidence.regions for m in (region.positive, region.negative)]
    if len(evidence.directions) or all(m.slopes is None and m.ball is None for m in sides):
        return evidence
    space = RowSpace.of(X)
    if space is None:
        return evidence

    def kept(m: Multipliers) -> Multipliers:
        return replace(
            m,
            slopes=m.slopes and m.slopes.seen_through(space.Q).seen_through(space.Q.T),
            ball=m.ball and m.ball.seen_through(space.Q).seen_through(space.Q.T),
        )

    regions = (
        replace(region, positive=kept(region.positive), negative=kept(region.negative)) for region in evidence.regions
    )
    return replace(evidence, regions=tuple(regions))


def in_row_space(X: Float[np.ndarray, "n d"], region: Region) -> tuple[Float[np.ndarray, "n e"], Region]:
    """(X, region), or (L, the same region without cuts for L) where X has many more columns than rows."""
    space = RowSpace.of(X)
    return (X, region) if space is None else (space.L, in_rows_of(space, region))
