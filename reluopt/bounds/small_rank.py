r"""Simplicial branch and bound at a fixed dual point: p* for data of small rank, as nearly as the time allows.

The dual point z comes from cutting planes (the best network of the neurons that pricing finds), so that |zᵀ(Xu)_+| is
hardly above β anywhere. That it is at most B everywhere is proved by a cover of the row space with simplicial cones
(``simplices.py``): those with a bound above a level are cut at an edge, the level falls step by step towards β, and
every step proves something. A cone that cannot close holds a neuron dearer than pricing had found: it becomes a cut,
and z moves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from reluopt.bounds.cutting_planes import CuttingPlanes
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.preorder import MOST_RANK
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.simplices import Cones, Coordinates, Simplices, basis_of
from reluopt.bounds.simplicial_search import SimplicialTree
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem


def simplicial(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
) -> LowerBound:
    """A proved lower bound of p* for data of small rank, at any number of samples.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    time_limit : seconds. ``stop_at`` : a value at which to stop earlier.

    Raises
    ------
    DataError, ConfigError : see ``Problem``; also ConfigError for data of a rank above 12.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    return SmallRank().best(problem, clock=Clock(time_limit), stop_at=stop_at)


@dataclass(frozen=True)
class SmallRank(Bound):
    """Simplicial branch and bound.

    Attributes
    ----------
    few : it suits data up to this rank.
    tolerances : of the prices at one z after another; at each the level falls to 1 + ``nearer``·tolerance.
    first : the level in units of β to begin with. ``step`` : the part of level/β − 1 that is left at each step.
    share : of the time for a dual point.
    memory : bytes that the cones of one sign may take.
    """

    few: int = 6
    tolerances: tuple[float, ...] = (3e-2, 1e-3, 1e-5)
    nearer: float = 6.0
    first: float = 4.0
    step: float = 0.8
    share: float = 0.4
    memory: int = 2**30
    name: ClassVar[str] = "simplicial"
    intercepts: ClassVar[bool] = True
    brisk: ClassVar[float] = 3.0

    def suits(self, problem: Problem) -> bool:
        """Small rank."""
        return problem.d <= 20 * self.few and len(basis_of(problem.X)) <= self.few

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """A bound after every step that is better, or has found neurons dearer than β.

        Raises
        ------
        ConfigError : data of a rank for which edges have no byte left.
        """
        started, basis = time.perf_counter(), basis_of(problem.X)
        if len(basis) > MOST_RANK:
            raise ConfigError(
                f"The data have rank {len(basis)}, and the simplicial bound takes {MOST_RANK} at most.",
                "Take 'tightened', which chooses among the others.",
            )
        space, planes, best = Coordinates.of(problem.X, basis), CuttingPlanes(problem, start.network), -math.inf
        trees: list[SimplicialTree] = []
        for tolerance in self.tolerances:
            planes.improve(tolerance, clock.part(self.share))
            goal = 1.0 + self.nearer * max(tolerance, planes.price - 1.0)
            for found in self._at(problem, planes, space, trees, goal, clock, started):
                if found.value > best or found.dearer is not None:
                    best = max(best, found.value)
                    yield found
            if clock.over:
                return

    def _at(
        self,
        problem: Problem,
        planes: CuttingPlanes,
        space: Coordinates,
        trees: list[SimplicialTree],
        goal: float,
        clock: Clock,
        started: float,
    ) -> Iterator[LowerBound]:
        """Bounds at the dual point of ``planes`` until the level is ``goal``·β; it moves where a cone cannot close.

        ``trees`` : one a sign, none at first; they stay for the next dual point.
        """
        most = self.memory // (16 * space.A.shape[1] + 24)
        while True:
            z = planes.dual_point
            both = [Cones(space.A, sign * z) for sign in (1.0, -1.0)]
            trees[:] = [tree.moved(cones) for tree, cones in zip(trees, both, strict=False)] or map(
                SimplicialTree, both
            )
            level, done = max(tree.level for tree in trees) / problem.beta, True
            while done:
                yield _proved(problem, z, space, trees, started)
                if level <= goal:
                    return
                now = min(level, self.first, max(tree.level for tree in trees) / problem.beta)
                level = max(goal, 1.0 + self.step * (now - 1.0))
                reached = [tree.refine(level * problem.beta, clock, most) for tree in trees]
                done = all(reached)
            dearer = np.vstack([tree.dearer for tree in trees]) @ space.B
            yield replace(_proved(problem, z, space, trees, started), dearer=dearer if len(dearer) else None)
            if clock.over or not len(dearer):
                return
            planes.improve((goal - 1.0) / self.nearer, clock.part(self.share), near=dearer)


def _proved(
    problem: Problem,
    z: np.ndarray,
    space: Coordinates,
    trees: list[SimplicialTree],
    started: float,
) -> LowerBound:
    """What the leaves prove now: their bounds have the rounding counted already."""
    level = np.array([tree.level for tree in trees])
    support = space.support_upper(z, float(level.max()))
    value, scale = problem.proved_value(z, support)
    evidence = Simplices(z, space.B, (trees[0].preorder(), trees[1].preorder()), level)
    method = f"{sum(tree.leaves for tree in trees)} simplicial cones"
    return LowerBound(value, method, evidence, support, scale, evidence.z, time.perf_counter() - started)
