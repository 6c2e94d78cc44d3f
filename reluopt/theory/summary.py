"""All the theory for one data set: what `reluopt theory` prints."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.errors import ConfigError
from reluopt.patterns.pattern_set import PatternSet
from reluopt.patterns.sampling import sample_patterns
from reluopt.problem import Problem, as_problem
from reluopt.programs.decomposition import gated_twin
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.solvers import Solver, solve
from reluopt.solvers.native import NativeSolver
from reluopt.theory import counts_3_2_and_3_3 as counts
from reluopt.theory import maxcut
from reluopt.theory import sharpness_4_1_to_4_5 as sharpness
from reluopt.theory import theorems_2 as section_2
from reluopt.theory import theorems_3_4_to_3_9 as values
from reluopt.theory.config import TheoryConfig
from reluopt.theory.statements import Statement

#: samples for which the n × n matrices of the theory are made
LIMIT = 10_000

#: The theorems by their numbers in the paper; the first argument of each is X, or the problem where targets matter.
THEOREMS: dict[str, Callable[..., Statement | tuple]] = {
    "2.1": section_2.thm_2_1,
    "2.3": section_2.thm_2_3,
    "2.4": section_2.lemma_2_4,
    "2.5": section_2.thm_2_5,
    "3.2": counts.prop_3_2,
    "3.2 (A1)": counts.prop_3_2_a1,
    "3.3": counts.cor_3_3,
    "3.4": values.thm_3_4,
    "section 3.4": maxcut.section_3_4,
    "3.5": values.prop_3_5,
    "3.6": values.prop_3_6,
    "3.7": values.cor_3_7,
    "3.8": values.thm_3_8,
    "(7)": values.eq_7,
    "3.9": values.thm_3_9,
    "4.1": sharpness.def_4_1,
    "4.2": sharpness.prop_4_2,
    "4.3": sharpness.prop_4_3,
    "4.5": sharpness.cor_4_5,
}


def report(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    config: TheoryConfig | None = None,
    *,
    lower: float = 0.0,
    solver: Solver | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> list[Statement]:
    """The statements of sections 2 to 4 of the paper for a problem, in the paper's order.

    A theorem that does not speak of the problem's loss is a line that says so.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y and β, for the squared loss.
    lower : a lower bound of p*, if one is known (``reluopt.bounds``); the better of it and the MAX-CUT bound is used.
    solver : for the gated and the relaxed program over the sample; native within ``time_budget`` by default.
    say : receives a line on each step.

    Raises
    ------
    ConfigError : several outputs; more than ``LIMIT`` samples, whose n × n matrices would take long or not fit.
    """
    config, problem = config or TheoryConfig(), as_problem(problem, y, beta)
    problem.require_one_output("The theory")
    X = problem.X
    require_few(len(X))
    rng = np.random.default_rng(config.seed)
    patterns = sample_patterns(X, config.patterns, rng)
    say("counts and kernel")
    count = [counts.cover_1965(X), counts.prop_3_2(X, config.delta), counts.prop_3_2_a1(X, config.delta)]
    say("values by formula")
    formula = _formula_values(problem, patterns)
    say(f"sharpness of {config.cones} cones")
    sample = sharpness.sampled_sharpness(X, patterns, rng, cones=config.cones)
    sharp = [sharpness.def_4_1(X, sample), sharpness.prop_4_3(sample), sharpness.cor_4_5(X, sample)]
    if solver is None and config.time_budget > 0:
        solver = NativeSolver(tolerance=1e-5, time_limit=config.time_budget)
    if solver is None:
        return [*count, *formula, *sharp]
    known = max(lower, next(s.value for s in formula if s.theorem == "KP section 3.4"))
    return [*_solved(RelaxedProgram(problem, patterns), known, config.delta, solver, say), *count, *formula, *sharp]


def require_few(n: int) -> None:
    """Refuse so many samples before any work; ConfigError for more than ``LIMIT``."""
    if n > LIMIT:
        raise ConfigError(
            f"The theory needs n × n matrices; for n = {n:,} each takes {8 * n**2 / 2**30:.0f} GiB.",
            f"Take at most {LIMIT:,} samples (reluopt theory … --subset {LIMIT}).",
        )


def _formula_values(problem: Problem, patterns: PatternSet) -> list[Statement]:
    return [
        counts.cor_3_3(problem.X, patterns),
        values.thm_3_4(problem, patterns),
        values.prop_3_5(problem, patterns),
        values.prop_3_6(problem),
        values.cor_3_7(problem),
        values.thm_3_8(problem),
        values.eq_7(problem, patterns),
        maxcut.section_3_4(problem),
        values.thm_3_9(problem.X),
    ]


def _solved(
    program: RelaxedProgram, lower: float, delta: float, solver: Solver, say: Callable[[str], None]
) -> list[Statement]:
    """Thm 2.1 and Prop. 4.2, which need the gated and the relaxed solution."""
    say("the gated program over the sample")
    gated = gated_twin(program)
    blocks = _without_negligible(solve(gated, solver).blocks)
    loss, point = sharpness.prop_4_2(program, blocks, gated.value(blocks))
    say("the relaxed program over the sample")
    relaxed = solve(program, solver)
    value = min(relaxed.value, point.value)
    first = section_2.thm_2_1(program.problem, len(program.patterns), value, lower, loss.value, delta=delta)
    return [first, loss]


def _without_negligible(blocks: Float[np.ndarray, "1 P d"]) -> Float[np.ndarray, "1 P d"]:
    """Blocks that an interior point solver left at 10⁻⁶ of the largest have no direction to speak of."""
    norms = np.linalg.norm(blocks, axis=-1, keepdims=True)
    return np.where(norms > 1e-5 * norms.max(initial=0.0), blocks, 0.0) if math.isfinite(norms.sum()) else blocks
