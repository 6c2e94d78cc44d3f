"""Bounds tighter than the moment bound, within a time budget: all pairs of samples, and regions where they pay."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from reluopt.bounds.directional import directional
from reluopt.bounds.evidence import Evidence
from reluopt.bounds.lower_bound import LowerBound, check_inputs, prove
from reluopt.bounds.moment import moment, moment_with_factors
from reluopt.bounds.pairwise import PairwiseSearch

#: Sweeps between two looks at the clock for penalties and proofs.
ROUND = 40
#: Up to here the products of all pairs of samples are affordable; up to FEW they are all that is needed.
PAIRS_UP_TO, FEW = 700, 150
#: Bytes that the products of all regions may take.
MEMORY = 10**9
#: In between, where the moment bound is below this fraction of ½‖y‖² (β is small, many neurons are at work), pairs
#: converge slowly and directions give more. Chosen after seeing breast_cancer and diabetes, not tested elsewhere.
SMALL = 0.15
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
    return _search(X, y, beta, time_limit, stop_at, most_regions=1, method="pairwise")


def splitting(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    most_regions: int = 64,
) -> LowerBound:
    """The best bound that regions of u-space give within the time.

    With few samples all pairs are used, and regions are cut by the hyperplanes of undecided samples whenever progress
    is slow. With many, moments are used, and regions are cut by the directions in which neurons differ. In between, the
    moment bound decides.

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
    if len(X) <= FEW or not (X.any() and y.any()):
        return _search(X, y, beta, time_limit, stop_at, most_regions=most_regions, method="splitting")
    cuts = int(math.log2(max(most_regions, 1)))
    first = moment(X, y, beta, time_limit=0.5 * time_limit)
    left = time_limit - (time.perf_counter() - started)
    if len(X) <= PAIRS_UP_TO and first.value > SMALL * 0.5 * float(y @ y):
        best = _search(X, y, beta, left, stop_at, most_regions=most_regions, method="splitting")
    else:
        best = max(first, directional(X, y, beta, time_limit=left, most_cuts=cuts), key=lambda found: found.value)
    return replace(best, seconds=time.perf_counter() - started)


def _search(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    time_limit: float,
    stop_at: float,
    *,
    most_regions: int,
    method: str,
) -> LowerBound:
    started = time.perf_counter()
    check_inputs(X, y, beta)
    first, factors = moment_with_factors(X, y, beta, time_limit=0.5 * time_limit)
    if not (X.any() and y.any()):
        return first
    # W and its dual for both signs, in float64
    most_regions = min(most_regions, max(1, MEMORY // (4 * 8 * (1 + 2 * len(X)) ** 2)))
    search, best = PairwiseSearch(X, y, beta), (first.value, first.evidence)
    search.start_from(factors, first.evidence)
    last = 0.0
    while (used := (time.perf_counter() - started) / time_limit) < 1.0 and best[0] < stop_at:
        value, evidence = _round(search, started + time_limit, adapt=used < SETTLE)
        best = max(best, (value, evidence), key=lambda found: found[0])
        gain, last = value - last, value
        if gain < SLOW * best[0] and used < SETTLE and len(search.cells) < most_regions:
            for _ in range(min(1 + len(search.cells) // 4, most_regions - len(search.cells))):
                search.split()
            last = 0.0
    bound = prove(X, y, beta, best[1], method=method, started=started)
    return max(first, bound, key=lambda found: found.value)


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
