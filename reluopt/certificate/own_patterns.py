r"""What a network's own patterns allow: stationarity without solving any program, then the programs.

z = −κ∂ℓ/∂f of the network, scaled into the dual's feasible set, proves L(θ) − d_S(z) (``programs/dual.py`` has the
dual; KP Thm 2.5 the theorem).
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from reluopt import neurons, printing
from reluopt.certificate.case import Case
from reluopt.certificate.estimates import VECTOR, Estimate, PatternGap, Quantity, Relation, Stationarity, Status
from reluopt.certificate.stationary_point import clarke_residual, kept_patterns
from reluopt.errors import SolverError
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.dual import dual_bound
from reluopt.programs.gates import problem_patterns
from reluopt.programs.mapping import blocks_from_network
from reluopt.programs.outputs import pooled_bound
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.rigor import rounding
from reluopt.solvers import CvxpySolver, NativeSolver, Solution, Solver, VectorSolver, make_solver, solve
from reluopt.solvers import Status as SolverStatus

#: Each of the three values d_S(z) gets at most this long, and this share of the clock; what is proved by then stands.
PROOF_SECONDS, PROOF_SHARE = 20.0, 0.15
#: Numbers in the cone rows of a program with biases of its own, at most: CVXPY states them all.
LARGEST_STATEMENT = 2e6
#: Programs of several outputs are solved to this relative gap at best, and for so long at most.
VECTOR_TOLERANCE, VECTOR_SECONDS = 1e-4, 10.0


def stationarity(case: Case, objective: float) -> Stationarity:
    """L(θ) − d_S(z) for the three pattern sets, and the Clarke residual; no program is solved yet."""
    case.say("proving stationarity from the network's own residual")
    sets = case.sets
    gaps = [_pattern_gap(case, patterns, objective) for patterns in (sets.active, sets.with_kinks, sets.with_inactive)]
    tolerance = case.config.kink_tolerance
    residual = clarke_residual(case.problem, case.U, case.alpha, case.intercept, kink_tolerance=tolerance)
    return Stationarity(
        active=gaps[0],
        with_kinks=gaps[1],
        with_inactive=gaps[2],
        clarke_residual=residual.value,
        clarke_residual_relative=residual.relative,
        gradient_norm=residual.plain,
        active_neurons=sets.active_neurons,
        kinks=sets.kink_count,
        kink_cap_met=sets.kinks_capped,
        program_status="no program was solved",
        gap_after_program=gaps[0].gap,
        relative_gap_after_program=gaps[0].relative_gap,
    )


def _pattern_gap(case: Case, patterns: PatternSet, objective: float) -> PatternGap:
    value = _bound_over(case, patterns)
    return PatternGap(len(patterns), value, *gap(objective, value))


def gap(upper: float, lower: float) -> tuple[float, float]:
    """upper − lower and its share of upper, both rounded up; NaN where a bound is not finite."""
    if not (math.isfinite(upper) and math.isfinite(lower)):
        return math.nan, math.nan
    exact = Fraction(upper) - Fraction(lower)
    return rounding.round_up(exact), rounding.round_up(exact / Fraction(upper)) if upper > 0 else 0.0


def _bound_over(case: Case, patterns: PatternSet) -> float:
    """d_S(z), rounded down; over no pattern at all the only network is zero."""
    if len(patterns) == 0:
        return case.problem.zero_value_lower
    clock = case.clock.part(PROOF_SHARE, PROOF_SECONDS)
    stop = lambda: clock.over  # noqa: E731
    if case.problem.pooling is not None:
        value = pooled_bound(case.problem, patterns.dense, case.z, stop=stop)
    else:
        value = dual_bound(RelaxedProgram(case.problem, patterns), case.z, stop=stop).value
    if clock.over:
        case.notes.append(f"d_S(z) over {len(patterns)} patterns was cut off by its time: valid, but loose.")
    return value


def own_estimates(case: Case, found: Stationarity, objective: float) -> tuple[Stationarity, list[Estimate]]:
    """p̃(S(θ)), the optimum over the network's own active patterns, bracketed within the budget."""
    patterns, dual = case.sets.active, found.active.dual_value
    primal, status, method = math.nan, "no program was solved (no time for it)", "none"
    if len(patterns) == 0:
        primal, status = case.problem.zero_value, "the network is zero"
    elif case.problem.pooling is not None:
        primal, method = case.problem.balanced_objective(case.U, case.alpha), VECTOR
        status = "no program has pooled rows"
    elif case.problem.biases and not _stated(case, patterns):
        primal, method = case.problem.balanced_objective(case.U, case.alpha, case.intercept), "network"
        status = "no program of this size has biases of its own"
    elif _seconds(case, 1.0) > 0:
        program = case.program(patterns)
        mask = neurons.active(case.U, case.alpha)
        own = blocks_from_network(program, case.U[mask], case.alpha[mask])
        # the network itself is a feasible point: a solve that was cut short may not have come so far
        primal, status = program.value(own), "the program was not solved: interrupted"
        solution = case.unless_stopped(lambda: _solve(case, program, 0.6, own), None)
        if solution is not None:
            primal, method = min(solution.value, primal), solution.solver
            dual, status = max(dual, solution.dual.value), solution.status.value
    absolute, relative = gap(objective, dual)
    found = dataclasses.replace(
        found, program_status=status, gap_after_program=absolute, relative_gap_after_program=relative
    )
    return found, [
        Estimate(
            "own_dual", "p̃(S(θ)) from below", Quantity.OWN, Relation.AT_LEAST, dual, Status.PROVED, method,
            "no network with these activation patterns is below this",
        ),
        Estimate(
            "own_primal", "p̃(S(θ)) from above", Quantity.OWN, Relation.AT_MOST, float(primal), Status.MEASURED, method,
            f"the best found with these patterns ({status})",
        ),
    ]  # fmt: skip


def comparisons(case: Case, initial_U: Float[np.ndarray, "m d"] | None) -> tuple[int | None, list[Estimate]]:
    """|S_kept|, and p̃ over Gaussian patterns and over those kept since initialisation (KP Thm 2.1, 2.5)."""
    found: list[Estimate] = []
    if case.problem.pooling is not None:
        case.notes.append(
            "The rows are pooled, and no convex program is solved for them: random and kept patterns are left out."
        )
        return None, found
    gaussian = None
    if case.config.gaussian_patterns and _seconds(case, 1.0) > 0:
        rng = np.random.default_rng(case.config.seed)
        gaussian = problem_patterns(case.problem, case.config.gaussian_patterns, rng)
    if gaussian is not None and _stated(case, gaussian):
        label = f"p̃(Gaussian, P={len(gaussian)})"
        found.append(_solved(case, Quantity.GAUSSIAN, label, gaussian, "the relaxation over random patterns", 0.7))
    if initial_U is None:
        return None, found
    kept = kept_patterns(case.problem.X, initial_U, case.U)
    text = f"over the {len(kept)} patterns unchanged since the start"
    if len(kept) == 0:
        value, text = case.problem.zero_value, f"{text}: the zero network"
        found.append(_measured(Quantity.KEPT, "p̃(S_kept)", value, "network", text))
    elif _seconds(case, 1.0) > 0 and _stated(case, kept):
        found.append(_solved(case, Quantity.KEPT, f"p̃(S_kept), {len(kept)} patterns", kept, text, 1.0))
    return len(kept), found


def _stated(case: Case, patterns: PatternSet) -> bool:
    """Whether a program over these patterns is small enough for its solver; a note where it is not."""
    problem = case.problem
    if not problem.biases or problem.outputs > 1:
        return True
    small = 2 * len(patterns) * problem.X.size <= LARGEST_STATEMENT
    if not small:
        _note(
            case, f"With {problem.biases.words} convex programs over {len(patterns)} patterns are too large; left out."
        )
    return small


def _solved(case: Case, quantity: Quantity, label: str, patterns: PatternSet, text: str, share: float) -> Estimate:
    solution = _solve(case, case.program(patterns), share)
    how = solution.status.value
    if solution.status is not SolverStatus.CONVERGED:
        how += f", its optimum is in [{printing.below(solution.dual.value)}, {printing.above(solution.value)}]"
    return _measured(quantity, label, solution.value, solution.solver, f"{text} ({how})")


def _measured(quantity: Quantity, label: str, value: float, method: str, meaning: str) -> Estimate:
    name = {Quantity.GAUSSIAN: "gaussian", Quantity.KEPT: "kept"}[quantity]
    return Estimate(name, label, quantity, Relation.AT_MOST, value, Status.MEASURED, method, meaning)


def _seconds(case: Case, share: float) -> float:
    """How long a program may take: ``share`` of what is left of the budget for programs, within the clock."""
    return min(share * (case.config.time_budget - case.solving), case.clock.left)


def _solve(
    case: Case, program: RelaxedProgram, share: float, warm_start: Float[np.ndarray, "k P e"] | None = None
) -> Solution:
    """Solve within ``share`` of the budget (at least a moment, to start at all)."""
    case.say(f"solving the convex program over {len(program.patterns)} patterns")
    limit, tolerance = max(0.1, _seconds(case, share)), case.config.tolerance
    solver: Solver = NativeSolver(tolerance=tolerance, time_limit=limit, device=case.config.device)
    if case.problem.biases:
        solver = CvxpySolver(tolerance=tolerance, time_limit=limit)
    if case.problem.outputs > 1:
        solver = VectorSolver(tolerance=max(tolerance, VECTOR_TOLERANCE), time_limit=min(limit, VECTOR_SECONDS))
    try:
        solution = solve(program, _chosen(case, program, solver, limit), warm_start=warm_start)
    except SolverError as error:  # one from outside broke: what is proved stands
        _note(case, f"{error.problem} The {solver.name} solver solved the program instead.")
        solution = solve(program, solver, warm_start=warm_start)
    case.solving += solution.seconds
    return solution


def _chosen(case: Case, program: RelaxedProgram, otherwise: Solver, limit: float) -> Solver:
    """The solver that the settings name; ``otherwise`` where it does not take the program, with a note."""
    if case.config.solver == "native":
        return otherwise
    named = make_solver(case.config.solver, tolerance=case.config.tolerance, time_limit=limit)
    if named.supports(program):
        return named
    _note(case, f"The {case.config.solver} solver does not take these convex programs; {otherwise.name} solved them.")
    return otherwise


def _note(case: Case, note: str) -> None:
    if note not in case.notes:
        case.notes.append(note)
