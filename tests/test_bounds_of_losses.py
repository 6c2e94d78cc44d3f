"""Every bound of every loss: below the optimum over all cells, below every network, and tight where it should be."""

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import cvxpy as cp
import numpy as np
import pytest
from counts import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from reluopt.bounds import BOUNDS, Bound, Start, best_of, beta_max_upper, race
from reluopt.bounds.all_cells import AllCells
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.moment_search import MomentSearch
from reluopt.bounds.second_moments import SecondMoments
from reluopt.bounds.support import tighten
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.losses import LOSSES, make_loss
from reluopt.patterns.arrangement import all_patterns
from reluopt.problem import Problem

SPECS = ["squared", "huber:0.4", "absolute", "quantile:0.7", "hinge", "squared_hinge", "logistic"]


def test_no_loss_is_left_out():
    assert {spec.partition(":")[0] for spec in SPECS} == set(LOSSES)


def drawn(spec, seed, n=8, d=2, share=0.15, weights=None):
    """A random problem of this loss with β at a share of an upper bound of β_max."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), 1.5 * rng.standard_normal(n)
    y = np.where(y > 0, 1.0, -1.0) if make_loss(spec).classes else y
    problem = Problem(X, y, spec, 1.0, weights)
    return problem.with_beta(share * beta_max_upper(problem))


def expression(loss, f, y):
    """Each ℓ(f_i, y_i) as CVXPY has it."""
    margin = cp.multiply(y, f)
    return {
        "squared": lambda: 0.5 * cp.square(f - y),
        "huber": lambda: 0.5 * cp.huber(f - y, getattr(loss, "delta", 1.0)),
        "absolute": lambda: cp.abs(f - y),
        "quantile": lambda: cp.maximum(getattr(loss, "tau", 0.5) * (y - f), (1 - getattr(loss, "tau", 0.5)) * (f - y)),
        "hinge": lambda: cp.pos(1 - margin),
        "squared_hinge": lambda: 0.5 * cp.square(cp.pos(1 - margin)),
        "logistic": lambda: cp.logistic(-margin),
    }[loss.name]()


def optimum(problem):
    """p* by the convex program over all cells."""
    fit, norms, constraints = 0, 0, []
    for pattern in all_patterns(problem.X).dense.T:
        cone = np.where(pattern, 1.0, -1.0)[:, None] * problem.X
        for sign in (1, -1):
            v = cp.Variable(problem.d)
            constraints.append(cone @ v >= 0)
            fit, norms = fit + sign * (pattern[:, None] * problem.X) @ v, norms + cp.norm(v)
    losses = problem.weights @ expression(problem.loss, fit, problem.y)
    return cp.Problem(cp.Minimize(losses + problem.beta * norms), constraints).solve(solver="CLARABEL")


@cache
def case(spec, seed, weighted=False):
    weights = np.array([0.0, 2.0, 0.5, 1.0, 3.0, 0.25]) if weighted else None
    problem = drawn(spec, seed, n=6, weights=weights)
    return problem, optimum(problem)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", [name for name in BOUNDS if BOUNDS[name].takes(drawn("squared", 0))])
def test_bounds_are_below_the_optimum(name, spec, weighted, ticking):
    problem, best = case(spec, 0, weighted)
    ticking(0.01)
    clock = Clock(0.5) if not BOUNDS[name].quick else Clock()
    found = list(BOUNDS[name].run(problem, start_of(problem), clock))
    assert found
    for bound in found:
        assert 0 <= bound.value <= best * (1 + 1e-6)
        assert bound.scale * bound.support <= problem.beta
        assert (bound.evidence.z[problem.weights == 0] == 0).all()


def start_of(problem):
    return Start(network=(np.ones((1, problem.d)), np.ones(1)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_all_cells_are_the_optimum(spec, weighted):
    for seed in range(tries(1, 4)):
        problem, best = case(spec, seed, weighted)
        assert AllCells().best(problem).value == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_moment_is_the_optimum_of_theorem_b(spec):
    """Second moments and the loss over the interval they allow, by an interior point method."""
    problem = drawn(spec, 2, n=9, d=3)
    X, (n, d), above, below, trace, constraints = problem.X, problem.X.shape, 0, 0, 0, []
    fit = cp.Variable(n)
    for sign in (1, -1):
        Y = cp.Variable((d + 1, d + 1), PSD=True)
        a, B, hi = X @ Y[0, 1:], cp.sum(cp.multiply(X @ Y[1:, 1:], X), axis=1), cp.Variable(n)
        for i in range(n):
            constraints += [hi[i] <= (a[i] + cp.geo_mean(cp.hstack([Y[0, 0], B[i]]))) / 2]
        above, below = (above + hi, below + cp.pos(a)) if sign > 0 else (above - cp.pos(a), below - hi)
        trace += cp.trace(Y)
    constraints += [fit <= above, fit >= below]
    losses = problem.weights @ expression(problem.loss, fit, problem.y)
    value = cp.Problem(cp.Minimize(losses + problem.beta / 2 * trace), constraints).solve(solver="CLARABEL")
    found = SecondMoments().best(problem).value
    assert value * (1 - 5e-3) <= found <= value * (1 + 1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_those_of_the_objectives(spec):
    search, R = MomentSearch(drawn(spec, 3)), np.random.default_rng(0).standard_normal((2, 8, 3))
    gradient, step = search.objective(R, 0.3)[1], 1e-6
    for index in itertools.islice(np.ndindex(*R.shape), 0, None, 5):
        up, down = (search.objective(R + sign * step * _unit(R.shape, index), 0.3)[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((up - down) / (2 * step), abs=1e-5)


def _unit(shape, index):
    E = np.zeros(shape)
    E[index] = 1.0
    return E


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["moment", "exact"])
def test_a_weight_is_a_number_of_repeated_samples(name, spec):
    weights = np.array([1.0, 2.0, 3.0, 1.0, 1.0])
    problem = drawn(spec, 4, n=5, weights=weights)
    rows = np.repeat(np.arange(5), weights.astype(int))
    repeated = Problem(problem.X[rows], problem.y[rows], problem.loss, problem.beta)
    first, second = (BOUNDS[name].best(each).value for each in (problem, repeated))
    assert first == pytest.approx(second, rel=2e-3)


@pytest.mark.parametrize("spec", SPECS)
def test_above_beta_max_the_zero_network_is_proved_optimal(spec, ticking):
    problem = drawn(spec, 5, n=10, d=2)
    for factor in (1.001, 3.0):
        large = problem.with_beta(factor * beta_max_upper(problem))
        assert large.zero_value * (1 - 1e-4) <= SecondMoments().best(large).value <= large.zero_value
    ticking(0.01)
    zero = best_of(race(large, clock=Clock(1.0)))
    assert zero.value == pytest.approx(large.zero_value, rel=1e-4)


@given(st.integers(0, 2**32 - 1), st.sampled_from(SPECS), st.integers(1, 8), st.integers(1, 9))
@settings(max_examples=tries(14, 60))
def test_no_network_is_below_a_bound(seed, spec, n, d):
    rng = np.random.default_rng(seed)
    problem = drawn(spec, seed, n, d, share=float(np.exp(rng.uniform(-4, 0.2))), weights=rng.integers(0, 3, n) + 0.5)
    found = list(race(problem, names=["closed form", "moment", "affine"]))
    assert len(found) >= 3
    for _ in range(8):
        U, alpha = rng.standard_normal((3, d)), rng.standard_normal(3)
        for _ in range(10):  # a few steps of descent: networks near an optimum are the hard ones
            z = problem.dual_point(problem.predict(U, alpha))
            on = (problem.X @ U.T > 0) * z[:, None]
            by_U = problem.beta * U - alpha[:, None] * (on.T @ problem.X)
            by_alpha = problem.beta * alpha - z @ np.maximum(problem.X @ U.T, 0)
            step = 0.1 / (1.0 + float(np.linalg.norm(by_U) + np.linalg.norm(by_alpha)))
            U, alpha = U - step * by_U, alpha - step * by_alpha
        assert all(bound.value <= problem.objective(U, alpha) * (1 + 1e-12) for bound in found)
    assert all(bound.value <= problem.zero_value * (1 + 1e-12) for bound in found)


def test_a_race_refuses_unknown_names():
    with pytest.raises(ConfigError, match="no bound 'fast'"):
        list(race(drawn("squared", 6), names=["fast"]))


def test_a_race_computes_the_moment_bound_once_and_stops_where_it_may(monkeypatch, ticking):
    calls, descend = [], MomentSearch.descend

    def counted(self, *args):
        calls.extend([args] if type(self) is MomentSearch else [])
        descend(self, *args)

    monkeypatch.setattr(MomentSearch, "descend", counted)
    problem = drawn("logistic", 7, n=20, d=8)
    ticking(0.01)
    found = list(race(problem, clock=Clock(2.0)))
    assert len(calls) <= len(SecondMoments().smoothing)
    assert {bound.method for bound in found} > {"closed form", "moment", "affine"}, "others follow"
    first = max(bound.value for bound in found if bound.method == "moment")
    methods = {bound.method for bound in race(problem, clock=Clock(math.inf), stop_at=0.99 * first)}
    assert methods == {"closed form", "moment"}


def test_a_toy_bound_joins_by_its_line_in_the_registry(monkeypatch):
    @dataclass(frozen=True)
    class AtTheNetwork(Bound):
        """Theorem A at the dual point of the network that the race was given."""

        iterations: int = 50
        name: ClassVar[str] = "toy"
        quick: ClassVar[bool] = True

        def suits(self, problem):
            return problem.n < 100

        def run(self, problem, start, clock, device="cpu"):
            z = problem.dual_point(problem.predict(*start.network))
            _, evidence = tighten(problem, z, clock=clock, iterations=self.iterations)
            yield prove(problem, evidence, method=self.name, started=0.0)

    problem, best = case("logistic", 0)
    assert "toy" not in {bound.method for bound in race(problem, start_of(problem), Clock(0.2))}
    monkeypatch.setitem(BOUNDS, "toy", AtTheNetwork())
    found = {bound.method: bound for bound in race(problem, start_of(problem), Clock(0.2))}
    assert 0 < found["toy"].value <= best
    (alone,) = race(problem, start_of(problem), names=["toy"])
    assert 0 < alone.value <= best


def test_beta_max_of_wide_data_needs_no_matrix_of_its_width(monkeypatch):
    """With a time limit no eigenvalue problem of side d is begun that cannot fit; the bound is proved all the same."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 2000)), rng.standard_normal(3)

    for name in ("eigh", "eigvalsh"):

        def small(matrix, *options, solve=getattr(np.linalg, name)):
            assert matrix.shape[-1] <= 10, "an eigenvalue problem of the width was begun"
            return solve(matrix, *options)

        monkeypatch.setattr(np.linalg, name, small)
    upper = beta_max_upper(X, y, time_limit=10.0)
    u = rng.standard_normal((2000, 50))
    assert upper >= np.abs(y @ np.maximum(X @ (u / np.linalg.norm(u, axis=0)), 0)).max()
    assert upper <= np.linalg.norm(X) * np.linalg.norm(y) * (1 + 1e-9)
