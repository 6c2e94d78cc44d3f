r"""The polynomial-time algorithm of KP Thm 2.3: sample patterns, solve the convex relaxation, map it back, prune.

The network it returns has L ≤ p̃(S), and p̃(S) ≤ C√log(2n) p* under the theorem's hypotheses. No training is involved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt import objective
from reluopt.config import Config, setting
from reluopt.errors import SolverError
from reluopt.network import TwoLayerReLU
from reluopt.patterns.sampling import Discovery, discover_patterns
from reluopt.programs.mapping import network_from_blocks
from reluopt.programs.pruning import caratheodory
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.solvers import Solution, Solver, solve
from reluopt.theory.ladders import thm_2_3
from reluopt.theory.statement import Statement

#: Neurons this much smaller than the largest are tried without, the boldest first.
DUST = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 0.0)


@dataclass(frozen=True, kw_only=True)
class RelaxConfig(Config):
    """Settings of `reluopt relax`."""

    patterns: int = setting(100, "Distinct Gaussian patterns P.", minimum=1)
    seed: int = setting(0, "Seed of the gates.", minimum=0)
    tolerance: float = setting(1e-6, "Relative gap of the convex program to stop at.", above=0.0, maximum=0.1)
    time_limit: float | None = setting(None, "Seconds for the convex program.", above=0.0)


@dataclass(frozen=True)
class Relaxation:
    """What the algorithm found.

    Attributes
    ----------
    network : of at most min(2P, n) neurons. ``objective`` : its L, in float64.
    program, solution : the relaxed program over the sample and its bracketed optimum.
    discovery : the sample, with its discovery curve.
    guarantee : KP Thm 2.3 with these numbers.
    """

    network: TwoLayerReLU
    objective: float
    program: RelaxedProgram
    solution: Solution
    discovery: Discovery
    guarantee: Statement


def relax(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    patterns: int,
    rng: np.random.Generator,
    *,
    solver: Solver | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Relaxation:
    """Run the algorithm with ``patterns`` distinct Gaussian patterns, or with as many as X has.

    Raises
    ------
    ConfigError : fewer than one pattern, or β not positive. DataError : data that cannot be used.
    SolverError : the solver found no feasible point better than zero and says that it failed.
    """
    say(f"sampling {patterns} patterns")
    found = discover_patterns(X, patterns, rng, at_most=True)
    program = RelaxedProgram(X, y, found.patterns, beta)
    say(f"solving the relaxation over {len(found.patterns)} patterns")
    solution = solve(program, solver)
    if not np.isfinite(solution.value):
        raise SolverError(f"{solution.solver} found nothing ({solution.status.value}).", solution.status.remedy)
    say("mapping to a network and pruning")
    network = _pruned(X, y, network_from_blocks(solution.blocks), beta)
    value = _value(X, y, network, beta)
    guarantee = thm_2_3(len(X), X.shape[1], len(found.patterns), solution.value, value, network.width)
    return Relaxation(network, value, program, solution, found, guarantee)


def _pruned(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], mapped: TwoLayerReLU, beta: float) -> TwoLayerReLU:
    """At most n neurons, and none of the dust an interior point solver leaves, where that does not raise L.

    A block that should be zero pays more in β‖u‖ than its fit gains, so without it L is usually smaller.
    """
    allowed = _value(X, y, mapped, beta)
    for tolerance in DUST:
        pruned = caratheodory(X, mapped.prune(tolerance))
        if _value(X, y, pruned, beta) <= allowed:
            return pruned
    return mapped.prune()


def _value(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], network: TwoLayerReLU, beta: float) -> float:
    return float(objective.objective(X, y, *network.weights(), beta))
