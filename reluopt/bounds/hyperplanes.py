"""Branch and bound over the hyperplanes of samples, the dual point and all leaves optimised together.

An interior point method (``leaf_interior.py``) solves the relaxations of all leaves, which share z. A rough solution
tells where neurons would be, and which samples are decided least there: by these the leaves are cut where something is
undecided, a cut sample is linear on both sides. An accurate one has multipliers that prove a bound at every leaf. Each
sign of z has a tree of its own, as the neurons of the two signs are in different places.
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
from reluopt.bounds.sign_trees import SignTrees
from reluopt.clock import Clock
from reluopt.problem import Problem

#: The part of the strength of neurons that they would have with f = 0 at which the first program starts, the least of
#: it, and how many times that of the last solution the next one starts at: from above there are fewer steps.
STRENGTH, TINY, FULLER = 0.15, 1e-6, 4.0
#: A leaf of a tree of t times more leaves takes t^SLOWER times more seconds, as there are more steps; SAFELY is for
#: what differs from that.
SLOWER, SAFELY = 0.3, 1.2
#: The least strength of a neuron that is told, in units of the largest.
WEAK = 1e-3
#: How many copies of the matrices of all leaves there are at a time.
COPIES = 8


@dataclass(frozen=True)
class Hyperplanes(Bound):
    """Branch and bound over sample hyperplanes.

    Attributes
    ----------
    most : it suits up to this n(1 + d)², which the time of one leaf goes with. ``few`` : the same where d is at most
        ``low``, as simplices do more there.
    memory : bytes that the matrices of all leaves may take.
    rough : gap and residual, relative to value and β, where leaves are cut.
    accurate : the gap for a proof is this part of what is undecided, between ``finest`` and ``rough`` of the value; the
        residual is a √n-th of it, as what samples violate adds up.
    steps : of the interior point method at most.
    margin : samples with z_i below −margin·max|z| are not rising.
    tolerance : of the prices at the dual point that z is to be near to, if the loss has kinks or there is an intercept.
        ``share`` : of the time for it.
    closed : what is undecided of all leaves, relative to the value, when the trees are done.
    matter : leaves are cut that have this part of all that is undecided.
    pace : how many times the seconds of the last proof there are to be before the next one.
    """

    most: float = 6e4
    few: float = 2e4
    low: int = 6
    memory: int = 10**9
    rough: float = 0.1
    accurate: float = 0.02
    finest: float = 1e-5
    steps: int = 60
    margin: float = 0.02
    tolerance: float = 1e-4
    share: float = 0.2
    closed: float = 1e-6
    matter: float = 0.7
    pace: float = 1.6
    name: ClassVar[str] = "hyperplanes"
    intercepts: ClassVar[bool] = True

    def suits(self, problem: Problem) -> bool:
        """Few samples and columns."""
        return problem.n * (1 + problem.d) ** 2 <= (self.most if problem.d > self.low else self.few)

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """A bound whenever ``pace`` times the seconds of the last one are over; that one again where it is larger."""
        started, search = time.perf_counter(), HyperplaneSearch(problem, self, start, clock)
        best: LowerBound | None = None
        due = 0.0
        while True:
            search.solve(clock)
            more = search.planned(clock)
            if more and clock.spent < due:
                search.grow(more)
                continue
            found = search.proved(clock, self.name, started)
            best = found if best is None or found.value > best.value else best
            due = self.pace * clock.spent
            yield best
            if not (search.open and search.grow(search.planned(clock))):
                return


class HyperplaneSearch:
    """The trees of both signs, and a rough solution of the programs of their leaves."""

    def __init__(self, problem: Problem, settings: Hyperplanes, start: Start, clock: Clock) -> None:
        self.problem, self.settings = problem, settings
        scaled, self.units = problem.scaled()
        self.data, self.domain = LeafData(scaled, problem.X), scaled.dual_domain()
        if problem.biases or not scaled.loss.smooth:
            planes = CuttingPlanes(problem, start.network)
            planes.improve(settings.tolerance, clock.part(settings.share))
            self.data = self.data.nearest_to(planes.z, zero_sum=problem.biases.zero_sum)
        self.trees, self.known = SignTrees(), start.z
        self.strength = max(STRENGTH * 0.5 * float(self.data.y @ self.data.y) / scaled.beta, TINY)
        self.point: InteriorPoint | None = None
        #: Seconds a leaf of a rough solution, and of what makes it accurate and proves it.
        self.rough, self.sharp = 0.0, 0.0
        #: of the latter what is left when the solution is there, which has to be kept
        self.kept = 0.0
        #: whether an accurate solution leaves anything undecided
        self.open = True

    def solve(self, clock: Clock) -> None:
        """The rough solution."""
        begun = clock.spent
        state = LeafStates.start(self.data, self.trees.leaves, self._rising(), self.strength)
        self.point = InteriorPoint(state)
        self.point.solve(self.settings.rough, self.settings.rough, self.settings.steps, lambda: self._over(clock))
        self.rough = (clock.spent - begun) / len(self.trees)

    def _over(self, clock: Clock) -> bool:
        """Whether there is only the time left to prove what there is."""
        return clock.left <= self.kept * len(self.trees)

    def _rising(self) -> Bool[np.ndarray, "J n"]:
        if self.point is None:
            return np.ones((len(self.trees), self.data.n), dtype=bool)
        z = self.point.z.numpy()
        sign = np.array([sign for sign, _ in self.trees.leaves])
        return sign[:, None] * z > -self.settings.margin * np.abs(z).max()

    def planned(self, clock: Clock) -> int:
        """How many leaves to cut: those that matter, as far as there is time to solve and to prove what comes of them.

        c·L seconds for L leaves now, c·N(N/L)^SLOWER for N.
        """
        number, matter = len(self.trees), len(self._chosen())
        cost = SAFELY * number * (self.rough + self.sharp)
        most = int(number * (clock.left / max(cost, 1e-9)) ** (1 / (1 + SLOWER))) - number
        # an iterate, a step, their inverses and what moves them: about COPIES times the matrices of samples that rise
        room = int(self.settings.memory / (8 * COPIES * self.data.n * (1 + self.data.size) ** 2)) - number
        return max(0, min(matter, most, room))

    def doubt(self) -> Float[np.ndarray, "L n"]:
        """What is undecided of every sample on every leaf."""
        point = self._solved()
        return point.state.doubt(point.z).numpy()

    def _chosen(self) -> list[int]:
        """The leaves that have ``matter`` of all that is undecided, those with the most of it first."""
        score = self.doubt().sum(1)
        score = np.minimum(score, np.finfo(np.float64).max / len(score))  # finite sums, however small β is
        order = np.argsort(-score, kind="stable")
        before = np.cumsum(score[order]) - score[order]
        return order[(score[order] > 0) & (before < self.settings.matter * score.sum())].tolist()

    def _solved(self) -> InteriorPoint:
        assert self.point is not None
        return self.point

    def grow(self, more: int) -> bool:
        """Cut so many leaves by the samples that are decided least; False where none is cut."""
        doubt, chosen = self.doubt(), self._chosen()[:more]
        for leaf in chosen:
            self.trees.cut(leaf, int(doubt[leaf].argmax()))
        return bool(chosen)

    def _refined(self, clock: Clock) -> InteriorPoint:
        """On from the rough solution, until it is accurate for what is undecided there."""
        settings, point, reached = self.settings, InteriorPoint(self._solved().state), math.inf
        while reached > settings.finest:
            aim = max(settings.finest, min(settings.rough, settings.accurate * _undecided(point)))
            if aim > 0.5 * reached:
                break
            reached = aim
            if not point.solve(aim, aim / math.sqrt(self.data.n), settings.steps, lambda: self._over(clock)):
                break
        return point

    def proved(self, clock: Clock, name: str, started: float) -> LowerBound:
        """What an accurate solution proves, on from the rough one."""
        begun, X, point = clock.spent, self.problem.X, self._refined(clock)
        solved = clock.spent
        self.strength = max(FULLER * float(point.state.Y[:, 0, 0].sum()), TINY)
        self.open = _undecided(point) > self.settings.closed
        small = np.clip(point.z.numpy(), *self.domain)
        z, found = self.problem.settled(self.units.z * small), read_off(point.state, torch.as_tensor(small))
        regions, level = [], 0.0
        for (sign, path), m in zip(self.trees.leaves, found, strict=True):
            geometry, own = geometry_of(X, path), restored(m, sign * z, self.units)
            level = max(level, geometry.support_upper(sign * z, own))
            regions.append(Region.of_sign(geometry.F[1:, 1:], geometry.groups, int(sign), own))
        value, scale = self.problem.proved_value(z, level)
        self.kept, self.sharp = ((clock.spent - since) / len(self.trees) for since in (solved, begun))
        evidence = Evidence(z, X, self.trees.table(), tuple(regions))
        seconds = time.perf_counter() - started
        return LowerBound(value, name, evidence, level, scale, z, seconds, dearer=self._dearer(point))

    def _dearer(self, point: InteriorPoint) -> Float[np.ndarray, "k d"] | None:
        """Of the leaves' neurons, in the mean of each, those that are dearer than β at the dual point of the start."""
        means = point.state.Y[:, 0, 1:].numpy()
        sizes = np.linalg.norm(means, axis=1)
        if self.known is None or not sizes.any():
            return None
        neurons = means[sizes > WEAK * sizes.max()]
        neurons /= np.linalg.norm(neurons, axis=1, keepdims=True)
        dear = np.abs(self.known @ np.maximum(self.problem.X @ neurons.T, 0.0)) > self.problem.beta
        return neurons[dear] if dear.any() else None


def _undecided(point: InteriorPoint) -> float:
    """Of all samples on all leaves, relative to the value."""
    return float(point.state.doubt(point.z).sum()) / max(abs(point.value), 1e-300)


def geometry_of(X: Float[np.ndarray, "n d"], path: Path) -> Geometry:
    """Of a leaf: every free sample alone, and an empty group for the products of the cuts."""
    cuts = np.array([sign * X[i] for i, sign in path]).reshape(-1, X.shape[1])
    free = np.flatnonzero(Geometry.of(X, cuts, ()).free)
    return Geometry.of(X, cuts, (*(np.array([i]) for i in free), np.zeros(0, dtype=np.int64)))
