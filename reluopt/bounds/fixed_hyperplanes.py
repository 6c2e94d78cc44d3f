"""Branch and bound over the hyperplanes of samples, at a fixed dual point, with ball products in every leaf.

Where the tree can close this ends sooner than ``hyperplanes.py``, which optimises the dual point over all leaves: what
is proved of a leaf stays proved.
The dual point comes from cutting planes. The leaf and sign whose bound is worst is solved (``leaf_program.py``) where
it has only inherited its parent's multipliers, else cut by the sample that matters and is decided least; a cut sample
is linear on both sides. Multipliers of a parent are multipliers of its children: products of s_i or p_i become those of
the cut.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int

from reluopt.bounds.ball import Ball
from reluopt.bounds.cutting_planes import CuttingPlanes
from reluopt.bounds.evidence import Evidence, Multipliers, Region, restored
from reluopt.bounds.leaf_program import LeafProgram
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.region_forms import Geometry
from reluopt.clock import Clock
from reluopt.problem import Problem


@dataclass(eq=False)
class Leaf:
    """A region: the samples it is cut by with their signs, and of z and −z multipliers, bound, doubt, if solved."""

    node: int
    path: tuple[tuple[int, int], ...]
    multipliers: list[Multipliers | None] = field(default_factory=lambda: [None, None])
    bounds: list[float] = field(default_factory=lambda: [math.inf, math.inf])
    doubt: list[np.ndarray | None] = field(default_factory=lambda: [None, None])


@dataclass(frozen=True)
class FixedHyperplanes(Bound):
    """Branch and bound over sample hyperplanes at a fixed dual point.

    Attributes
    ----------
    most : it suits up to this n(1 + d)², which the time of one leaf goes with.
    tolerance : of the prices at the dual point. ``share`` : of the time for it.
    nearer : the part of B/β − 1 by which the bound has to fall before it is told again.
    """

    most: float = 2e4
    tolerance: float = 1e-4
    share: float = 0.2
    nearer: float = 0.05
    name: ClassVar[str] = "hyperplanes at a fixed point"
    intercepts: ClassVar[bool] = True

    def suits(self, problem: Problem) -> bool:
        """Few samples and columns."""
        return problem.n * (1 + problem.d) ** 2 <= self.most

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """A bound whenever B is nearer to β by ``nearer`` of its distance, and at the end; else the last one again."""
        started, planes = time.perf_counter(), CuttingPlanes(problem, start.network)
        planes.improve(self.tolerance, clock.part(self.share))
        tree, told = FixedTree(problem, planes), math.inf
        found: LowerBound | None = None
        while True:
            level = tree.level / problem.beta
            ended = clock.over or level <= 1.0 + self.tolerance or not tree.improve(clock)
            if found is None or ended or level - 1.0 < (1.0 - self.nearer) * (told - 1.0):
                told, found = min(told, level), tree.proved(self.name, started)
            yield found
            if ended:
                return


class FixedTree:
    """The tree at one z: its leaves, best first."""

    def __init__(self, problem: Problem, planes: CuttingPlanes) -> None:
        self.problem, self.scaled, self.units = problem, planes.problem, planes.units
        self.small, self.z = planes.z, planes.dual_point
        self.tree, self.leaves = [[-1, 0, -1]], [Leaf(0, ())]
        for side in (0, 1):
            self._adopt(self.leaves[0], side, _without(problem.X, (1.0 - 2.0 * side) * self.z))

    @property
    def level(self) -> float:
        """B: the worst bound of a leaf, proved in the data's units."""
        return max(max(leaf.bounds) for leaf in self.leaves)

    def improve(self, clock: Clock) -> bool:
        """Solve the worst leaf, or cut it; False where neither is possible."""
        leaf = max(self.leaves, key=lambda leaf: max(leaf.bounds))
        side = int(leaf.bounds[1] > leaf.bounds[0])
        doubt = leaf.doubt[side]
        if doubt is None:
            return self._solve(leaf, side, clock)
        if not doubt.any():
            return False
        self._cut(leaf, int(doubt.argmax()))
        return True

    def proved(self, name: str, started: float) -> LowerBound:
        """What the leaves prove."""
        regions, tree = [], [row.copy() for row in self.tree]
        for number, leaf in enumerate(self.leaves):
            cuts, free, _ = self._parts(leaf)
            tree[leaf.node] = [-1, number, -1]
            positive, negative = leaf.multipliers
            assert positive is not None and negative is not None
            regions.append(Region(cuts, _groups(free), positive, negative))
        value, scale = self.problem.proved_value(self.z, self.level)
        evidence = Evidence(self.z, self.problem.X, np.array(tree), tuple(regions))
        return LowerBound(value, name, evidence, self.level, scale, self.z, time.perf_counter() - started)

    def _parts(self, leaf: Leaf) -> tuple[Float[np.ndarray, "k d"], Int[np.ndarray, " m"], Int[np.ndarray, " a"]]:
        """(cuts, free samples, samples that are active by a cut) of a leaf, in the data's units."""
        X = self.problem.X
        cuts = np.array([sign * X[i] for i, sign in leaf.path]).reshape(-1, X.shape[1])
        geometry = Geometry.of(X, cuts, ())
        return cuts, np.flatnonzero(geometry.free), np.flatnonzero(geometry.linear)

    def _adopt(self, leaf: Leaf, side: int, multipliers: Multipliers) -> None:
        """Take multipliers if they prove more than what is there."""
        cuts, free, _ = self._parts(leaf)
        geometry = Geometry.of(self.problem.X, cuts, _groups(free))
        bound = geometry.support_upper((1.0 - 2.0 * side) * self.z, multipliers)
        if leaf.multipliers[side] is None or bound < leaf.bounds[side]:
            leaf.multipliers[side], leaf.bounds[side] = multipliers, bound

    def _solve(self, leaf: Leaf, side: int, clock: Clock) -> bool:
        cuts, free, active = self._parts(leaf)
        sign = 1.0 - 2.0 * side
        found = LeafProgram(self.scaled.X, cuts / self.units.x, free, active).solve(sign * self.small, clock.left)
        if found is None:
            return False
        self._adopt(leaf, side, restored(found.multipliers, sign * self.z, self.units))
        leaf.doubt[side] = found.doubt
        return True

    def _cut(self, leaf: Leaf, sample: int) -> None:
        """Two leaves in the place of one; both inherit."""
        _, free, _ = self._parts(leaf)
        self.leaves.remove(leaf)
        start = len(self.tree)
        self.tree[leaf.node] = [sample, start, start + 1]
        for offset, sign in enumerate((1, -1)):
            self.tree.append([-1, -1, -1])
            child = Leaf(start + offset, (*leaf.path, (sample, sign)))
            for side, parent in enumerate(leaf.multipliers):
                assert parent is not None
                _, left, _ = self._parts(child)
                self._adopt(child, side, inherited(parent, free, left, sample, sign))
            self.leaves.append(child)


def _groups(free: Int[np.ndarray, " m"]) -> tuple[Int[np.ndarray, " _"], ...]:
    """Every free sample alone, and an empty group for the products of the cuts."""
    return (*(np.array([i]) for i in free), np.zeros(0, dtype=np.int64))


def _without(X: Float[np.ndarray, "n d"], z: Float[np.ndarray, " n"]) -> Multipliers:
    """Multipliers of the whole space: ν with κ' = |z| where z < 0. They prove little."""
    n, d = X.shape
    nu = np.maximum(np.abs(z), 1e-3 * (np.abs(z).max() or 1.0))
    r = []
    for value in z:
        square = np.zeros((3, 3))
        square[0, 2] = max(-value, 0.0)
        r.append(square)
    ball = Ball(np.eye(d), (*(np.zeros((3, d)) for _ in range(n)), np.zeros((1, d))))
    zeros = np.zeros((1, n))
    return Multipliers(zeros, zeros.copy(), nu, (*r, np.zeros((1, 1))), None, ball)


def inherited(
    parent: Multipliers, free: Int[np.ndarray, " m"], left: Int[np.ndarray, " l"], sample: int, sign: int
) -> Multipliers:
    """The multipliers of a leaf with ``free`` samples for its child that is cut by one of them.

    There s_i is the new cut and p_i = 0, or p_i is the new cut and s_i = 0. Samples with the same row, up to its sign,
    are decided with it; their products are left out.
    """
    assert parent.ball is not None
    k = len(parent.w) - 1
    r, omega, kept = [], [], set(left.tolist())
    at = dict(zip(free.tolist(), range(len(free)), strict=True))
    for i in [*left.tolist(), None]:
        old = len(free) if i is None else at[i]
        r.append(np.insert(np.insert(parent.r[old], 1 + k, 0.0, axis=0), 1 + k, 0.0, axis=1))
        omega.append(np.insert(parent.ball.omega[old], 1 + k, 0.0, axis=0))
    form = 1 + k if sign > 0 else 2 + k
    group, rows = parent.r[at[sample]], parent.ball.omega[at[sample]]
    r[-1][: 1 + k, 1 + k] = group[: 1 + k, form] + group[form, : 1 + k]
    omega[-1][1 + k] = rows[form]
    nu = np.where(np.isin(np.arange(len(parent.nu)), list(kept)), parent.nu, 0.0)
    zeros = np.zeros((2 + k, len(parent.nu)))
    return replace(parent, w=zeros, c=zeros.copy(), nu=nu, r=tuple(r), ball=replace(parent.ball, omega=tuple(omega)))
