"""Branch and bound over the hyperplanes of samples, the dual point and all leaves optimised together.

An interior point method (``leaf_interior.py``) solves the relaxations of all leaves, which share z. A rough solution
tells where neurons would be, and which samples are decided least there: by these the leaves are cut, a cut sample is
linear on both sides. An accurate one has multipliers that prove a bound at every leaf.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float

from reluopt.bounds.cutting_planes import CuttingPlanes
from reluopt.bounds.evidence import Evidence, Region, restored
from reluopt.bounds.leaf_interior import InteriorPoint
from reluopt.bounds.leaf_proofs import read_off
from reluopt.bounds.leaf_states import LeafData, LeafStates, Path
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.region_forms import Geometry
from reluopt.clock import Clock
from reluopt.problem import Problem

#: The part of the strength of neurons that they would have with f = 0 at which the first program starts, the least of
#: it, and how many times that of the last solution the next one starts at: from above there are fewer steps.
STRENGTH, TINY, FULLER = 0.15, 1e-6, 4.0
#: A leaf of a tree of t times more leaves takes t^SLOWER times more seconds, as there are more steps; SAFELY is for
#: what differs from that.
SLOWER, SAFELY = 0.3, 1.2


@dataclass(frozen=True)
class Hyperplanes(Bound):
    """Branch and bound over sample hyperplanes.

    Attributes
    ----------
    most : it suits up to this n(1 + d)², which the time of one leaf goes with.
    rough : gap and residual, relative to value and β, where leaves are cut.
    accurate : the gap for a proof is this part of what is undecided, between ``finest`` and ``rough`` of the value; the
        residual is a √n-th of it, as what samples violate adds up.
    steps : of the interior point method at most.
    margin : samples with z_i below −margin·max|z| are not rising.
    tolerance : of the prices at the dual point that z is to be near to, if the loss has kinks or there is an intercept.
        ``share`` : of the time for it.
    closed : what is undecided of all leaves, relative to the value, when the tree is done.
    """

    most: float = 2e4
    rough: float = 0.1
    accurate: float = 0.02
    finest: float = 1e-5
    steps: int = 60
    margin: float = 0.02
    tolerance: float = 1e-4
    share: float = 0.2
    closed: float = 1e-6
    name: ClassVar[str] = "hyperplanes"
    intercepts: ClassVar[bool] = True

    def suits(self, problem: Problem) -> bool:
        """Few samples and columns."""
        return problem.n * (1 + problem.d) ** 2 <= self.most

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """A bound of every tree; the last one again where a larger one proves less."""
        started, tree = time.perf_counter(), HyperplaneTree(problem, self, start, clock)
        best: LowerBound | None = None
        while True:
            tree.solve(clock)
            found = tree.proved(clock, self.name, started)
            best = found if best is None or found.value > best.value else best
            yield best
            if not (tree.open and tree.grow(tree.planned(clock))):
                return


class HyperplaneTree:
    """The tree, and a rough solution of the programs of its leaves: nodes 2l and 2l + 1 are z and −z on leaf l.

    ``leaves`` : the row of each in the tree, and the samples it is cut by with their signs.
    """

    def __init__(self, problem: Problem, settings: Hyperplanes, start: Start, clock: Clock) -> None:
        self.problem, self.settings = problem, settings
        scaled, self.units = problem.scaled()
        self.data, self.domain = LeafData(scaled, problem.X), scaled.dual_domain()
        if problem.biases or not scaled.loss.smooth:
            planes = CuttingPlanes(problem, start.network)
            planes.improve(settings.tolerance, clock.part(settings.share))
            self.data = self.data.nearest_to(planes.z, zero_sum=problem.biases.zero_sum)
        self.tree: list[list[int]] = [[-1, 0, -1]]
        self.leaves: list[tuple[int, Path]] = [(0, ())]
        self.strength = max(STRENGTH * 0.5 * float(self.data.y @ self.data.y) / scaled.beta, TINY)
        self.point: InteriorPoint | None = None
        #: Seconds a leaf of a rough solution, and of what makes it accurate and proves it.
        self.rough, self.sharp = 0.0, 0.0
        #: whether an accurate solution leaves anything undecided
        self.open = True

    def solve(self, clock: Clock) -> None:
        """The rough solution."""
        begun = clock.spent
        state = LeafStates.start(
            self.data, [(sign, path) for _, path in self.leaves for sign in (1.0, -1.0)], self._rising(), self.strength
        )
        self.point = InteriorPoint(state)
        self.point.solve(self.settings.rough, self.settings.rough, self.settings.steps, lambda: clock.over)
        self.rough = (clock.spent - begun) / len(self.leaves)

    def _rising(self) -> Bool[np.ndarray, "J n"]:
        rising = np.ones((2, self.data.n), dtype=bool)
        if self.point is not None:
            z = self.point.z.numpy()
            rising = np.array([1.0, -1.0])[:, None] * z > -self.settings.margin * np.abs(z).max()
        return np.tile(rising, (len(self.leaves), 1))

    def affordable(self, clock: Clock) -> int:
        """How many leaves there is time to solve and to prove: c·L seconds for L leaves now, c·N(N/L)^SLOWER for N."""
        number = len(self.leaves)
        cost = SAFELY * number * (self.rough + self.sharp)
        return int(number * (clock.left / max(cost, 1e-9)) ** (1 / (1 + SLOWER)))

    def planned(self, clock: Clock) -> int:
        """How many leaves to cut: all, or at last so many that what there is time for is not left."""
        number, most = len(self.leaves), self.affordable(clock)
        last = most if most <= 2 * number else math.isqrt(most * number)
        return min(last, 2 * number) - number

    def doubt(self) -> Float[np.ndarray, "L n"]:
        """What is undecided of every sample on every leaf, of the sign where it is more."""
        point = self._solved()
        return point.state.doubt(point.z).view(-1, 2, self.data.n).amax(1).numpy()

    def _solved(self) -> InteriorPoint:
        assert self.point is not None
        return self.point

    def grow(self, more: int) -> bool:
        """Cut so many leaves by the samples that are decided least; False where none is cut."""
        doubt = self.doubt()
        score = doubt.max(1)
        chosen = [leaf for leaf in np.argsort(-score, kind="stable")[: max(0, more)].tolist() if score[leaf] > 0]
        for leaf in chosen:
            self._cut(leaf, int(doubt[leaf].argmax()))
        return bool(chosen)

    def _cut(self, leaf: int, sample: int) -> None:
        """Two leaves in the place of one: the second is the last of all."""
        (row, path), start = self.leaves[leaf], len(self.tree)
        self.tree[row] = [sample, start, start + 1]
        self.tree += [[-1, -1, -1], [-1, -1, -1]]
        self.leaves[leaf] = start, (*path, (sample, 1))
        self.leaves.append((start + 1, (*path, (sample, -1))))

    def _refined(self, clock: Clock) -> InteriorPoint:
        """On from the rough solution, until it is accurate for what is undecided there."""
        settings, point, reached = self.settings, InteriorPoint(self._solved().state), math.inf
        while reached > settings.finest:
            aim = max(settings.finest, min(settings.rough, settings.accurate * _undecided(point)))
            if aim > 0.5 * reached:
                break
            reached = aim
            if not point.solve(aim, aim / math.sqrt(self.data.n), settings.steps, lambda: clock.over):
                break
        return point

    def proved(self, clock: Clock, name: str, started: float) -> LowerBound:
        """What an accurate solution proves, on from the rough one."""
        begun, X, point = clock.spent, self.problem.X, self._refined(clock)
        self.strength = max(FULLER * float(point.state.Y[:, 0, 0].sum()), TINY)
        self.open = _undecided(point) > self.settings.closed
        small = np.clip(point.z.numpy(), *self.domain)
        z, found = self.problem.settled(self.units.z * small), read_off(point.state, torch.as_tensor(small))
        regions, level, tree = [], 0.0, [row.copy() for row in self.tree]
        for number, (row, path) in enumerate(self.leaves):
            geometry = geometry_of(X, path)
            tree[row] = [-1, number, -1]
            sides = [restored(found[2 * number + side], sign * z, self.units) for side, sign in enumerate((1, -1))]
            level = max(level, *(geometry.support_upper(sign * z, m) for sign, m in zip((1, -1), sides, strict=True)))
            regions.append(Region(geometry.F[1:, 1:], geometry.groups, *sides))
        value, scale = self.problem.proved_value(z, level)
        self.sharp = (clock.spent - begun) / len(self.leaves)
        evidence = Evidence(z, X, np.array(tree), tuple(regions))
        return LowerBound(value, name, evidence, level, scale, z, time.perf_counter() - started)


def _undecided(point: InteriorPoint) -> float:
    """Of all samples on all leaves, relative to the value."""
    return float(point.state.doubt(point.z).sum()) / max(abs(point.value), 1e-300)


def geometry_of(X: Float[np.ndarray, "n d"], path: Path) -> Geometry:
    """Of a leaf: every free sample alone, and an empty group for the products of the cuts."""
    cuts = np.array([sign * X[i] for i, sign in path]).reshape(-1, X.shape[1])
    free = np.flatnonzero(Geometry.of(X, cuts, ()).free)
    return Geometry.of(X, cuts, (*(np.array([i]) for i in free), np.zeros(0, dtype=np.int64)))
