r"""The polynomial-time algorithm of KP Thm 2.3: sample patterns, solve the convex relaxation, map it back, prune.

The network it returns has L ≤ p̃(S), and p̃(S) ≤ C√log(2n) p* under the theorem's hypotheses. No training is involved.
With biases of the problem's own (:mod:`reluopt.biases`) the algorithm is the same and L ≤ p̃(S) still holds; the
theorem itself is about decayed weights only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reluopt.errors import SolverError
from reluopt.losses import Loss
from reluopt.network import TwoLayerReLU
from reluopt.patterns.sampling import Discovery
from reluopt.problem import Problem, as_problem
from reluopt.programs.gates import discover_problem_patterns
from reluopt.programs.mapping import network_from_blocks, with_best_intercept
from reluopt.programs.pruning import caratheodory
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.solvers import Solution, Solver, solve
from reluopt.theory.statements import Statement
from reluopt.theory.theorems_2 import thm_2_3

#: Neurons this much smaller than the largest are tried without, the boldest first.
NEGLIGIBLE_SHARES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 0.0)


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
    X: Any,
    y: Any = None,
    beta: Any = None,
    patterns: int = 100,
    rng: np.random.Generator | None = None,
    *,
    loss: str | Loss = "squared",
    solver: Solver | str | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Relaxation:
    """Run the algorithm with ``patterns`` distinct Gaussian patterns, or with as many as X has.

    Parameters
    ----------
    X, y, beta, loss : a :class:`~reluopt.Problem` in the place of X; or what makes one.
    rng : of the gates; from seed 0 unless given.

    Raises
    ------
    DataError, ConfigError : see :class:`~reluopt.Problem`; ConfigError also for fewer than one pattern.
    SolverError : the solver found no feasible point better than zero and says that it failed.
    """
    problem = as_problem(X, y, beta, loss=loss)
    say(f"sampling {patterns} patterns")
    found = discover_problem_patterns(problem, patterns, rng or np.random.default_rng(0))
    program = RelaxedProgram(problem, found.patterns)
    say(f"solving the relaxation over {len(found.patterns)} patterns")
    solution = solve(program, solver)
    if not np.isfinite(solution.value):
        raise SolverError(f"{solution.solver} found nothing ({solution.status.value}).", solution.status.remedy)
    say("mapping to a network and pruning")
    network = _pruned(problem, network_from_blocks(solution.blocks, problem.outputs, program))
    value = problem.objective(*network.weights())
    guarantee = thm_2_3(problem.n, problem.d, len(found.patterns), solution.value, value, network.width)
    return Relaxation(network, value, program, solution, found, guarantee)


def _pruned(problem: Problem, mapped: TwoLayerReLU) -> TwoLayerReLU:
    """At most n neurons, and none of the negligible ones an interior point solver leaves, where that does not raise L.

    A block that should be zero pays more in β‖u‖ than its fit gains, so without it L is usually smaller.
    """
    allowed = problem.objective(*mapped.weights())
    U, alpha, *_ = mapped.weights()
    sizes, free = problem.strength(U, alpha), int(problem.biases.first_free)
    for tolerance in NEGLIGIBLE_SHARES:
        keep = sizes > tolerance * sizes.max(initial=0.0)
        few = caratheodory(problem.X, with_best_intercept(problem, U[keep], alpha[keep]), free=free)
        pruned = with_best_intercept(problem, *few.weights()[:2])
        if problem.objective(*pruned.weights()) <= allowed:
            return pruned
    return with_best_intercept(problem, U[sizes > 0], alpha[sizes > 0])
