"""The bounds beyond moments: all pairs of samples, regions, all cells. Sound, tight, and accepted by the checker."""

import json
import math

import by_formula
import cvxpy as cp
import numpy as np
import pytest

from reluopt.bounds import Start, exact, moment, neighbours, pairwise, splitting, tightened
from reluopt.bounds.all_cells import AllCells
from reluopt.bounds.cells import Cell, lowest_level, positive_part
from reluopt.bounds.dnn import DnnSearch
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.registry import BOUNDS
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.errors import CertificateError, ConfigError
from reluopt.patterns.arrangement import iterate_patterns
from reluopt.problem import Problem

NOISE = np.random.default_rng(0).standard_normal((30, 5))
TINY = Problem(NOISE[:, :4], NOISE[:, 4], beta=1e-300)


def planted(seed, n=12, d=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = by_formula.predict(X, rng.standard_normal((3, d)), rng.standard_normal(3)) + 0.5 * rng.standard_normal(n)
    return X, y, 0.05 * float(np.linalg.norm(X, 2) * np.linalg.norm(y)) / 2


def descended(X, y, beta, seed, width=8, steps=4000, rate=0.003):
    """The objective of a network after plain descent: an upper bound of p*."""
    rng = np.random.default_rng(seed)
    U, alpha = rng.standard_normal((width, X.shape[1])) * 0.5, rng.standard_normal(width) * 0.5
    for _ in range(steps):
        by_U, by_alpha = by_formula.gradient(X, y, U, alpha, beta)
        U, alpha = U - rate * by_U, alpha - rate * by_alpha
    return float(by_formula.objective(X, y, U, alpha, beta))


# -- the pieces ------------------------------------------------------------------------------------------------------


def test_the_least_squares_step_solves_its_equation():
    rng = np.random.default_rng(0)
    cell = Cell(rng.standard_normal((9, 3)), ((2, 1), (5, -1)))
    L = cell.apply(np.eye(cell.core))
    rhs = rng.standard_normal((cell.core, cell.core))
    rhs = rhs + rhs.T
    M = cell.least_squares(rhs)
    np.testing.assert_allclose(M + L.T @ L @ M @ L.T @ L, rhs, atol=1e-9)
    assert cell.products(M) == pytest.approx(L @ M @ L.T)
    W = L @ rhs @ L.T
    assert cell.pulled_back(W) == pytest.approx(L.T @ W @ L)


def test_products_of_a_neuron_are_nonnegative_on_its_region():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((7, 3))
    u = rng.standard_normal(3)
    decided = ((1, 1 if X[1] @ u > 0 else -1), (4, 1 if X[4] @ u > 0 else -1))
    cell = Cell(X, decided)
    v = np.concatenate([[0.7], u, np.maximum(cell.X @ u, 0)])
    W = cell.products(np.outer(v, v))
    assert W.min() >= -1e-12
    cell.set_zero_products(W2 := W.copy())
    np.testing.assert_allclose(W2, W, atol=1e-12)
    heights = np.zeros(7)
    heights[cell.active] = W[0, cell.heights]
    assert heights == pytest.approx(0.7 * np.maximum(X @ u, 0))


def test_positive_part_and_lowest_level():
    rng = np.random.default_rng(2)
    A = rng.standard_normal((8, 8))
    values, vectors = np.linalg.eigh(A + A.T)
    assert positive_part(A + A.T) == pytest.approx((vectors * np.maximum(values, 0)) @ vectors.T)
    X = rng.standard_normal((4, 2))
    C = -np.eye(7) + 0.1 * (A[:7, :7] + A[:7, :7].T)
    level, shift = lowest_level(C, X, np.array([0.0]))
    head = np.diag([1.0, 1, 1, 0, 0, 0, 0])
    assert shift == 0
    assert np.linalg.eigvalsh(level * head - C)[0] == pytest.approx(0, abs=1e-9)
    assert lowest_level(np.eye(7), X, np.array([0.0])) == (math.inf, 0.0)


# -- pairs -----------------------------------------------------------------------------------------------------------


def doubly_nonnegative_sdp(X, y, beta):
    """The pairwise relaxation by an interior point method."""
    n, d = X.shape
    fit, trace, constraints = 0, 0, []
    for sign in (1, -1):
        M = cp.Variable((1 + d + n, 1 + d + n), PSD=True)
        u = np.hstack([np.zeros((n, 1)), X, np.zeros((n, n))])
        s = np.hstack([np.zeros((n, 1 + d)), np.eye(n)])
        forms = np.vstack([np.eye(1, 1 + d + n), s, s - u])
        W = forms @ M @ forms.T
        constraints += [W >= 0, cp.diag(W[1 : 1 + n, 1 + n :]) == 0]
        fit += sign * M[0, 1 + d :]
        trace += cp.trace(M[: 1 + d, : 1 + d])
    problem = cp.Problem(cp.Minimize(cp.sum_squares(fit - y) / 2 + beta / 2 * trace), constraints)
    return problem.solve(solver="CLARABEL")


def test_pairwise_is_the_doubly_nonnegative_relaxation():
    X, y, beta = planted(3, n=5, d=2)
    reference = doubly_nonnegative_sdp(X, y, beta)
    problem = Problem(X, y, beta=beta)
    search = DnnSearch(problem)
    for k in range(1500):
        factor = search.sweep()
        if k < 800 and k % 40 == 39 and not 0.8 < factor < 1.3:
            search.rebalance(factor)
    value, evidence = search.evidence()
    bound = prove(problem, evidence, method="pairwise", started=0.0)
    assert bound.value == pytest.approx(value, rel=1e-9)
    assert bound.value == pytest.approx(reference, rel=1e-3)
    assert bound.value <= reference * (1 + 1e-6)


@pytest.mark.parametrize("seed", [4, 5])
def test_every_iterate_and_every_split_is_a_bound(seed):
    X, y, beta = planted(seed)
    upper = descended(X, y, beta, seed)
    problem = Problem(X, y, beta=beta)
    search = DnnSearch(problem)
    for _ in range(6):
        for _ in range(30):
            search.sweep()
        value, evidence = search.evidence()
        bound = prove(problem, evidence, method="splitting", started=0.0)
        assert bound.value == pytest.approx(max(value, 0), rel=1e-6, abs=1e-9)
        assert bound.value <= upper
        search.split()
    assert len(evidence.regions) == 6


def test_budgets_are_kept_and_never_below_the_moment_bound(ticking):
    X, y, beta = planted(6)
    first = moment(X, y, beta)
    ticking(0.005)
    for bound in (pairwise(X, y, beta, time_limit=1.5), splitting(X, y, beta, time_limit=1.5)):
        assert first.value * (1 - 1e-9) <= bound.value
        assert bound.seconds < 2
    assert pairwise(X, y, beta, time_limit=60, stop_at=0.5 * first.value).seconds < 10


def test_splitting_improves_the_hardest_reference_instance(shared):
    values = json.loads((shared / "reference" / "values.json").read_text())["noise_40x8_b0.1"]
    file = np.load(shared / "reference" / "noise_40x8_b0.1.npz")
    goal = 1.3 * values["moment_bound_dual"]
    bound = splitting(file["X"], file["y"], float(file["beta"]), time_limit=3600.0, stop_at=goal)
    assert goal <= bound.value <= values["best_known"]


SLOW = ("cliques", "branch and bound", "hyperplanes", "hyperplanes at a fixed point")


@pytest.mark.parametrize(("n", "d", "methods"), [(8, 2, ("exact",)), (20, 8, SLOW), (151, 20, ("cliques",))])
def test_tightened_takes_what_fits(n, d, methods, ticking):
    X, y, beta = planted(20, n=n, d=d)
    ticking(0.015 if n == 20 else 0.005)
    bound = tightened(X, y, beta, time_limit=10.0)
    assert any(method in bound.method for method in methods)
    above = descended(X, y, beta, 20, steps=500, rate=0.003 if n < 100 else 0.001)
    assert moment(X, y, beta).value * (1 - 1e-9) <= bound.value <= above < 0.25 * float(y @ y)


# -- all cells -------------------------------------------------------------------------------------------------------


def test_cells_at_a_point_that_is_not_feasible_are_not_cut_without_end(ticking):
    X, y, beta = planted(20, n=16, d=3)
    problem = Problem(X, y, "squared", beta)
    cells = np.hstack([part.dense for part in iterate_patterns(X)]).shape[1]
    planes = AllCells(most_rounds=1)
    (found,) = planes.run(problem, Start(), Clock(None))
    assert found.support > 1.005 * beta, "z violates a constraint"
    assert cells <= len(found.regions.regions) < 1.5 * cells
    truth = exact(X, y, beta).value
    assert 0.5 * truth < found.value <= truth * (1 + 1e-7)
    ticking(1.0)
    assert planes.foretold(problem) == pytest.approx(cells / planes.tried), "the seconds of some for all"


def test_exact_reaches_the_best_known_value(shared):
    values = json.loads((shared / "reference" / "values.json").read_text())["planted_20x3_b0.1"]
    file = np.load(shared / "reference" / "planted_20x3_b0.1.npz")
    bound = exact(file["X"], file["y"], float(file["beta"]))
    assert bound.value <= values["best_known"] <= bound.value * (1 + 1e-6)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_exact_is_above_the_relaxations_and_below_networks(seed):
    X, y, beta = planted(seed, n=9, d=2)
    value = exact(X, y, beta).value
    assert moment(X, y, beta).value <= value * (1 + 1e-6)
    assert value <= descended(X, y, beta, seed)


def test_exact_with_duplicates_zero_rows_and_one_sample():
    X, y, beta = planted(10, n=6, d=2)
    X, y = np.vstack([X, X[:2], -X[:1], np.zeros((1, 2))]), np.concatenate([y, y[:2], [0.3], [1.0]])
    value = exact(X, y, beta).value
    assert moment(X, y, beta).value <= value * (1 + 1e-6)
    assert value <= descended(X, y, beta, 0)
    x, target = np.array([[2.0]]), np.array([3.0])
    # one sample: min ½(f − 3)² + β|f|/2 is at f = 3 − β/2
    assert exact(x, target, 1.0).value == pytest.approx(0.5 * 0.5**2 + 0.5 * 2.5, rel=1e-6)


def test_exact_refuses_too_many_cells():
    X, y, beta = planted(11, n=40, d=8)
    with pytest.raises(ConfigError, match="activation patterns"):
        exact(X, y, beta)


# -- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["moment", "splitting", "neighbours", "exact"])
def test_certificates_are_accepted_by_the_checker(method, tmp_path):
    X, y, beta = planted(12)
    methods = {"moment": moment, "exact": exact, "splitting": splitting, "neighbours": neighbours}
    limit = {"time_limit": 1.0} if method in ("splitting", "neighbours") else {}
    bound = methods[method](X, y, beta, **limit)
    rng = np.random.default_rng(0)
    network = (rng.standard_normal((3, 3)), rng.standard_normal(3))
    claims = write_certificate(tmp_path / "cert", X, y, beta, bound, network=network, data={"name": "planted"})
    verdict = checker.check(checker.read_certificate(tmp_path / "cert"), X, y)
    assert verdict.claims == claims
    assert claims["optimum_at_least"] == pytest.approx(bound.value, rel=1e-8)
    assert claims["objective_at_most"] == pytest.approx(float(by_formula.objective(X, y, *network, beta)), rel=1e-8)
    assert float(verdict.lower) == pytest.approx(bound.value, rel=1e-9)


def test_a_certificate_that_proves_nothing_is_not_written(tmp_path):
    X, y, beta = planted(13)
    bound = moment(X, y, beta)
    object.__setattr__(bound, "value", bound.value * 1.001)
    with pytest.raises(CertificateError, match="proves only"):
        write_certificate(tmp_path / "cert", X, y, beta, bound)
    assert not (tmp_path / "cert").exists()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("beta", [5e-324, 1e-300, 1e-20])
@pytest.mark.parametrize("name", [name for name, bound in BOUNDS.items() if bound.takes(TINY) and bound.suits(TINY)])
def test_bounds_at_the_smallest_beta_end_and_are_below_networks_of_zero_neurons(name, beta, ticking):
    """Where everything undecided is beyond float64; from nothing, and from zero neurons as `solve` begins."""
    ticking(0.02)
    problem = TINY.with_beta(beta)
    for network in (None, (np.zeros((2, 4)), np.zeros(2))):
        values = [one.value for one in BOUNDS[name].run(problem, Start(network=network), Clock(1.0), "cpu")]
        assert values and all(0.0 <= value <= problem.zero_value for value in values)
