r"""What proves a lower bound: a dual point z, a partition of u-space, and multipliers for each part and each sign.

With s = (Xu)_+ and a region's cuts σgᵀu ≥ 0, a sample is *paired* (it belongs to a group, whose s_j are variables
beside (1, u)), *decided* (its row is itself a cut, up to sign) or *free*. The forms ≥ 0 of a region are 1 and its cuts;
a group adds s_j and s_j − x_jᵀu of its samples, and products are taken within a group only. Any multipliers that obey
their signs give a valid bound on zᵀs over the region; only the tightness depends on them. ``certificate/SPEC.md`` has
the inequality and the format on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from reluopt.bounds.ball import Ball
from reluopt.bounds.slopes import Slopes
from reluopt.units import Units

#: What the first row of a tree has in the place of a direction where one child is a tree for z, the other one for −z.
SIGNS = -2


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Multipliers of one sign of z over one region with k cuts, F = (1, σgᵀu of the cuts).

    Attributes
    ----------
    w : (1 + k, n) coefficients of s_i F_f, with w[0] ≥ ±z + c[0] and w[f] ≥ c[f]; zero for samples that are not free.
        With slopes also w[0] ≥ ±z + c[0] + |η|‖Wx‖.
    c : (1 + k, n) ≥ 0, multipliers of (s_i − x_iᵀu) F_f ≥ 0; c[0] is q of Theorem A. Zero where w must be.
        With slopes also c[0] ≥ |η|‖Wx‖.
    nu : (n,) multipliers of s_i² = s_i x_iᵀu: ≥ 0 for free samples (zero only where w is), 0 for decided ones.
    r : for each group of p samples a matrix (1 + k + 2p, 1 + k + 2p) ≥ 0, multipliers of the products of the forms
        (F, s_j, s_j − x_jᵀu).
    slopes : affine slopes of the free samples, with the tilt, None without any.
    ball : products of the forms of groups with the ball, None without any.
    """

    w: Float[np.ndarray, "f n"]
    c: Float[np.ndarray, "f n"]
    nu: Float[np.ndarray, " n"]
    r: tuple[Float[np.ndarray, "_ _"], ...]
    slopes: Slopes | None = None
    ball: Ball | None = None

    def with_tilt(self, tilt: float) -> Multipliers:
        """The same with another tilt."""
        assert self.slopes is not None
        return replace(self, slopes=replace(self.slopes, tilt=tilt))


@dataclass(frozen=True, eq=False)
class Region:
    """A leaf of the tree: its signed cuts (k, d) from the root down, its groups of paired samples.

    The groups are disjoint, each in rising order; an empty one has the products of 1 and the cuts. ``sign`` : 0, or 1
    or −1 where the leaf is one of a tree for z or −z alone, ``positive`` and ``negative`` being the same then.
    """

    cuts: Float[np.ndarray, "k d"]
    groups: tuple[Int[np.ndarray, " _"], ...]
    positive: Multipliers
    negative: Multipliers
    sign: int = 0

    @classmethod
    def of_sign(
        cls, cuts: Float[np.ndarray, "k d"], groups: tuple[Int[np.ndarray, " _"], ...], sign: int, own: Multipliers
    ) -> Region:
        """A leaf of a tree for one sign."""
        return cls(cuts, groups, own, own, sign)

    @property
    def sides(self) -> dict[int, Multipliers]:
        """The multipliers by the signs that the leaf is for."""
        return {sign: m for sign, m in ((1, self.positive), (-1, self.negative)) if self.sign in (0, sign)}


@dataclass(frozen=True, eq=False)
class Evidence:
    """z with everything that proves B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1.

    Attributes
    ----------
    z : (n,) the dual point before scaling.
    directions : (k, d) normals g of the cuts.
    tree : (nodes, 3) one row a node: direction, child where gᵀu ≥ 0, child where gᵀu ≤ 0; a leaf is (-1, leaf, -1).
        Children come after their parent; row 0 is the root. It may be (SIGNS, i, j): then what is below i is for z
        alone, what is below j for −z.
    regions : the leaves.
    """

    z: Float[np.ndarray, " n"]
    directions: Float[np.ndarray, "k d"]
    tree: Int[np.ndarray, "nodes 3"]
    regions: tuple[Region, ...]


def unsplit(z: Float[np.ndarray, " n"], d: int, positive: Multipliers, negative: Multipliers) -> Evidence:
    """Evidence with one region: all of u-space."""
    whole = Region(np.zeros((0, d)), (), positive, negative)
    return Evidence(z, np.zeros((0, d)), np.array([[-1, 0, -1]]), (whole,))


def theorem_a(z: Float[np.ndarray, " n"], q: Float[np.ndarray, " n"], nu: Float[np.ndarray, " n"]) -> Multipliers:
    """(q, w, ν) of Theorem A with the smallest allowed w = max(z + q, 0), rounded up."""
    total = z + q
    w = np.where(total > 0, np.nextafter(total, np.inf), 0.0)
    return Multipliers(w[None], q[None], np.where(w > 0, nu, 0.0), ())


def restored(m: Multipliers, z: Float[np.ndarray, " n"], units: Units) -> Multipliers:
    """Multipliers found in scaled units as those of z (n,) in the data's units.

    The forms linear in u are in units of X, so that w, c of s_i F_f, ν of s_i², r of F_a F_b follow; w[0] ≥ z + c[0] is
    made to hold exactly again. Slopes are those of a tilt alone.
    """
    forms = np.full(len(m.w), 1.0 / units.x)
    forms[0] = 1.0
    w, c = (units.z * forms[:, None] * part for part in (m.w, m.c))
    free = w[0] > 0
    w[0, free] = np.maximum(w[0, free], np.nextafter((z + c[0])[free], np.inf))
    r = []
    for part in m.r:
        scale = np.full(len(part), 1.0 / units.x)
        scale[0] = 1.0
        r.append(units.z * units.x * scale[:, None] * part * scale)
    slopes = None if m.slopes is None else replace(m.slopes, tilt=units.z * units.x * m.slopes.tilt)
    ball = None if m.ball is None else m.ball.scaled(units.z)
    return Multipliers(w, c, units.nu * m.nu, tuple(r), slopes, ball)
