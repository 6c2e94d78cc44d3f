"""Convex programs of every loss with sample weights: optimum, dual, gradient, β_max, weights as repetitions."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import cvxpy as cp
import numpy as np
import pytest
import torch

from reluopt.errors import ConfigError, ReluoptError, SolverError
from reluopt.losses import LOSSES, make_loss
from reluopt.losses.huber import Huber
from reluopt.losses.protocol import RealLoss
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.dual import block_norms, dual_bound
from reluopt.programs.equality import EqualityProgram
from reluopt.programs.exact import ExactProgram
from reluopt.programs.gated import GatedProgram
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram
from reluopt.solvers import CvxpySolver, NativeSolver, Status, WarmStart, regularization_path

SPECS = ["squared", "huber:0.5", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]
KINDS = [RelaxedProgram, GatedProgram]


def made(spec, kind, seed=0, n=12, d=3, gates=5, ratio=0.15, weighted=True):
    """A random program at β = ratio · its own β_max."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 2)), 0) @ rng.standard_normal(2) + 0.3 * rng.standard_normal(n)
    if make_loss(spec).classes:
        y = np.where(y > np.median(y), 1.0, -1.0)
    weights = rng.integers(0, 4, n) if weighted else None
    problem = Problem(X, y, spec, 1.0, weights)
    program = kind(problem, PatternSet.from_gates(X, rng.standard_normal((d, gates))))
    return program.with_beta(ratio * block_norms(program, problem.zero_dual_point).max())


def plain_statement(program):
    """The optimum by a statement of its own, block by block and loss by loss, straight into CVXPY."""
    problem, y, k = program.problem, program.y, program.problem.weights
    fit, norms, rows = 0, 0, []
    for side in program.sides:
        for on, sign in zip(program.patterns.dense.T, program.patterns.signs.T, strict=True):
            u = cp.Variable(problem.d)
            fit, norms = fit + side * cp.multiply(on, problem.X @ u), norms + cp.norm(u)
            rows += [cp.multiply(sign, problem.X @ u) >= 0] if program.has_cones else []
    loss, r, m = problem.loss, y - fit, cp.multiply(y, fit)
    each = {
        "squared": lambda: cp.square(r) / 2,
        "huber": lambda: cp.huber(r, loss.delta) / 2,
        "absolute": lambda: cp.abs(r),
        "quantile": lambda: loss.tau * cp.pos(r) + (1 - loss.tau) * cp.neg(r),
        "hinge": lambda: cp.pos(1 - m),
        "squared_hinge": lambda: cp.square(cp.pos(1 - m)) / 2,
        "logistic": lambda: cp.logistic(-m),
    }[loss.name]()
    statement = cp.Problem(cp.Minimize(cp.sum(cp.multiply(k, each)) + program.beta * norms), rows)
    return statement.solve(solver=cp.CLARABEL, tol_gap_rel=1e-9, tol_gap_abs=1e-9, tol_feas=1e-9)


def check_bracket(program, solution, tolerance):
    """Everything recomputed here from the program."""
    assert solution.status is Status.CONVERGED
    assert solution.relative_gap <= tolerance
    assert solution.cone_violation <= 1e-10
    assert solution.value == pytest.approx(program.value(solution.blocks), rel=1e-12)
    tz = solution.dual.scale * solution.z
    assert block_norms(program, tz).max() <= program.beta * (1 + 1e-9)
    assert solution.dual.value <= program.dual_value(tz) + 1e-12 * solution.value


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_the_bracket_holds_the_optimum(spec, kind, seed):
    program = made(spec, kind, seed, weighted=seed > 0)
    optimum = plain_statement(program)
    for solver in (CvxpySolver(tolerance=1e-6), NativeSolver(tolerance=1e-7)):
        solution = solver.solve(program)
        check_bracket(program, solution, solver.tolerance)
        assert solution.value == pytest.approx(optimum, rel=1e-6)
        assert solution.dual.value <= optimum * (1 + 1e-7)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_weak_duality_at_any_point(spec, kind):
    program = made(spec, kind)
    rng = np.random.default_rng(3)
    values, duals = [], []
    for scale in (0.0, 0.1, 1.0):
        blocks = program.repair(scale * rng.standard_normal(program.shape))
        values.append(program.value(blocks))
        # a z out of the domain is brought into it
        duals.append(dual_bound(program, program.dual_point(blocks)).value)
        duals.append(dual_bound(program, 3 * rng.standard_normal(program.problem.n)).value)
    assert max(duals) <= min(values)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_against_autograd(spec, kind):
    program = made(spec, kind)
    problem, blocks = program.problem, np.random.default_rng(5).standard_normal(program.shape)
    u = torch.tensor(blocks, requires_grad=True)
    masked = torch.tensor(program.patterns.dense) * (torch.tensor(problem.X) @ u.transpose(1, 2))
    f = (torch.tensor(program.sides)[:, None, None] * masked).sum(dim=(0, 2))
    value = (torch.tensor(problem.weights) * problem.loss.value(f, torch.tensor(problem.y))).sum()
    value = value + program.beta * u.norm(dim=-1).sum()
    value.backward()
    assert program.value(blocks) == pytest.approx(value.item(), rel=1e-12)
    assert np.allclose(program.gradient(blocks), u.grad.numpy(), atol=1e-9)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_beta_max_makes_zero_optimal(spec, kind):
    program = made(spec, kind, ratio=1.0)
    above, below = program.with_beta(1.001 * program.beta), program.with_beta(0.9 * program.beta)
    zero = program.problem.zero_value
    assert dual_bound(above, above.problem.zero_dual_point).value == pytest.approx(zero, rel=1e-12)
    for solver in (CvxpySolver(), NativeSolver()):
        solution = solver.solve(above)
        assert not solution.blocks.any()
        assert solution.value == zero
    if program.problem.loss.smooth:  # with kinks z of the zero network is not unique
        assert NativeSolver(tolerance=1e-7).solve(below).value < zero * (1 - 1e-6)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_repetitions(spec, kind):
    one = made(spec, kind, 1)
    problem, times = one.problem, one.problem.weights.astype(int)
    # samples of weight 0 keep their rows in the cones, and leave the loss
    repeated = np.repeat(np.arange(problem.n), np.maximum(times, 1))
    kept = (times > 0)[repeated].astype(float)
    many_problem = Problem(problem.X[repeated], problem.y[repeated], problem.loss, problem.beta, kept)
    many = kind(many_problem, PatternSet.from_dense(one.patterns.dense[repeated]))
    blocks = one.repair(np.random.default_rng(0).standard_normal(one.shape))
    assert one.value(blocks) == pytest.approx(many.value(blocks), rel=1e-12)
    assert np.allclose(one.gradient(blocks), many.gradient(blocks), atol=1e-9)
    z = one.dual_point(blocks)
    spread = (z / np.maximum(times, 1))[repeated]
    assert dual_bound(one, z).value == pytest.approx(dual_bound(many, spread).value, rel=1e-6)
    optima = [NativeSolver(tolerance=1e-7).solve(program).value for program in (one, many)]
    assert optima[0] == pytest.approx(optima[1], rel=2e-7)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.9, 1e-3])
def test_the_native_solver_from_little_to_much_decay(spec, kind, ratio):
    program = made(spec, kind, 2, n=24, d=4, gates=8, ratio=ratio)
    check_bracket(program, NativeSolver(tolerance=1e-6).solve(program), 1e-6)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", KINDS)
def test_warm_starts_and_paths(spec, kind):
    program = made(spec, kind, 3, n=16)
    cold = NativeSolver(tolerance=1e-6).solve(program)
    starts = (
        cold,
        cold.blocks,
        WarmStart(cold.blocks),
        WarmStart(cold.blocks, cold.z),
        WarmStart(program.zero_blocks(), program.y),
    )
    native, cvxpy = NativeSolver(tolerance=1e-6), CvxpySolver(tolerance=1e-5)
    for start, solver in [*((start, native) for start in starts), (cold, cvxpy), (starts[-1], cvxpy)]:
        check_bracket(program, solver.solve(program, start), solver.tolerance)
    betas = program.beta * np.array([3.0, 1.0, 0.5, 0.2])
    for beta, solution in zip(betas, regularization_path(program, betas.tolist()), strict=True):
        check_bracket(program.with_beta(beta), solution, 1e-6)


@pytest.mark.parametrize("spec", ["huber:0.5", "logistic", "hinge", "quantile:0.9"])
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_of_the_data_do_not_matter(spec, unit):
    program = made(spec, RelaxedProgram, 4)
    problem = program.problem
    scaled = RelaxedProgram(
        Problem(unit * problem.X, problem.y, problem.loss, unit * problem.beta, problem.weights), program.patterns
    )
    ours, other = NativeSolver(tolerance=1e-7).solve(program), NativeSolver(tolerance=1e-7).solve(scaled)
    check_bracket(scaled, other, 1e-7)
    assert ours.value == pytest.approx(other.value, rel=1e-7)


def test_a_warm_start_that_does_not_fit_is_refused():
    program = made("hinge", GatedProgram)
    for bad in (
        program.zero_blocks()[:, 1:],
        np.full(program.shape, np.nan),
        WarmStart(program.zero_blocks(), np.ones(3)),
    ):
        for solver in (NativeSolver(), CvxpySolver()):
            with pytest.raises(ConfigError, match="warm start"):
                solver.solve(program, bad)


@dataclass(frozen=True)
class PseudoHuber(RealLoss):
    """δ²(√(1 + r²/δ²) − 1): its domain [−δ, δ] ends at an infinite D', as that of the logistic loss."""

    delta: float = 1.0
    name: ClassVar[str] = "pseudo-huber"

    def rescaled(self, unit):
        return PseudoHuber(self.delta / unit), unit * unit

    def value(self, f, y):
        return self.delta**2 * ((1 + ((f - y) / self.delta) ** 2) ** 0.5 - 1)

    def gradient(self, f, y):
        return (f - y) / (1 + ((f - y) / self.delta) ** 2) ** 0.5

    def curvature(self, f, y):
        return (1 + ((f - y) / self.delta) ** 2) ** -1.5

    def prox(self, f, y, step):
        raise NotImplementedError

    def domain(self, y):
        return 0 * y - self.delta, 0 * y + self.delta

    def dual(self, z, y):
        return y * z + self.delta**2 * ((1 - (z / self.delta) ** 2).clip(0, 1) ** 0.5 - 1)

    def dual_gradient(self, z, y):
        return y - z / (1 - (z / self.delta) ** 2) ** 0.5

    def dual_curvature(self, z, y):
        return (1 - (z / self.delta) ** 2) ** -1.5

    def dual_exact(self, z, y):
        if abs(z) > self.delta:
            return None
        root = Fraction(math.sqrt(1 - (z / Fraction(self.delta)) ** 2)) - Fraction(1, 10**12)
        return y * z + Fraction(self.delta) ** 2 * (root - 1)

    def value_exact(self, f, y):
        raise NotImplementedError


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_the_solver_has_never_heard_of(kind):
    program = made("squared", kind)
    other = program.with_problem(
        Problem(program.X, program.y, PseudoHuber(), program.beta / 3, program.problem.weights)
    )
    check_bracket(other, NativeSolver(tolerance=1e-6).solve(other), 1e-6)
    assert not CvxpySolver().supports(other)


def test_programs_are_made_of_problems_or_of_their_parts():
    program = made("squared", RelaxedProgram, weighted=False)
    problem, patterns = program.problem, program.patterns
    for same in (
        RelaxedProgram(problem.X, problem.y, patterns, problem.beta),
        RelaxedProgram(problem.X.tolist(), problem.y[:, None], patterns, problem.beta),
        program.with_beta(2.0).with_beta(problem.beta),
        program.with_patterns(patterns),
    ):
        assert isinstance(same, RelaxedProgram)
        blocks = np.ones(same.shape)
        assert same.value(blocks) == program.value(blocks)
    with pytest.raises(ConfigError, match="PatternSet"):
        RelaxedProgram(problem.X, problem.y, problem.beta)
    with pytest.raises(ReluoptError):
        RelaxedProgram(problem, problem.y, patterns)
    assert ExactProgram.of(problem).problem is problem


def test_what_has_no_dual_is_refused():
    program = made("logistic", GatedProgram)
    with pytest.raises(ConfigError, match="ridge"):
        RidgeProgram(program.problem, program.patterns)
    weighted = made("squared", GatedProgram)
    with pytest.raises(ConfigError, match="weights"):
        RidgeProgram(weighted.problem, weighted.patterns)
    # the loss does not enter an exact fit
    assert EqualityProgram(program.problem, program.patterns).dual_value(program.y) == program.y @ program.y


def test_a_solver_says_what_it_does_not_take():
    class Unheard(Huber):
        name = "unheard"

    program = made("squared", GatedProgram, weighted=False)
    problem = Problem(program.X, program.y, Unheard(), program.beta)
    unknown = program.with_problem(problem)
    assert not CvxpySolver().supports(unknown)
    with pytest.raises(SolverError, match="unheard"):
        CvxpySolver().solve(unknown)


def test_every_loss_is_tested():
    assert {make_loss(spec).name for spec in SPECS} == set(LOSSES)
