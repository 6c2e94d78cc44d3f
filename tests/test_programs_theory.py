"""The convex programs: order, duality, exactness, closed forms."""

import by_formula
import numpy as np
import pytest
import torch

from reluopt.errors import ConfigError, SolverError
from reluopt.patterns.arrangement import all_patterns
from reluopt.patterns.sampling import sample_patterns
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.decomposition import gated_twin
from reluopt.programs.dual import dual_bound, dual_violation
from reluopt.programs.equality import EqualityProgram
from reluopt.programs.exact import ExactProgram
from reluopt.programs.gated import GatedProgram
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram, pattern_gram
from reluopt.search.polynomial import relax
from reluopt.solvers import CvxpySolver, solve
from reluopt.solvers.native import NativeSolver

SOLVER = CvxpySolver(tolerance=1e-8)


def planted(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X, U = rng.standard_normal((n, d)), rng.standard_normal((3, d))
    return X, np.maximum(X @ U.T, 0) @ np.array([1.0, -1.0, 1.0]) + 0.3 * rng.standard_normal(n)


def programs(seed: int) -> list[ConvexProgram]:
    X, y = planted(seed, 12, 4)
    patterns = sample_patterns(X, 15, np.random.default_rng(seed))
    same = (X, y, patterns)
    return [RelaxedProgram(*same, 0.4), GatedProgram(*same, 0.4), RidgeProgram(*same, 0.4), EqualityProgram(*same)]


# -- every program -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("seed", [0, 1])
def test_one_solve_brackets_every_program(which: int, seed: int) -> None:
    program = programs(seed)[which]
    solution = solve(program, SOLVER)
    assert -1e-9 <= solution.relative_gap <= 1e-7
    assert program.cone_violation(solution.blocks) <= 1e-9
    z = solution.dual.scale * solution.z
    assert dual_violation(program, z) <= 1e-12
    assert program.dual_value(z) == pytest.approx(solution.dual.value, rel=1e-9)


@pytest.mark.parametrize("which", range(4))
def test_weak_duality_at_any_point(which: int) -> None:
    program = programs(2)[which]
    rng = np.random.default_rng(3)
    values, duals = [], []
    for scale in (0.0, 0.1, 1.0):
        values.append(program.value(program.repair(scale * rng.standard_normal(program.shape))))
        duals.append(dual_bound(program, program.y + scale * rng.standard_normal(len(program.y))).value)
    assert max(duals) <= min(values)
    assert min(duals) >= 0


@pytest.mark.parametrize("which", [0, 1, 2])
def test_gradient_against_differences(which: int) -> None:
    program = programs(4)[which]
    rng = np.random.default_rng(5)
    blocks, direction = rng.standard_normal(program.shape), rng.standard_normal(program.shape)
    h = 1e-6
    slope = (program.value(blocks + h * direction) - program.value(blocks - h * direction)) / (2 * h)
    assert slope == pytest.approx(float((program.gradient(blocks) * direction).sum()), rel=1e-6)


def test_the_gated_gradient_is_zero_at_the_optimum_and_at_zero_beyond_beta_max() -> None:
    program = programs(6)[1]
    large = GatedProgram(program.X, program.y, program.patterns, 1e4)
    assert not large.gradient(large.zero_blocks()).any()
    assert np.abs(program.gradient(program.zero_blocks())).max() > 0
    blocks = solve(program, CvxpySolver(tolerance=1e-9)).blocks
    blocks = np.where(np.linalg.norm(blocks, axis=-1, keepdims=True) > 1e-4, blocks, 0.0)
    assert np.abs(program.gradient(blocks)).max() < 1e-3


@pytest.mark.parametrize("which", [2, 3])
def test_the_native_solver_says_what_it_does_not_take(which: int) -> None:
    with pytest.raises(SolverError, match="does not take"):
        NativeSolver().solve(programs(0)[which])


def test_ridge_closed_form() -> None:
    program = programs(7)[2]
    assert isinstance(program, RidgeProgram)
    blocks = program.closed_form()
    A = pattern_gram(program.X, program.patterns)
    formula = 0.5 * program.beta * program.y @ np.linalg.solve(A + program.beta * np.eye(len(A)), program.y)
    masked = [d[:, None] * program.X for d in program.patterns.dense.T]
    np.testing.assert_allclose(A, sum(m @ m.T for m in masked), atol=1e-12)
    assert program.value(blocks) == pytest.approx(formula, rel=1e-12)
    assert np.abs(program.gradient(blocks)).max() < 1e-12
    assert dual_bound(program, program.dual_point(blocks)).value == pytest.approx(formula, rel=1e-12)
    assert solve(program, SOLVER).value == pytest.approx(formula, rel=1e-8)


def test_equality_is_the_limit_of_the_gated_program() -> None:
    program = programs(8)[3]
    minimum = solve(program, SOLVER).value
    small = GatedProgram(program.X, program.y, program.patterns, 1e-4)
    ratio = solve(small, SOLVER).value / 1e-4
    assert ratio <= minimum * (1 + 1e-7)
    assert ratio == pytest.approx(minimum, rel=1e-3)
    doubled = EqualityProgram(program.X, program.y, program.patterns, 2.0)
    assert solve(doubled, SOLVER).value == pytest.approx(2 * minimum, rel=1e-6)


def test_equality_says_when_y_cannot_be_fitted() -> None:
    X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    program = EqualityProgram(X, np.array([1.0, -1.0, 0.5]), all_patterns(X))
    with pytest.raises(SolverError, match="cannot be fitted"):
        solve(program, SOLVER)


# -- all patterns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_order_of_gated_exact_and_sampled(seed: int) -> None:
    """p_gated(all) ≤ p* ≤ p̃(S), p_gated(all) ≤ p_gated(S) ≤ p̃(S), with all patterns at hand."""
    X, y = planted(seed, 10, 3)
    every = all_patterns(X)
    some = sample_patterns(X, 6, np.random.default_rng(seed))
    assert (every.positions_of(some) >= 0).all()
    exact, relaxed = ExactProgram(X, y, every, 0.5), RelaxedProgram(X, y, some, 0.5)
    p, sampled = solve(exact, SOLVER), solve(relaxed, SOLVER)
    gated_all, gated = solve(gated_twin(exact), SOLVER), solve(gated_twin(relaxed), SOLVER)
    assert gated_all.dual.value <= p.value
    assert p.dual.value <= sampled.value
    assert gated_all.dual.value <= gated.value
    assert gated.dual.value <= sampled.value
    if seed == 0:
        assert p.value < sampled.value * 0.999  # six patterns are not all of them


def test_exact_program_is_the_best_of_many_trainings() -> None:
    """No training ends below p*; the best of them is within 10⁻⁶ above it."""
    X, y = planted(0, 20, 3)
    beta = 1.0
    solution = solve(ExactProgram.of(X, y, beta), CvxpySolver(tolerance=1e-9))
    assert solution.relative_gap < 1e-9
    networks = _trained(X, y, beta, networks=2, width=300, steps=6000)
    values = [float(by_formula.objective(X, y, U, alpha, beta)) for U, alpha in networks]
    assert min(values) >= solution.dual.value - 1e-9
    assert min(values) <= solution.value * (1 + 1e-6)


def _trained(
    X: np.ndarray, y: np.ndarray, beta: float, *, networks: int, width: int, steps: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Networks trained side by side with Adam, its step falling from 0.03 to 10⁻⁶."""
    generator = torch.Generator().manual_seed(0)
    Xt, yt = torch.from_numpy(X), torch.from_numpy(y)
    U = 0.1 * torch.randn(networks, width, X.shape[1], generator=generator, dtype=torch.float64)
    alpha = 0.1 * torch.randn(networks, width, generator=generator, dtype=torch.float64)
    optimizer = torch.optim.Adam([U.requires_grad_(), alpha.requires_grad_()], lr=0.03)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, (1e-6 / 0.03) ** (1 / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        f = (torch.relu(U @ Xt.T) * alpha[:, :, None]).sum(dim=1)
        (0.5 * ((f - yt) ** 2).sum() + 0.5 * beta * ((U * U).sum() + (alpha * alpha).sum())).backward()
        optimizer.step()
        schedule.step()
    return [(u.detach().numpy(), a.detach().numpy()) for u, a in zip(U, alpha, strict=True)]


def test_the_exact_program_of_too_much_data_is_refused() -> None:
    X, y = planted(0, 60, 6)
    with pytest.raises(ConfigError, match="activation patterns"):
        ExactProgram.of(X, y, 1.0)


def test_the_polynomial_algorithm_returns_a_small_network_below_its_program() -> None:
    X, y = planted(1, 30, 4)
    found = relax(X, y, 0.5, 40, np.random.default_rng(0))
    assert found.objective <= found.solution.value * (1 + 1e-12)
    assert found.objective == pytest.approx(by_formula.objective(X, y, *found.network.weights(), 0.5), rel=1e-12)
    assert found.network.width <= 30
    assert found.guarantee.value == found.objective
    assert len(found.program.patterns) == 40
