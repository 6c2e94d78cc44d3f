"""The moment bound over all sign regions of a few directions: for data with too many samples for pairs."""

from __future__ import annotations

import time

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.lower_bound import LowerBound, check_inputs, prove
from reluopt.bounds.polish import Polish
from reluopt.bounds.regions import RegionMultipliers, RegionSearch

#: Smoothing ε with L-BFGS iterations: for a first look with the cuts so far, and once no more are made.
LOOK = ((0.1, 60), (0.03, 60))
SETTLE = ((0.01, 150), (0.003, 150))
#: One more cut takes this much longer; settling takes this many times what the last look took.
GROWTH, FINISH = 2.3, 3.0
#: Share of the time left for each settling run: a bound is as good as its worst block, so all must be polished.
SHARE = 0.25
#: What polishing one block takes, in evaluations of its smoothed level.
POLISH = 150
#: A region is good enough when its level is this close to β/2.
ENOUGH = 1.001
#: A polish that gains less than this fraction ends the search for better multipliers.
GAIN = 1e-4


def directional(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    time_limit: float = 60.0,
    most_cuts: int = 8,
    device: str | torch.device = "cpu",
) -> LowerBound:
    """A proved lower bound of p* from the sign regions of a few directions, as many as the time allows.

    Each direction is the one along which the neurons that share a region and a sign still differ most.

    Parameters
    ----------
    time_limit : seconds. ``most_cuts`` : no more than 2^most_cuts regions.
    device : where the factors are multiplied; multipliers and proof are made on the CPU.

    Raises
    ------
    DataError, ConfigError : see ``check_inputs``.
    """
    started = time.perf_counter()
    check_inputs(X, y, beta)
    end = started + time_limit
    directions = np.zeros((0, X.shape[1]))
    search = RegionSearch(X, y, beta, directions, device=device)
    evaluation = 0.0
    while True:
        look = time.perf_counter()
        for epsilon, iterations in LOOK:
            search.descend(epsilon, iterations, end - time.perf_counter())
        took, evaluation = time.perf_counter() - look, max(evaluation, _evaluation(search, directions))
        ahead = GROWTH * took * (1 + FINISH) + POLISH * evaluation * 2 ** (len(directions) + 2)
        if len(directions) == most_cuts or time.perf_counter() + ahead > end:
            break
        directions = np.vstack([directions, search.next_direction()])
        search = RegionSearch(X, y, beta, directions, device=device, start=search.halves())
    for epsilon, iterations in SETTLE:
        search.descend(epsilon, iterations, SHARE * (end - time.perf_counter()))
    z = search.z(epsilon)
    evidence = improved(search, directions, z, search.multipliers(z, epsilon), end)
    return prove(X, y, beta, evidence, method=f"{2 ** len(directions)} regions", started=started)


def improved(
    search: RegionSearch,
    directions: Float[np.ndarray, "K d"],
    z: Float[np.ndarray, " n"],
    found: list[list[RegionMultipliers]],
    end: float,
) -> Evidence:
    """Polish the worst regions first, then write everything in the data's own units."""
    X, target = search.data.X.cpu().numpy(), 0.5 * search.beta * ENOUGH
    fast, blocks = X.astype(np.float32), {}
    for r, pair in enumerate(found):
        F = _forms(search.signs[r][:, None] * directions)
        for side, (own, start) in enumerate(zip((z, -z), pair, strict=True)):
            blocks[r, side] = Polish(X, own, F, start, fast)
    _lower(list(blocks.values()), target, end)
    z = search.unit * z
    regions = []
    for r, signs in enumerate(search.signs):
        sides = [_in_own_units(blocks[r, side].best, own, search) for side, own in ((0, z), (1, -z))]
        regions.append(Region(signs[:, None] * directions, (), sides[0], sides[1]))
    return Evidence(z, directions, complete_tree(len(directions)), tuple(regions))


def _forms(cuts: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "f e"]:
    """t and the cuts of a region as forms of (t, u)."""
    F = np.zeros((1 + len(cuts), 1 + cuts.shape[1]))
    F[0, 0], F[1:, 1:] = 1.0, cuts
    return F


def _evaluation(search: RegionSearch, directions: Float[np.ndarray, "K d"]) -> float:
    """Seconds that one evaluation of one block takes while it is polished."""
    z = search.z(LOOK[-1][0])
    start = search.multipliers(z, LOOK[-1][0])[0][0]
    block = Polish(search.data.X.cpu().numpy(), z, _forms(search.signs[0][:, None] * directions), start)
    seconds = []
    for _ in range(3):
        clock = time.perf_counter()
        block.smoothed(block.point, 0.005 * block.level)
        seconds.append(time.perf_counter() - clock)
    return min(seconds)


def _lower(blocks: list[Polish], target: float, end: float) -> None:
    """Polish the worst block again and again, until all reach the target, it gains nothing, or time is up."""
    while time.perf_counter() < end:
        worst = max(blocks, key=lambda block: block.level)
        before = worst.level
        if before <= target:
            return
        worst.run(target, end)
        if worst.level > before * (1 - GAIN):
            return


def _in_own_units(m: RegionMultipliers, z: Float[np.ndarray, " n"], search: RegionSearch) -> Multipliers:
    """Scaled back, with the conditions w ≥ z + c and w ≥ c restored to the last digit."""
    w, c, nu = search.unit * m.w, search.unit * m.c, search.unit / search.data.unit * m.nu
    w[0] = np.maximum(w[0], np.nextafter(z + c[0], np.inf))
    w[1:] = np.maximum(w[1:], c[1:])
    # ν = 0 asks for w = 0 exactly, which the last digit may have spoilt
    return Multipliers(w, c, np.maximum(nu, 1e-300), ())


def complete_tree(depth: int) -> np.ndarray:
    """The tree that cuts by directions 0, 1, …, in the order of ``itertools.product((1, -1), …)`` at its leaves."""
    rows = [[k, 2 * (2**k + i) - 1, 2 * (2**k + i)] for k in range(depth) for i in range(2**k)]
    return np.array([*rows, *([-1, leaf, -1] for leaf in range(2**depth))], dtype=np.int64)
