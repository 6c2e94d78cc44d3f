r"""Vertices of a hyperplane arrangement and the cells that hang on them, many at a time, with exact signs.

For k rows S and generic vectors g_1..g_{q+1} with k + q + 1 = r, let M = [S; g_1..g_{q+1}]. The columns of M⁻¹
are all that is needed: the last one is the vertex v (S·v = 0, g_1..g_q·v = 0, g_{q+1}·v = 1), the first k are
its edges w_j (x_j·w_j = 1, orthogonal to all else).

Signs are taken from float64 where an a-posteriori error bound allows, from integer determinants elsewhere:
with E = I − M W̃ and ρ = ‖E‖_∞ < 1, |M⁻¹ − W̃| ≤ ρ/(1 − ρ)·|W̃|·1 1ᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from reluopt.errors import ReluoptError
from reluopt.patterns.exact_rows import Row, determinant_sign, independent_columns
from reluopt.rigor.linear_systems import clear_signs, inverse_error

#: generic vectors have integer entries below 2**50: exact in float64, and too many to meet a special position
GENERIC_BITS = 50


@dataclass(frozen=True, eq=False)
class ExactRows:
    """Rows as float64 (scaled by powers of two, so exactly) and as integers, with generic vectors of both kinds.

    Attributes
    ----------
    rows : (N, r) pairwise independent rows with entries of size at most one.
    whole : the same directions as integers.
    generic : (r, r) random rows in general position with everything else; ``whole_generic`` likewise.
    """

    rows: Float[np.ndarray, "N r"]
    whole: list[Row]
    generic: Float[np.ndarray, "r r"]
    whole_generic: list[Row]

    @classmethod
    def make(cls, X: Float[np.ndarray, "N r"], whole: list[Row], rng: np.random.Generator) -> ExactRows:
        """Scale the rows of X to size one by powers of two and draw the generic vectors."""
        _, exponent = np.frexp(np.abs(X).max(axis=1))
        half = 2**GENERIC_BITS
        drawn = rng.integers(-half, half, size=(X.shape[1], X.shape[1]))
        whole_generic = [tuple(int(v) for v in row) for row in drawn]
        return cls(np.ldexp(X, -exponent[:, None]), whole, drawn / half, whole_generic)

    @property
    def r(self) -> int:
        """The rank."""
        return self.rows.shape[1]


@dataclass(frozen=True, eq=False)
class Vertices:
    """Vertices of one chart: their subsets, the signs of all rows there, their edges.

    Attributes
    ----------
    subset : (B, k) rows that meet in the vertex. ``vertex`` : (B, r). ``edges`` : (B, r, k). Both are NaN where the
        rows are independent, but so nearly not that float64 has no inverse of them; the signs are exact there too.
    signs : (N, B) of x_i·v, 0 where row i passes through the vertex.
    lowest : (B, k) signs s_j of the one cell at a simple vertex that lies wholly in g_{q+2} > 0.
    """

    subset: Int[np.ndarray, "B k"]
    vertex: Float[np.ndarray, "B r"]
    edges: Float[np.ndarray, "B r k"]
    signs: Int8[np.ndarray, "N B"]
    lowest: Int8[np.ndarray, "B k"]

    @property
    def simple(self) -> Bool[np.ndarray, " B"]:
        """Where no further row passes through the vertex."""
        return (self.signs == 0).sum(axis=0) == self.subset.shape[1]


def vertices(data: ExactRows, among: Int[np.ndarray, " T"], subset: Int[np.ndarray, "B k"], q: int) -> Vertices:
    """The vertices of the given subsets of rows in the space orthogonal to g_1..g_q; dependent subsets are left out.

    Signs are of the rows ``among``, in their order.
    """
    k = subset.shape[1]
    M = np.concatenate(
        [data.rows[subset], np.broadcast_to(data.generic[: q + 1], (len(subset), q + 1, data.r))], axis=1
    )
    regular = np.linalg.det(M) != 0
    inverse = np.zeros_like(M)
    inverse[regular] = np.linalg.inv(M[regular])
    spread = inverse_error(M, inverse)
    spread[~regular] = np.inf
    doubtful = ~np.isfinite(spread).all(axis=1)
    keep = ~doubtful
    keep[doubtful] = [_independent(data, S, q) for S in subset[doubtful]]
    subset, inverse, spread = subset[keep], inverse[keep], spread[keep]
    vertex, edges = inverse[:, :, -1], inverse[:, :, :k]
    signs = clear_signs(data.rows[among], vertex, spread)
    signs[(among[:, None, None] == subset[None]).any(axis=2)] = 0
    _settle(data, among, subset, q, signs)
    lowest = _lowest(data, subset, edges, spread, q)
    inverse[~(regular[keep] & np.isfinite(inverse).all(axis=(1, 2)))] = np.nan
    return Vertices(subset, inverse[:, :, -1], inverse[:, :, :k], signs, lowest)


def _settle(
    data: ExactRows,
    among: Int[np.ndarray, " T"],
    subset: Int[np.ndarray, "B k"],
    q: int,
    signs: Int8[np.ndarray, "T B"],
) -> None:
    """Fill in the open signs of x_i·v exactly: det[S; g_1..g_q; x_i] over det[S; g_1..g_{q+1}]."""
    for i, b in np.argwhere(signs == 2):
        base = [data.whole[j] for j in subset[b]] + data.whole_generic[:q]
        sign = determinant_sign([*base, data.whole[among[i]]])
        signs[i, b] = sign * determinant_sign([*base, data.whole_generic[q]]) if sign else 0


def _lowest(
    data: ExactRows,
    subset: Int[np.ndarray, "B k"],
    edges: Float[np.ndarray, "B r k"],
    spread: Float[np.ndarray, "B r"],
    q: int,
) -> Int8[np.ndarray, "B k"]:
    """s_j = sign(g_{q+2}·w_j), settled exactly where rounding leaves it open."""
    k = subset.shape[1]
    if k == 0:
        return np.zeros((len(subset), 0), dtype=np.int8)
    sweep = data.generic[q + 1 : q + 2]
    signs = np.stack([clear_signs(sweep, edges[:, :, j], spread)[0] for j in range(k)], axis=1)
    for b, j in np.argwhere(signs == 2):
        M = [data.whole[i] for i in subset[b]] + data.whole_generic[: q + 1]
        replaced = [*M[:j], data.whole_generic[q + 1], *M[j + 1 :]]
        signs[b, j] = determinant_sign(replaced) * determinant_sign(M)
    _require_generic(bool((signs != 0).all()))
    return signs


def _independent(data: ExactRows, S: Int[np.ndarray, " k"], q: int) -> bool:
    """Whether the rows S are independent in the space orthogonal to g_1..g_q."""
    base = [data.whole[i] for i in S] + data.whole_generic[:q]
    if len(independent_columns(base)) < len(base):
        return False
    _require_generic(determinant_sign([*base, data.whole_generic[q]]) != 0)
    return True


def _require_generic(holds: bool) -> None:
    if not holds:
        raise ReluoptError(
            "The random directions of the enumeration met a special position of the data (about one in 10⁸).",
            "Call again with another seed.",
        )
