r"""Going below a network by column generation, of the package's own parts: solve, price, add patterns, drop idle ones.

The convex program over the network's patterns gives z = y − f; a unit neuron u with |zᵀ(Xu)_+| > β lowers L when it is
added (see ``reluopt.search.pricing``). Its pattern joins the program, patterns without a neuron leave it. The search
for u is local, so where it finds none the network is *not* proved to be globally optimal.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from reluopt import PatternSet, Problem, RelaxedProgram, TwoLayerReLU, blocks_from_network, network_from_blocks, price
from reluopt.patterns.pattern_set import activation_patterns
from reluopt.solvers import NativeSolver, blocks_for

#: A price this little above β adds nothing worth a round.
SLACK = 1e-4
#: New patterns a round, the dearest first, and the starts of the two searches: the second confirms that there is none.
MOST_NEW, STARTS = 50, (None, 1024)


@dataclass(frozen=True)
class Refined:
    """The best network found, its L in float64, the last price/β (≤ 1 + SLACK: none was found), and the rounds."""

    network: TwoLayerReLU
    objective: float
    price: float
    rounds: int


def refine(
    X: np.ndarray,
    y: np.ndarray,
    beta: float,
    network: TwoLayerReLU,
    rng: np.random.Generator,
    *,
    tolerance: float = 1e-5,
    most_rounds: int = 100,
    time_limit: float = math.inf,
) -> Refined:
    """Start from ``network``; never ends above its L. Stops where pricing finds nothing, or at the limits."""
    end = time.perf_counter() + time_limit
    best, blocks, rounds, found = _value(X, y, network, beta), None, 0, np.inf
    program = RelaxedProgram(X, y, _patterns(X, network), beta)
    start = blocks_from_network(program, *network.weights())
    while rounds < most_rounds and (left := end - time.perf_counter()) > 0:
        rounds += 1
        limit = left if math.isfinite(left) else None
        solution = NativeSolver(tolerance=tolerance, time_limit=limit).solve(program, warm_start=start)
        if solution.value < best:
            network, best = network_from_blocks(solution.blocks), solution.value
        blocks, found, new = solution.blocks, *_priced(program, solution.z, rng)
        if found <= 1 + SLACK:
            break
        used = np.linalg.norm(blocks, axis=-1).max(axis=0) > 0
        patterns = program.patterns.select(used).union(new)
        start = blocks_for(patterns, blocks, program.patterns)
        program = RelaxedProgram(X, y, patterns, beta)
    return Refined(network, _value(X, y, network, beta), found, rounds)


def _priced(program: RelaxedProgram, z: np.ndarray, rng: np.random.Generator) -> tuple[float, PatternSet]:
    """The largest price over β found, and the patterns of the neurons that are dearer than β."""
    for starts in STARTS:
        neurons = price(program.X, z, rng, starts=starts)
        if neurons.value > program.beta * (1 + SLACK):
            break
    dear = neurons.candidates[:, neurons.candidate_values > program.beta]
    new = PatternSet.from_dense(activation_patterns(program.X, dear))
    return neurons.value / program.beta, new.select(np.arange(min(MOST_NEW, len(new))))


def _patterns(X: np.ndarray, network: TwoLayerReLU) -> PatternSet:
    U, alpha = network.weights()
    alive = np.linalg.norm(U, axis=1) * np.abs(alpha) > 0
    return PatternSet.from_dense(activation_patterns(X, U[alive].T if alive.any() else U.T))


def _value(X: np.ndarray, y: np.ndarray, network: TwoLayerReLU, beta: float) -> float:
    return Problem(X, y, beta=beta).objective(*network.weights())
