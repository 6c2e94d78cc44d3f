"""Bounds and certificates of several outputs: Theorem C against brute force, invariances, a proof that is checked."""

import json

import numpy as np
import pytest
from scipy.stats import ortho_group

from reluopt.beta_max import beta_max_estimate
from reluopt.bounds import BOUNDS, Start, beta_max_upper, closed_form, moment, tightened
from reluopt.bounds.output_forms import OutputEvidence, theorem_c
from reluopt.bounds.output_moments import OutputMoments
from reluopt.certificate import checker
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.errors import CertificateError, ConfigError, DataError
from reluopt.network import from_weights
from reluopt.patterns.pattern_set import activation_patterns
from reluopt.problem import Problem
from reluopt.programs.outputs import gated_bound, gated_support
from reluopt.search.descent import descend
from reluopt.search.output_rounds import weighed
from reluopt.search.refinement import refinements
from reluopt.search.solving import solve_problem

ANGLES = np.linspace(0, 2 * np.pi, 361)[:-1]
PLANE = np.stack([np.cos(ANGLES), np.sin(ANGLES)])
QUICK = OutputMoments(iterations=40, runs=3)


def problem_of(spec="squared", n=14, d=3, C=3, seed=0, fraction=0.2):
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.standard_normal((n, d - 1)), np.ones((n, 1))])
    y = np.concatenate([np.arange(C), rng.integers(0, C, n - C)])
    problem = Problem(X, y if spec == "cross_entropy" else np.eye(C)[y], spec)
    return problem.with_beta(fraction * beta_max_estimate(problem))


def quick(problem):
    return QUICK.best(problem, clock=Clock(60.0))


def trained(problem, m=12, seed=0):
    rng = np.random.default_rng(seed)
    return descend(problem, rng.standard_normal((m, problem.d)), rng.standard_normal((m, problem.outputs)), 100)


def test_theorem_c_against_brute_force():
    """On fine grids of u in the plane, for thousands of z and ν: ‖zᵀ(Xu)_+‖ ≤ B, and the best a is an SVD away."""
    rng = np.random.default_rng(0)
    tight = 0.0
    for _ in range(1000):
        n, C = int(rng.integers(1, 7)), int(rng.integers(2, 5))
        X, z = rng.standard_normal((n, 2)), rng.standard_normal((n, C)) * rng.integers(0, 2, (n, 1))
        evidence = theorem_c(z, 10.0 ** rng.uniform(-1, 1, n))
        S = np.maximum(X @ PLANE, 0.0)
        best = float(np.linalg.norm(z.T @ S, axis=0).max())
        at = z.T @ S[:, np.linalg.norm(z.T @ S, axis=0).argmax()]
        assert best == pytest.approx(float(np.linalg.svd(at[:, None])[1][0]))
        bound = evidence.support_upper(X)
        assert best <= bound
        tight = max(tight, best / bound if bound else 0.0)
    assert tight > 0.9


def test_cliques_against_brute_force():
    """Products of pairs with any multipliers ≥ 0 leave the bound valid; where A is not definite nothing is proved."""
    rng = np.random.default_rng(1)
    proved = 0
    for _ in range(150):
        n, C = 5, int(rng.integers(2, 4))
        X, z = rng.standard_normal((n, 2)), rng.standard_normal((n, C))
        r = rng.random((4, 4)) * (rng.random((4, 4)) < 0.5)
        evidence = OutputEvidence(z, np.where(np.arange(n) < 2, 3.0, 1.0), (np.array([0, 1]),), (0.5 * (r + r.T),))
        bound = evidence.support_upper(X)
        assert float(np.linalg.norm(z.T @ np.maximum(X @ PLANE, 0.0), axis=0).max()) <= bound
        proved += np.isfinite(bound)
    assert 50 < proved < 150


def test_multipliers_that_prove_nothing():
    X, z = np.eye(3), np.ones((3, 2))
    for nu, groups, r in (
        (np.array([1.0, 0.0, 1.0]), (), ()),
        (np.array([1.0, -1.0, 1.0]), (), ()),
        (np.array([1.0, np.nan, 1.0]), (), ()),
        (np.ones(3), (np.array([0]),), (-np.ones((2, 2)),)),
    ):
        assert OutputEvidence(z, nu, groups, r).support_upper(X) == np.inf


def test_the_margin_is_needed():
    """At a power-of-two problem the bound is met exactly, so a bound below it would be wrong."""
    X, z = np.array([[1.0]]), np.array([[3.0, 4.0]])
    bound = theorem_c(z, np.array([5.0])).support_upper(X)
    assert 5.0 <= bound <= 5.0 * (1 + 1e-12)


@pytest.mark.parametrize("spec", ["squared", "cross_entropy", "logistic", "hinge"])
def test_bounds_are_below_any_network(spec):
    problem = problem_of(spec)
    U, alpha = trained(problem) if problem.loss.smooth else (np.ones((2, 3)), np.ones((2, 3)))
    rng = np.random.default_rng(0)
    networks = [(U, alpha), (0 * U, 0 * alpha)]
    networks += [(0.2 * rng.standard_normal((4, 3)), 0.2 * rng.standard_normal((4, 3))) for _ in range(20)]
    least = min(problem.objective(*network) for network in networks)
    for bound in (closed_form(problem), quick(problem)):
        assert 0 < bound.value <= least
        assert bound.support * bound.scale <= problem.beta * (1 + 1e-12)
    assert quick(problem).value >= closed_form(problem).value * (1 - 1e-9)


def test_permuting_classes_and_rotating_outputs_change_nothing():
    problem = problem_of()
    U, alpha = trained(problem)
    bound, rotation = quick(problem), ortho_group.rvs(3, random_state=0)
    for turn in (np.eye(3)[[2, 0, 1]], rotation):
        turned = Problem(problem.X, problem.y @ turn, "squared", problem.beta)
        assert turned.objective(U, alpha @ turn) == pytest.approx(problem.objective(U, alpha), rel=1e-12)
        evidence = theorem_c(bound.evidence.z @ turn, bound.evidence.nu)
        assert evidence.support_upper(problem.X) == pytest.approx(bound.support, rel=1e-9)
        assert quick(turned).value == pytest.approx(bound.value, rel=5e-3)
        assert beta_max_estimate(turned) == pytest.approx(beta_max_estimate(problem), rel=1e-9)


def test_weights_count_samples():
    """A sample of weight 2 is two samples, for L and for the proved value."""
    problem = problem_of("cross_entropy")
    twice = np.r_[np.arange(problem.n), 3]
    copied = Problem(problem.X[twice], problem.y[twice], "cross_entropy", problem.beta)
    weighted = Problem(problem.X, problem.y, "cross_entropy", problem.beta, 1.0 + (np.arange(problem.n) == 3))
    U, alpha = trained(problem)
    assert weighted.objective(U, alpha) == pytest.approx(copied.objective(U, alpha), rel=1e-12)
    z = weighted.settled(weighted.dual_point(weighted.predict(U, alpha)))
    apart = copied.settled(copied.dual_point(copied.predict(U, alpha)))
    assert weighted.proved_value(0.5 * z, 1.0)[0] == pytest.approx(copied.proved_value(0.5 * apart, 1.0)[0], rel=1e-9)


def test_one_column_of_outputs_meets_the_scalar_bound():
    """A second target that is zero changes no optimum: the bound of two outputs is one of the first alone."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((14, 3)), rng.standard_normal(14)
    one = Problem(X, y, beta=1.0)
    one = one.with_beta(0.2 * beta_max_estimate(one))
    two = Problem(X, np.stack([y, 0 * y], 1), "squared", one.beta)
    assert beta_max_estimate(two) == pytest.approx(beta_max_estimate(one), rel=1e-9)
    U, alpha = rng.standard_normal((5, 3)), rng.standard_normal(5)
    assert two.objective(U, np.stack([alpha, 0 * alpha], 1)) == pytest.approx(one.objective(U, alpha), rel=1e-12)
    assert quick(two).value <= one.objective(*descend(one, U, alpha, 200))


@pytest.mark.parametrize("spec", ["squared", "cross_entropy"])
def test_beta_max_is_bracketed(spec):
    problem = problem_of(spec)
    low, high = beta_max_estimate(problem), beta_max_upper(problem, time_limit=2.0)
    assert 0 < low <= high <= 2 * low
    above = problem.with_beta(high)
    assert quick(above).value == pytest.approx(above.zero_value, rel=1e-4)


def test_bounds_say_what_they_take():
    several = problem_of()
    one = Problem(several.X, several.y[:, 0], beta=several.beta)
    assert moment(several, time_limit=1.0).method == "vector moment"
    assert "clique" in tightened(several, time_limit=1.5).method
    for name, bound in BOUNDS.items():
        assert bound.takes(one) or name == "vector moment"
        if not bound.takes(several):
            with pytest.raises(ConfigError, match="outputs"):
                bound.best(several, Start(), Clock(1.0))
    with pytest.raises(ConfigError, match="1 output"):
        OutputMoments().best(one)


@pytest.mark.parametrize("spec", ["squared", "cross_entropy", "hinge"])
def test_refinement_goes_down_until_no_neuron_is_dear(spec):
    problem = problem_of(spec)
    start = from_weights(*trained(problem, m=1)) if problem.loss.smooth else None
    values = [problem.objective(*start.weights()) if start else problem.zero_value]
    for at in refinements(problem, start, clock=Clock(3.0), tolerance=1e-2, most_rounds=20):
        assert at.objective <= values[-1] * (1 + 1e-12)
        assert at.objective == pytest.approx(problem.objective(*at.network.weights()), rel=1e-12)
        values.append(at.objective)
    if problem.loss.smooth:
        assert at.status == "settled" and at.price <= 1 + 1e-2 and at.z.shape == problem.y.shape
        wide = problem.objective(*trained(problem, m=40))
        assert values[-1] <= wide * (1 + 1e-2)
    with pytest.raises(DataError, match="outputs"):
        refinements(problem, from_weights(np.ones((2, 3)), np.ones(2)))


@pytest.mark.parametrize("spec", ["squared", "cross_entropy"])
def test_the_group_lasso_is_optimal_for_its_directions(spec):
    """‖zᵀ(Xu_k)_+‖ ≤ β for every direction, and z leads along w_k where there is weight."""
    problem = problem_of(spec)
    U, alpha = trained(problem, m=8)
    u, a = weighed(problem, U, alpha, 5000, Clock())
    assert problem.objective(u, a) <= problem.objective(U, alpha) * (1 + 1e-12)
    z = problem.dual_point(problem.predict(u, a))
    lengths = np.linalg.norm(U, axis=1, keepdims=True)
    prices = np.maximum(problem.X @ (U / lengths).T, 0.0).T @ z
    assert np.linalg.norm(prices, axis=1).max() <= problem.beta * (1 + 1e-4)
    own = np.maximum(problem.X @ (u / np.linalg.norm(u, axis=1, keepdims=True)).T, 0.0).T @ z
    assert np.allclose(own, problem.beta * a / np.linalg.norm(a, axis=1, keepdims=True), atol=1e-3 * problem.beta)


def test_solving_proves_a_gap():
    problem = problem_of()
    solved = solve_problem(problem, gap=3.0, budget=3.0)
    assert solved.status == "gap" and solved.gap <= 3.0 and solved.network.outputs == 3
    assert solved.bound.value <= solved.objective


# -- the gated dual over own patterns ----------------------------------------------------------------------------------


def test_the_gated_support_is_the_largest_singular_value():
    rng = np.random.default_rng(0)
    X, z, D = rng.standard_normal((9, 4)), rng.standard_normal((9, 3)), rng.random((9, 6)) < 0.5
    exact = max(float(np.linalg.norm((z * D[:, [k]]).T @ X, 2)) for k in range(6))
    assert exact <= gated_support(X, D, z) <= exact * (1 + 1e-10)


@pytest.mark.parametrize("spec", ["squared", "cross_entropy"])
def test_the_gated_bound_is_below_networks_of_these_patterns(spec):
    problem = problem_of(spec)
    U, alpha = trained(problem)
    patterns = activation_patterns(problem.X, U.T)
    value = gated_bound(problem, patterns, problem.dual_point(problem.predict(U, alpha)))
    assert 0 < value <= problem.objective(U, alpha)
    rng = np.random.default_rng(0)
    for _ in range(50):  # other networks with these patterns: any lengths and output weights
        size = rng.uniform(0, 1.5, (len(U), 1))
        assert value <= problem.objective(size * U, rng.standard_normal(alpha.shape) * np.linalg.norm(alpha)) + 1e-9


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["squared", "cross_entropy", "huber:0.3"])
def test_a_certificate_is_proved_by_the_checker(tmp_path, spec):
    problem = problem_of(spec)
    U, alpha = trained(problem)
    bound, path = quick(problem), tmp_path / "c.safetensors"
    claims = write_certificate(path, problem, bound=bound, network=(U, alpha))
    assert claims["optimum_at_least"] == pytest.approx(bound.value, rel=1e-6)
    verdict = checker.check(checker.read_certificate(path), problem.X, problem.targets)
    assert verdict.upper >= problem.objective(U, alpha) * (1 - 1e-12) and "3 outputs" in verdict.subject()
    with pytest.raises(checker.Refused):
        checker.check(checker.read_certificate(path), problem.X, problem.targets[:, ::-1].copy())
    data = tmp_path / "data.npz"
    np.savez(data, X=problem.X, y=problem.targets)
    assert checker.main([str(path), "--data", str(data)]) == 0
    other = Problem(problem.X, problem.y[:, 0], beta=problem.beta)
    with pytest.raises(CertificateError, match="outputs"):
        write_certificate(path, other, bound=bound)


def test_certify_a_network_of_several_outputs():
    problem = problem_of()
    U, alpha = trained(problem)
    config = CertifyConfig(effort="fast", time_limit=3.0)
    certificate = certify(from_weights(U, alpha), problem, config=config)
    assert 0 < certificate.lower_bound <= certificate.objective
    assert (
        certificate["own_dual"].value
        <= certificate["own_primal"].value * (1 + 1e-9)
        <= certificate.objective * (1 + 1e-6)
    )
    gated = gated_bound(problem, activation_patterns(problem.X, U.T), problem.dual_point(problem.predict(U, alpha)))
    assert certificate["own_dual"].value >= gated * (1 - 1e-9) and certificate["own_dual"].method == "vector"
    assert certificate.pricing.largest_price_over_beta > 0 and certificate.data["outputs"] == 3
    assert Certificate.from_json(certificate.to_json()).verdict == certificate.verdict
    assert json.loads(certificate.to_json())["data"]["outputs"] == 3
    with pytest.raises(CertificateError, match="outputs"):
        certify(from_weights(U, alpha[:, :2]), problem, config=config)
