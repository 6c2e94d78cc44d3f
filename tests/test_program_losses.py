"""Convex programs of every loss with sample weights: optimum, dual, gradient, β_max, weights as repetitions."""

import cvxpy as cp
import numpy as np
import pytest
import torch

from reluopt.errors import ConfigError, ReluoptError, SolverError
from reluopt.losses import LOSSES, make_loss
from reluopt.losses.huber import Huber
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.dual import block_norms, dual_bound
from reluopt.programs.equality import EqualityProgram
from reluopt.programs.exact import ExactProgram
from reluopt.programs.gated import GatedProgram
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.programs.ridge import RidgeProgram
from reluopt.solvers import CvxpySolver, Status

SPECS = ["squared", "huber:0.5", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]
KINDS = [RelaxedProgram, GatedProgram]


def made(spec, kind, seed=0, n=14, d=3, gates=6, ratio=0.15, weighted=True):
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
@pytest.mark.parametrize("seed", range(3))
def test_the_bracket_holds_the_optimum(spec, kind, seed):
    program = made(spec, kind, seed, weighted=seed > 0)
    optimum = plain_statement(program)
    solution = CvxpySolver(tolerance=1e-6).solve(program)
    check_bracket(program, solution, 1e-6)
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
    solution = CvxpySolver(tolerance=1e-6).solve(above)
    assert not solution.blocks.any()
    assert solution.value == zero
    if program.problem.loss.smooth:
        assert CvxpySolver(tolerance=1e-7).solve(below).value < zero * (1 - 1e-6)


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
