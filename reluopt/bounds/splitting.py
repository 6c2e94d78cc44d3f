"""All pairs of samples, and regions cut by their hyperplanes where that pays, within a time budget."""

from __future__ import annotations

import math
import time

import numpy as np
from jaxtyping import Float

from reluopt.bounds.evidence import Evidence
from reluopt.bounds.lower_bound import LowerBound, check_inputs, prove
from reluopt.bounds.moment import moment_with_factors
from reluopt.bounds.pairwise import PairwiseSearch

#: Sweeps between two looks at the clock for penalties and proofs.
ROUND = 40
#: Bytes that the products of all regions may take.
MEMORY = 10**9
#: A round of proofs that gains less than this fraction makes room for a split.
SLOW = 2e-3
#: No split and no change of the penalty after this fraction of the time: what there is wants to converge.
SETTLE = 0.7


def pairwise(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
) -> LowerBound:
    """A proved lower bound of p* from all pairs of samples over one region (n up to several hundred).

    Parameters
    ----------
    time_limit : seconds; the best bound so far is returned then, never below the moment bound.
    stop_at : a value at which to stop earlier (the objective of a network, say).

    Raises
    ------
    DataError, ConfigError : see ``check_inputs``.
    """
    started = time.perf_counter()
    check_inputs(X, y, beta)
    pairs = _Pairs(X, y, beta, 0.5 * time_limit, most_regions=1)
    pairs.advance(started + time_limit, stop_at)
    return pairs.proved("pairwise", started)


def splitting(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    most_regions: int = 64,
) -> LowerBound:
    """The best bound that all pairs of samples and regions of u-space give within the time.

    Regions are cut by the hyperplanes of undecided samples whenever progress is slow.

    Parameters
    ----------
    time_limit, stop_at : as for ``pairwise``.
    most_regions : no more splits from there on (memory grows with their number).

    Raises
    ------
    DataError, ConfigError : see ``check_inputs``.
    """
    started = time.perf_counter()
    check_inputs(X, y, beta)
    pairs = _Pairs(X, y, beta, 0.5 * time_limit, most_regions)
    pairs.advance(started + time_limit, stop_at)
    return pairs.proved("splitting", started)


class _Pairs:
    """All pairs of samples, started at the moment bound; regions are cut where progress is slow."""

    def __init__(
        self,
        X: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, " n"],
        beta: float,
        time_limit: float,
        most_regions: int,
    ) -> None:
        self.problem = X, y, beta
        self.first, factors = moment_with_factors(X, y, beta, time_limit=time_limit)
        self.value, self.evidence = self.first.value, self.first.evidence
        self.search: PairwiseSearch | None = None
        if X.any() and y.any():
            self.search = PairwiseSearch(X, y, beta)
            self.search.start_from(factors, self.evidence)
        # W and its dual for both signs, in float64
        self.most_regions = min(most_regions, max(1, MEMORY // (4 * 8 * (1 + 2 * len(X)) ** 2)))
        self.last = 0.0

    def advance(self, end: float, stop_at: float) -> None:
        """Sweep, prove and split until the clock passes ``end`` or the bound ``stop_at``."""
        started, search = time.perf_counter(), self.search
        while search is not None and (now := time.perf_counter()) < end and self.value < stop_at:
            early = now < started + SETTLE * (end - started)
            value, evidence = _round(search, end, adapt=early)
            if value > self.value:
                self.value, self.evidence = value, evidence
            slow, self.last = value - self.last < SLOW * self.value, value
            if slow and early and len(search.cells) < self.most_regions:
                for _ in range(min(1 + len(search.cells) // 4, self.most_regions - len(search.cells))):
                    search.split()
                self.last = 0.0

    def proved(self, method: str, started: float) -> LowerBound:
        """The best bound so far, proved."""
        bound = prove(*self.problem, self.evidence, method=method, started=started)
        return max(self.first, bound, key=lambda found: found.value)


def _round(search: PairwiseSearch, end: float, *, adapt: bool) -> tuple[float, Evidence]:
    """Sweeps worth several times what a look at the proof costs; the penalty is balanced on the way."""
    for _ in range(5):
        for _ in range(ROUND):
            factor = search.sweep()
            if time.perf_counter() > end:
                return search.evidence()
        if adapt and not 1 / 1.3 < factor < 1.3:
            search.rebalance(factor)
    return search.evidence()
