"""Pruning keeps the function and does not raise L; cone decompositions lie in their cones at the stated price."""

import math

import by_formula
import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reluopt.errors import SolverError
from reluopt.network import from_weights
from reluopt.patterns.pattern_set import PatternSet, activation_patterns
from reluopt.patterns.sampling import sample_patterns
from reluopt.programs import cones
from reluopt.programs.decomposition import (
    cheap_decomposition,
    cone_rows,
    decompose_along,
    deepest,
    gated_twin,
    relaxed_from_gated,
    sharpness_bound,
)
from reluopt.programs.exact import ExactProgram
from reluopt.programs.mapping import network_from_blocks
from reluopt.programs.pruning import caratheodory
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.solvers import CvxpySolver, solve
from reluopt.solvers.cone_sharpness import minimum_norm_decomposition, sharpness

SOLVER = CvxpySolver(tolerance=1e-8)


def planted(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X, U = rng.standard_normal((n, d)), rng.standard_normal((3, d))
    return X, np.maximum(X @ U.T, 0) @ np.array([1.0, -1.0, 1.0]) + 0.3 * rng.standard_normal(n)


@pytest.mark.parametrize(("n", "d", "width"), [(10, 3, 500), (10, 20, 500), (25, 4, 60), (6, 2, 3)])
def test_caratheodory_keeps_the_outputs_and_does_not_raise_the_objective(n: int, d: int, width: int) -> None:
    X, y = planted(2, n, d)
    rng = np.random.default_rng(width)
    network = from_weights(rng.standard_normal((width, d)), rng.standard_normal(width))
    pruned = caratheodory(X, network)
    before, after = network.weights(), pruned.weights()
    scale = np.abs(by_formula.predict(X, *before)).max()
    assert pruned.width <= min(n, width)
    np.testing.assert_allclose(by_formula.predict(X, *after), by_formula.predict(X, *before), atol=1e-12 * scale * n)
    assert by_formula.objective(X, y, *after, 0.3) <= by_formula.balanced_objective(X, y, *before, 0.3) * (1 + 1e-12)


def test_pruning_networks_with_nothing_to_keep() -> None:
    X, _ = planted(3, 5, 2)
    assert caratheodory(X, from_weights(np.zeros((4, 2)), np.ones(4))).width == 1
    nowhere = from_weights(np.array([[-1.0, 0.0], [1.0, 0.0]]), np.ones(2))
    positive = np.abs(X) + 0.1
    assert caratheodory(positive, nowhere).width == 1


def test_an_exact_optimum_needs_no_more_neurons_than_samples() -> None:
    X, y = planted(4, 12, 3)
    solution = solve(ExactProgram.of(X, y, 0.5), SOLVER)
    network = network_from_blocks(solution.blocks).prune(1e-3)
    assert 1 <= caratheodory(X, network).width <= 12


def in_cone(X: np.ndarray, pattern: np.ndarray, u: np.ndarray, size: float) -> bool:
    return bool((cone_rows(X, pattern) @ u >= -1e-13 * size).all())


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_decompositions_lie_in_the_cone_and_sharpness_is_bracketed(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    X, z = rng.standard_normal((n, d)), rng.standard_normal(d)
    pattern = activation_patterns(X, rng.standard_normal((d, 1)))[:, 0]
    best, cheap = minimum_norm_decomposition(X, pattern, z), cheap_decomposition(X, pattern, z)
    assert cheap is not None
    for parts in (best, cheap):
        np.testing.assert_allclose(parts.u - parts.v, z, atol=1e-12 * parts.cost)
        assert in_cone(X, pattern, parts.u, parts.cost)
        assert in_cone(X, pattern, parts.v, parts.cost)
    measured = sharpness(X, pattern, z)
    assert 1.0 <= measured.lower <= measured.value <= sharpness_bound(X, pattern, z) * (1 + 1e-12)
    assert measured.value - measured.lower <= 1e-5 * measured.value
    assert best.cost == pytest.approx(measured.value * np.linalg.norm(z), rel=1e-12)


def test_sharpness_against_cvxpy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        X, z = rng.standard_normal((15, 4)), rng.standard_normal(4)
        pattern = activation_patterns(X, rng.standard_normal((4, 1)))[:, 0]
        u, v = cp.Variable(4), cp.Variable(4)
        A = cone_rows(X, pattern)
        problem = cp.Problem(cp.Minimize(cp.norm(u) + cp.norm(v)), [u - v == z, A @ u >= 0, A @ v >= 0])
        problem.solve(solver=cp.CLARABEL)
        assert minimum_norm_decomposition(X, pattern, z).cost == pytest.approx(problem.value, rel=1e-6)


@pytest.mark.parametrize("angle", [0.2, 1.0, 2.0])
def test_sharpness_in_the_plane_by_angle(angle: float) -> None:
    """K of opening φ between r₁ and r₂; outside of ±K, z = a r₁ − b r₂ with a, b by the law of sines."""
    X = np.array([[0.0, 1.0], [math.sin(angle), -math.cos(angle)]])  # K = {0 ≤ arg u ≤ φ}
    pattern = np.array([True, True])
    for theta in np.linspace(0, 2 * math.pi, 25)[:-1] + 0.01:
        z = np.array([math.cos(theta), math.sin(theta)])
        inside = any(in_cone(X, pattern, s * z, 1.0) for s in (1.0, -1.0))
        expected = 1.0 if inside else (abs(math.sin(angle - theta)) + abs(math.sin(theta))) / math.sin(angle)
        assert sharpness(X, pattern, z).value == pytest.approx(expected, rel=1e-6)


def test_deepest_direction_and_cones_without_interior() -> None:
    X = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    c = deepest(X, np.array([True, True, True]))
    np.testing.assert_allclose(c, np.ones(2) / math.sqrt(2), atol=1e-12)
    opposite = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert deepest(opposite, np.array([True, True])) is None
    assert sharpness_bound(opposite, np.array([True, True]), np.array([0.0, 1.0])) == math.inf
    assert decompose_along(X, np.array([True] * 3), np.ones(2), np.array([1.0, -1.0])) is None
    with pytest.raises(SolverError, match="no interior"):
        sharpness(opposite, np.array([True, True]), np.array([0.0, 1.0]))


@pytest.mark.parametrize("decompose", [cheap_decomposition, minimum_norm_decomposition])
def test_a_feasible_relaxed_point_from_a_gated_solution(decompose) -> None:
    """KP Prop. 4.2: the same fit, inside of the cones, at most ``factor`` times the gated value."""
    X, y = planted(5, 20, 4)
    program = RelaxedProgram(X, y, sample_patterns(X, 20, np.random.default_rng(1)), 0.4)
    gated = gated_twin(program)
    solution = solve(gated, SOLVER)
    blocks = np.where(np.linalg.norm(solution.blocks, axis=-1, keepdims=True) > 1e-5, solution.blocks, 0.0)
    point = relaxed_from_gated(program, blocks, decompose)
    np.testing.assert_allclose(program.predict(point.blocks), gated.predict(blocks), atol=1e-9)
    assert program.cone_violation(point.blocks) <= 1e-10
    assert point.factor >= 1
    assert gated.value(blocks) <= point.value <= point.factor * gated.value(blocks) * (1 + 1e-12)
    assert solve(program, SOLVER).dual.value <= point.value


def test_projection_norm_is_the_support_function() -> None:
    rng = np.random.default_rng(6)
    X, g = rng.standard_normal((8, 3)), rng.standard_normal(3)
    pattern = PatternSet.from_gates(X, rng.standard_normal((3, 1))).dense[:, 0]
    u = cp.Variable(3)
    problem = cp.Problem(cp.Maximize(g @ u), [cp.norm(u) <= 1, cone_rows(X, pattern) @ u >= 0])
    assert cones.project(X, pattern, g).norm == pytest.approx(problem.solve(solver=cp.CLARABEL), abs=1e-6)
