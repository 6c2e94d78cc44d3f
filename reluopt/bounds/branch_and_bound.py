"""All pairs of samples, and regions cut by their hyperplanes where that pays: branch and bound over DNN relaxations."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from reluopt.bounds.dnn import DnnSearch
from reluopt.bounds.evidence import Evidence
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.second_moments import with_moments
from reluopt.clock import Clock
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem


def pairwise(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    device: str | torch.device = "cpu",
) -> LowerBound:
    """A proved lower bound of p* from all pairs of samples over one region (n up to several hundred).

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    time_limit : seconds; the best bound so far is returned then, never below the moment bound.
    stop_at : a value at which to stop earlier (the objective of a network, say).
    device : where the moment bound is computed, at which the search starts; the search itself runs on the CPU.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    return DoublyNonnegative().best(problem, clock=Clock(time_limit), stop_at=stop_at, device=device)


def splitting(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    most_regions: int = 64,
    device: str | torch.device = "cpu",
) -> LowerBound:
    """The best bound that all pairs of samples and regions of u-space give within the time.

    Regions are cut by the hyperplanes of undecided samples whenever progress is slow.

    Parameters
    ----------
    problem, time_limit, stop_at, device : as for ``pairwise``.
    most_regions : no more splits from there on (memory grows with their number).

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    bound = BranchAndBound(most_regions=most_regions)
    return bound.best(problem, clock=Clock(time_limit), stop_at=stop_at, device=device)


@dataclass(frozen=True)
class BranchAndBound(Bound):
    """All pairs of samples, started at the moment bound; regions are cut where progress is slow.

    Attributes
    ----------
    most_regions : no more splits from there on.
    most_samples : up to so many samples regions of all pairs beat groups of neighbours.
    memory : bytes that the products of all regions may take.
    first : share of the time for the moment bound, where the start has none.
    sweeps, rounds : of ADMM between two looks at the penalty; looks between two looks at the proof.
    slow : a round of proofs that gains less than this fraction makes room for a split.
    settle : no split and no change of the penalty after this fraction of the time: what there is wants to converge.
    """

    most_regions: int = 64
    most_samples: int = 150
    memory: int = 10**9
    first: float = 0.5
    sweeps: int = 40
    rounds: int = 5
    slow: float = 2e-3
    settle: float = 0.7
    name: ClassVar[str] = "branch and bound"
    intercepts: ClassVar[bool] = True

    def suits(self, problem: Problem) -> bool:
        """Few samples."""
        return problem.n <= self.most_samples

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """The moment bound, if the start has none, and whatever is better; between two of these the last one again."""
        started = time.perf_counter()
        if start.moments is None:
            start = with_moments(problem, start, clock.part(self.first), device)
            yield start.moments  # type: ignore[misc]
        moments = start.moments
        assert moments is not None and moments.factors is not None
        if not (problem.X.any() and moments.regions.z.any()):
            return
        search = DnnSearch(problem)
        search.start_from(moments.factors, moments.regions)
        best, last, begun = moments, 0.0, clock.spent
        # W and its dual for both signs, in float64
        most = min(self.most_regions, max(1, self.memory // (4 * 8 * (1 + 2 * problem.n) ** 2)))
        while not clock.over:
            spent = clock.spent - begun
            early = spent < self.settle * (spent + clock.left)
            value, evidence = self._advanced(search, clock, adapt=early)
            if value > best.value:
                bound = prove(problem, evidence, method=self.name, started=started)
                best = bound if bound.value > best.value else best
            yield best
            slow, last = value - last < self.slow * best.value, value
            if slow and early and len(search.cells) < most:
                for _ in range(min(1 + len(search.cells) // 4, most - len(search.cells))):
                    search.split()
                last = 0.0

    def _advanced(self, search: DnnSearch, clock: Clock, *, adapt: bool) -> tuple[float, Evidence]:
        """Sweeps worth several times what a look at the proof costs; the penalty is balanced on the way."""
        for _ in range(self.rounds):
            for _ in range(self.sweeps):
                factor = search.sweep()
                if clock.over:
                    return search.evidence()
            if adapt and not 1 / 1.3 < factor < 1.3:
                search.rebalance(factor)
        return search.evidence()


@dataclass(frozen=True)
class DoublyNonnegative(BranchAndBound):
    """All pairs of samples over all of u-space: the doubly nonnegative relaxation."""

    most_regions: int = 1
    name: ClassVar[str] = "doubly nonnegative"

    def suits(self, problem: Problem) -> bool:
        """Never: branch and bound begins with it."""
        return False
