"""The relaxed and gated programs through CVXPY: reference values, brackets, degenerate data, statuses."""

from __future__ import annotations

import itertools

import by_formula
import cvxpy as cp
import numpy as np
import pytest
from problems import reference, reference_names, small_problem

from reluopt.errors import ConfigError, DataError
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs import cones
from reluopt.programs.gated import GatedProgram
from reluopt.programs.mapping import network_from_blocks
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram
from reluopt.solvers import CvxpySolver, Status
from reluopt.solvers import solve as solve_by_default


def solve(program, solver=None):
    """This file is about CVXPY; the native solver has tests of its own."""
    return solve_by_default(program, solver or CvxpySolver())


PROGRAMS = ((RelaxedProgram, "relaxed"), (GatedProgram, "gated_same_patterns"))


@pytest.mark.parametrize("name", reference_names())
@pytest.mark.parametrize(("program", "key"), PROGRAMS)
def test_reference_values(name, program, key):
    instance = reference(name)
    solution = solve(program(instance.X, instance.y, instance.patterns, instance.beta))
    expected = instance.values[key]
    assert solution.status is Status.CONVERGED
    assert solution.value == pytest.approx(expected, rel=1e-6)
    assert solution.dual.value == pytest.approx(expected, rel=1e-6)
    assert solution.dual.value <= solution.value


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("backend", ["clarabel", "scs"])
@pytest.mark.parametrize("program", [RelaxedProgram, GatedProgram])
def test_backends_and_statements_agree(program, backend, lazy):
    X, y, patterns, beta = small_problem(1)
    case = program(X, y, patterns, beta)
    tolerance = 1e-4 if backend == "scs" else 1e-7
    best = solve(case)
    other = solve(case, CvxpySolver(backend=backend, lazy=lazy, tolerance=tolerance))
    assert other.value == pytest.approx(best.value, rel=2 * tolerance)
    assert other.dual.value <= best.value * (1 + 1e-12)
    assert case.cone_violation(other.blocks) <= 1e-12


def test_optimum_agrees_with_a_plain_statement():
    """Against a direct CVXPY statement of KP eq. (2), block by block."""
    X, y, patterns, beta = small_problem(2)
    d = X.shape[1]
    fit, norms, constraints = 0, 0, []
    for i in range(len(patterns)):
        on, sign = np.diag(patterns.dense[:, i].astype(float)), np.diag(patterns.signs[:, i])
        v, w = cp.Variable(d), cp.Variable(d)
        fit, norms = fit + on @ X @ (v - w), norms + cp.norm(v) + cp.norm(w)
        constraints += [sign @ X @ v >= 0, sign @ X @ w >= 0]
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(fit - y) + beta * norms), constraints)
    problem.solve(solver=cp.CLARABEL)
    assert solve(RelaxedProgram(X, y, patterns, beta)).value == pytest.approx(problem.value, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_mapped_network_has_the_programs_value(seed):
    X, y, patterns, beta = small_problem(seed)
    solution = solve(RelaxedProgram(X, y, patterns, beta))
    network = network_from_blocks(solution.blocks)
    assert by_formula.objective(X, y, *network.weights(), beta) == pytest.approx(solution.value, rel=1e-9)


DEGENERATE = {
    "duplicate rows": lambda X, y: (np.vstack([X, X]), np.append(y, -y)),
    "zero column": lambda X, y: (np.hstack([X, np.zeros((len(X), 1))]), y),
    "zero row": lambda X, y: (np.vstack([X, np.zeros((1, X.shape[1]))]), np.append(y, 1.0)),
    "collinear": lambda X, y: (X[:, :1] @ np.ones((1, 3)), y),
    "n < d": lambda X, y: (X[:2], y[:2]),
    "large": lambda X, y: (1e6 * X, y),
    "small": lambda X, y: (1e-6 * X, y),
}


@pytest.mark.parametrize(("case", "program"), list(itertools.product(DEGENERATE, [RelaxedProgram, GatedProgram])))
def test_degenerate_data_are_solved(case, program):
    X, y, _, _ = small_problem(3)
    X, y = DEGENERATE[case](X, y)
    patterns = PatternSet.from_gates(X, np.random.default_rng(0).standard_normal((X.shape[1], 6)))
    beta = 0.05 * np.linalg.norm(X, 2)
    solution = solve(program(X, y, patterns, beta))
    assert solution.relative_gap <= 1e-5
    assert solution.value <= 0.5 * y @ y * (1 + 1e-12)


def test_beta_above_the_largest_correlation_gives_exactly_zero():
    X, y, patterns, _ = small_problem(4)
    case = RelaxedProgram(X, y, patterns, 1.01 * np.linalg.norm(X, 2) * np.linalg.norm(y))
    solution = solve(case)
    assert not solution.blocks.any()
    assert solution.value == pytest.approx(0.5 * y @ y)


@pytest.mark.parametrize("fill", [True, False])
def test_a_single_pattern_all_active_or_all_inactive(fill):
    X, y, _, beta = small_problem(5)
    patterns = PatternSet.from_dense(np.full((len(y), 1), fill))
    solution = solve(RelaxedProgram(X, y, patterns, beta))
    assert solution.relative_gap <= 1e-6


def test_a_time_limit_leaves_a_valid_bracket():
    instance = reference("noise_40x8_b0.1")
    case = RelaxedProgram(instance.X, instance.y, instance.patterns, instance.beta)
    solution = solve(case, CvxpySolver(time_limit=1e-9))
    assert solution.status is Status.TIME_LIMIT
    assert solution.dual.value <= instance.values["relaxed"] <= solution.value
    assert solution.status.remedy


def test_wrong_settings_and_programs_are_refused():
    X, y, patterns, beta = small_problem(6)
    with pytest.raises(ConfigError, match="no CVXPY backend"):
        CvxpySolver(backend="mosek")
    with pytest.raises(ConfigError, match="β"):
        RelaxedProgram(X, y, patterns, -1.0)
    with pytest.raises(DataError, match="NaN"):
        RelaxedProgram(X, np.full_like(y, np.nan), patterns, beta)
    with pytest.raises(DataError, match="samples"):
        RelaxedProgram(X[:-1], y[:-1], patterns, beta)


def test_a_gate_near_the_border_of_its_cone_does_not_carry_blocks_away():
    """Following such a gate until nothing is violated would move a block by 10^12 times its norm."""
    X = np.eye(2)
    pattern = np.array([True, True])
    shifted = cones.interior_shift(X, pattern, np.array([1.0, -1e-12]), np.array([1.0, 1e-24]))
    assert shifted is None
    near = cones.interior_shift(X, pattern, np.array([1.0, -1e-12]), np.array([1.0, 0.5]))
    assert near is not None
    assert (X @ near >= 0).all()
    assert np.allclose(near, [1.0, 0.0], atol=1e-11)


def test_without_a_solver_each_program_goes_to_one_that_takes_it():
    X, y, patterns, beta = small_problem(7)
    assert solve_by_default(RelaxedProgram(X, y, patterns, beta)).solver == "native"
    assert solve_by_default(GatedProgram(X, y, patterns, beta)).solver == "native"
    assert solve_by_default(RidgeProgram(X, y, patterns, beta)).solver == "cvxpy+clarabel"
