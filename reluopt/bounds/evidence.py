r"""What proves a lower bound: a dual point z, a partition of u-space, and multipliers for each part and each sign.

The hyperplanes gᵀu = 0 on the way to a region give the linear forms F = (t, σ_1 g_1ᵀu, …, σ_K g_Kᵀu), all ≥ 0 there
(t = 1). *Any* numbers with w ≥ c (first column: w ≥ z + c), c ≥ 0, ν ≥ 0, r ≥ 0 give a valid bound on zᵀ(Xu)_+
over the region; only the tightness depends on them. See ``certificate/SPEC.md`` for the format on disk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Multipliers of one sign of z over one region with K cuts.

    Attributes
    ----------
    w : (n, 1 + K) coefficients of s_i F_f, with w[:, 0] ≥ ±z + c[:, 0] and w[:, f] ≥ c[:, f].
    c : (n, 1 + K) ≥ 0, multipliers of (s_i − x_iᵀu) F_f ≥ 0; c[:, 0] is q of Theorem A.
    nu : (n,) ≥ 0, multipliers of s_i² = s_i x_iᵀu; zero only where the row of w is zero.
    r : (1 + K, 1 + K) ≥ 0, multipliers of F_f F_f' ≥ 0.
    """

    w: Float[np.ndarray, "n f"]
    c: Float[np.ndarray, "n f"]
    nu: Float[np.ndarray, " n"]
    r: Float[np.ndarray, "f f"]


@dataclass(frozen=True, eq=False)
class Region:
    """A leaf of the tree of cuts: the signed hyperplanes on its path, and its multipliers for z and for −z."""

    path: tuple[tuple[int, int], ...]
    positive: Multipliers
    negative: Multipliers


@dataclass(frozen=True, eq=False)
class Evidence:
    """z with everything that proves B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1.

    Attributes
    ----------
    z : (n,) the dual point before scaling.
    directions : (k, d) normals g of the cuts.
    tree : (nodes, 3) one row a node: direction, child where gᵀu ≥ 0, child where gᵀu ≤ 0; a leaf is (-1, leaf, -1).
        Children come after their parent; row 0 is the root.
    regions : the leaves.
    """

    z: Float[np.ndarray, " n"]
    directions: Float[np.ndarray, "k d"]
    tree: Int[np.ndarray, "nodes 3"]
    regions: tuple[Region, ...]


def unsplit(z: Float[np.ndarray, " n"], d: int, positive: Multipliers, negative: Multipliers) -> Evidence:
    """Evidence with one region: all of u-space."""
    return Evidence(z, np.zeros((0, d)), np.array([[-1, 0, -1]]), (Region((), positive, negative),))


def theorem_a(z: Float[np.ndarray, " n"], q: Float[np.ndarray, " n"], nu: Float[np.ndarray, " n"]) -> Multipliers:
    """(q, w, ν) of Theorem A with the smallest allowed w = max(z + q, 0), rounded up."""
    total = z + q
    w = np.where(total > 0, np.nextafter(total, np.inf), 0.0)
    return Multipliers(w[:, None], q[:, None], np.where(w > 0, nu, 0.0), np.zeros((1, 1)))
