"""Convex programs of several outputs: values, duals, solutions and the way to networks and back."""

import cvxpy as cp
import numpy as np
import pytest

from reluopt import neurons
from reluopt.beta_max import beta_max_estimate
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.patterns.pattern_set import PatternSet
from reluopt.patterns.sampling import sample_patterns
from reluopt.problem import Problem
from reluopt.programs.cone_products import cone_norm_upper
from reluopt.programs.decomposition import deepest
from reluopt.programs.dual import dual_bound
from reluopt.programs.gated import GatedProgram
from reluopt.programs.mapping import blocks_from_network, network_from_blocks
from reluopt.programs.outputs import gated_support, relaxed_support
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram
from reluopt.search.polynomial import relax
from reluopt.solvers import NativeSolver, VectorSolver, solve
from reluopt.solvers.vector_search import VectorSearch


def problem_of(spec="squared", n=14, d=3, C=2, seed=0):
    rng = np.random.default_rng(seed)
    c = np.concatenate([np.arange(C), rng.integers(0, C, n - C)])
    Y = c if spec == "cross_entropy" else 2.0 * np.eye(C)[c] - 1
    problem = Problem(rng.standard_normal((n, d)), Y, spec)
    return problem.with_beta(0.2 * beta_max_estimate(problem))


def patterns_of(problem, P=4):
    return sample_patterns(problem.X, P, np.random.default_rng(1))


def test_the_gated_optimum_is_that_of_cvxpy():
    problem = problem_of()
    program = GatedProgram(problem, patterns_of(problem))
    V = [cp.Variable((problem.d, problem.outputs)) for _ in program.patterns]
    f = sum(np.diag(D.astype(float)) @ problem.X @ v for D, v in zip(program.patterns.dense.T, V, strict=True))
    loss = 0.5 * cp.sum_squares(f - problem.y)
    oracle = cp.Problem(cp.Minimize(loss + problem.beta * sum(map(cp.normNuc, V)))).solve(solver=cp.SCS, eps=1e-7)
    solution = solve(program)
    assert solution.solver == "vector" and solution.relative_gap <= 1e-4
    assert solution.dual.value <= oracle * (1 + 1e-5) and solution.value >= oracle * (1 - 1e-5)
    assert np.abs(program.gradient(solution.blocks)).max() <= 1e-2 * problem.beta
    moved = solution.blocks + 1e-3 * np.random.default_rng(0).standard_normal(program.shape)
    assert program.value(moved) > solution.value


@pytest.mark.parametrize("spec", ["squared", "cross_entropy", "hinge"])
def test_relaxed_programs_are_bracketed_and_are_networks(spec):
    problem = problem_of(spec)
    program = RelaxedProgram(problem, patterns_of(problem))
    solver = VectorSolver(tolerance=1e-3, max_iterations=12)
    solution = solve(program, solver)
    gated = solve(GatedProgram(problem, program.patterns))
    assert gated.dual.value <= solution.value and solution.dual.value <= solution.value
    assert solution.relative_gap <= (2e-2 if spec == "hinge" else 2e-3)
    assert solution.cone_violation <= 1e-12 and solution.value < 0.99 * problem.zero_value
    network = network_from_blocks(solution.blocks, problem.outputs)
    U, alpha = network.weights()
    assert problem.objective(U, alpha) == pytest.approx(solution.value, rel=1e-9)
    assert np.allclose(np.linalg.norm(U, axis=1), neurons.sizes(alpha))
    again = solve(program, VectorSolver(max_iterations=1), warm_start=solution)
    assert again.value <= solution.value * (1 + 1e-9)


def test_any_network_bounds_the_program_of_its_patterns():
    """Weak duality on the way there and back: d_S(z) ≤ p̃(S) ≤ L_bal, for any z."""
    problem, rng = problem_of("cross_entropy", C=3), np.random.default_rng(2)
    for _ in range(3):
        U, alpha = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
        program = RelaxedProgram(problem, PatternSet.from_gates(problem.X, U.T))
        blocks = blocks_from_network(program, U, alpha)
        L = problem.balanced_objective(U, alpha)
        assert program.value(blocks) == pytest.approx(L) and program.cone_violation(blocks) <= 1e-12
        assert np.allclose(program.predict(blocks), problem.predict(U, alpha))
        back = network_from_blocks(blocks, 3).weights()
        assert problem.objective(*back) == pytest.approx(L)
        z = problem.dual_point(problem.predict(*(0.3 * part for part in (U, alpha))))
        relaxed, gated = (dual_bound(made(problem, program.patterns), z) for made in (RelaxedProgram, GatedProgram))
        assert gated.value <= relaxed.value * (1 + 1e-9) and relaxed.value <= L
        least = solve(program, VectorSolver(max_iterations=1), warm_start=blocks)
        assert relaxed.value <= least.value <= L * (1 + 1e-12)


def test_the_norm_over_a_cone_is_met_from_both_sides():
    """In the plane: the largest ‖zᵀDXu‖ over a fine grid of the cone; products close what the spectral norm leaves."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 20001)
    grid = np.vstack([np.cos(angles), np.sin(angles)])
    for _ in range(20):
        X, z = rng.standard_normal((9, 2)), rng.standard_normal((9, 3))
        D = X @ rng.standard_normal((2, 1)) >= 0
        inside = ((2.0 * D - 1) * (X @ grid) >= 0).all(axis=0)
        true = float(np.linalg.norm((z * D).T @ X @ grid[:, inside], axis=0).max(initial=0.0))
        found = relaxed_support(X, D, z)
        assert true * (1 - 1e-12) <= found <= gated_support(X, D, z) * (1 + 1e-12)
        assert found <= true * 1.02 + 1e-2


def test_any_multipliers_of_products_prove_something():
    rng = np.random.default_rng(3)
    for _ in range(50):
        W, A = rng.standard_normal((3, 4)), rng.standard_normal((8, 4))
        i, j = rng.integers(0, 8, (2, 5))
        N = rng.exponential(1.0, 5)
        D = np.ones(8, dtype=bool)
        inner = deepest(A, D)
        if inner is None:
            continue
        U = np.concatenate([inner[:, None], inner[:, None] + 0.3 * rng.standard_normal((4, 200))], axis=1)
        U = U[:, (A @ U >= 0).all(axis=0)] / np.linalg.norm(U, axis=0)[(A @ U >= 0).all(axis=0)]
        assert np.linalg.norm(W @ U, axis=0).max() <= cone_norm_upper(W, 0.0, A[i], A[j], N)
    assert cone_norm_upper(W, 0.0, A[i], A[j], -N) == np.inf


def test_pricing_in_cones_stays_in_them():
    problem = problem_of(n=20, d=4, C=3)
    program = RelaxedProgram(problem, patterns_of(problem, 6))
    search = VectorSearch(program, Clock())
    G = program.correlations(problem.zero_dual_point)[0]
    index = np.arange(6)
    U = search._power(G, np.random.default_rng(0).standard_normal((6, 4)), index)
    assert (program.patterns.signs * (search.exact.X @ U.T)).min() >= -1e-9
    assert np.allclose(np.linalg.norm(U, axis=1)[U.any(axis=1)], 1.0)


def test_relax_gives_a_network_of_several_outputs():
    problem = problem_of("cross_entropy", C=3)
    found = relax(problem, patterns=3, solver=VectorSolver(max_iterations=2))
    assert found.network.outputs == 3
    assert found.objective <= found.solution.value * (1 + 1e-9) < problem.zero_value


def test_what_is_not_there_says_so():
    problem = problem_of()
    with pytest.raises(ConfigError, match="several outputs"):
        RidgeProgram(problem, patterns_of(problem))
    program = RelaxedProgram(problem, patterns_of(problem))
    assert not NativeSolver().supports(program)
    with pytest.raises(ConfigError, match="shape"):
        solve(program, warm_start=np.zeros((1, 2, 3)))
