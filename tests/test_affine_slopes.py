"""Affine slopes: any numbers that obey their rules prove something true, in the package and in the checker."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import test_checker as oracle
from test_bounds_of_losses import SPECS, case, drawn

from reluopt.bounds.affine_search import AffineSearch, best_tilt
from reluopt.bounds.affine_slopes import AffineSlopes
from reluopt.bounds.evidence import Multipliers
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.protocol import Start
from reluopt.bounds.region_forms import Geometry, region_upper
from reluopt.bounds.second_moments import SecondMoments, beta_max_upper
from reluopt.bounds.slopes import Slopes
from reluopt.certificate import checker
from reluopt.certificate.checker.leaf import Multipliers as Read
from reluopt.certificate.checker.leaf import leaf_upper
from reluopt.certificate.checker.regions import Leaf
from reluopt.certificate.checker.slopes import Slopes as ReadSlopes
from reluopt.certificate.checker.slopes import check_slopes, slanted
from reluopt.certificate.file import write_certificate
from reluopt.problem import Problem


def sphere(rng, d, count=400):
    u = rng.standard_normal((d, count))
    return u / np.linalg.norm(u, axis=0)


def random_multipliers(rng, X, z):
    """Any numbers that obey the rules of one sign of z, with cuts or without, some slopes far from their ends."""
    n, d = X.shape
    cuts = rng.standard_normal((rng.integers(0, 3), d))
    factor = rng.uniform(-1, 1, (rng.integers(0, 4), d))
    eta = rng.standard_normal(n) * rng.integers(0, 2, n) * np.exp(rng.uniform(-3, 1, n))
    swing = np.abs(eta) * np.linalg.norm(X @ factor.T @ factor, axis=1)
    low = rng.exponential(0.3, (1 + len(cuts), n)) * rng.integers(0, 2, (1 + len(cuts), n))
    low[0] += swing * (1 + 1e-9) + 1e-30
    w = low + rng.exponential(0.3, low.shape) * rng.integers(0, 2, low.shape)
    w[0] = np.maximum(z + low[0] + swing, 0.0) * (1 + 1e-9) + 1e-12 + rng.exponential(0.1, n) * rng.integers(0, 2, n)
    slopes = Slopes(factor, eta, float(rng.standard_normal()))
    return cuts, Multipliers(w, low, np.exp(rng.uniform(-2, 1, n)), (), slopes)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_quadratic_form_is_above_on_the_sphere_and_the_bound_in_the_ball(d):
    rng = np.random.default_rng(d)
    for _ in range(60):
        X, u = rng.standard_normal((rng.integers(1, 7), d)), sphere(rng, d)
        z = rng.standard_normal(len(X))
        cuts, m = random_multipliers(rng, X, z)
        inside = u[:, (cuts @ u >= 0).all(axis=0)]
        truth, geometry = z @ np.maximum(X @ inside, 0), Geometry.of(X, cuts, ())
        a = np.vstack([np.ones(inside.shape[1]), inside])
        M, error, _ = geometry.matrix(z, m)
        assert error < 1e-9
        form = np.einsum("ij,ik,kj->j", a, M, a)
        assert (form >= truth - 1e-9).all()
        bound = geometry.support_upper(z, m)
        assert truth.max(initial=0.0) <= bound < np.inf
        # the checker proves the same from the same numbers, whatever the level
        level = geometry.level(z, m) * rng.choice([0.9, 1.0, 1.1])
        read = Read(m.w, m.c, m.nu, (), level, ReadSlopes(m.slopes.factor, m.slopes.eta, m.slopes.tilt))
        found = float(leaf_upper(X, z, Leaf(0, (1, -1), cuts, [], slice(0, 1), []), read))
        assert found >= truth.max(initial=0.0)
        assert level < geometry.level(z, m) or found >= bound * (1 - 1e-9)


def test_a_factor_orthogonal_to_a_sample_leaves_a_bound_that_the_checker_repeats(tmp_path):
    """‖Wx‖ is nothing but rounding there, and η = c/‖Wx‖ would make rounding as large as the bound."""
    rng = np.random.default_rng(3)
    X = np.vstack([np.eye(3), rng.standard_normal((7, 3))])
    problem = Problem(X, np.array([-1.0, 0.5, -0.7, *rng.standard_normal(7)]), beta=0.3)
    search = AffineSearch(problem)
    search.R = np.repeat(np.array([[[1.0, 0.0, 0.6, 0.8]]]), 2, axis=0)
    evidence = search.evidence(1e-3)
    m = next(m for m in (evidence.regions[0].positive, evidence.regions[0].negative) if m.c[0, 0] > 0)
    assert m.slopes.eta[0] > 0, "the sample has a slope"
    _, error, _ = Geometry.of(X, np.zeros((0, 3)), ()).matrix(evidence.z, m)
    assert error < 1e-7
    bound = prove(problem, evidence, method="affine", started=0.0)
    claims = write_certificate(tmp_path / "proof.safetensors", problem, bound=bound)
    assert claims["optimum_at_least"] >= bound.value * (1 - 1e-8)


def test_what_is_too_small_or_too_large_proves_nothing():
    rng = np.random.default_rng(0)
    X, z = rng.standard_normal((5, 2)), np.array([1.0, -1.0, 2.0, -0.5, -3.0])
    slopes = Slopes(np.eye(2), np.full(5, 0.1), 0.2)
    swing = 0.1 * np.linalg.norm(X, axis=1)
    low = swing * (1 + 1e-9)
    good = Multipliers((np.maximum(z + 2 * low, 0))[None], low[None], np.where(z + 2 * low > 0, 1.0, 0.0), (), slopes)
    geometry = Geometry.of(X, np.zeros((0, 2)), ())
    assert geometry.support_upper(z, good) < np.inf
    for bad in (
        replace(good, c=good.c * (1 - 1e-6)),
        replace(good, w=good.w * (1 - 1e-6)),
        replace(good, slopes=replace(slopes, factor=1.01 * np.eye(2))),
        replace(good, slopes=replace(slopes, eta=1.01 * slopes.eta)),
        replace(good, slopes=replace(slopes, eta=slopes.eta * np.nan)),
        replace(good, slopes=replace(slopes, tilt=np.inf)),
    ):
        assert geometry.support_upper(z, bad) == np.inf


def test_the_rounding_that_is_counted_covers_what_is_lost():
    """The same sums with 60 digits: Wx, and what slopes and tilt add to M; numbers that cancel."""
    rng = np.random.default_rng(0)
    exact = np.vectorize(oracle.mpmath.mpf, otypes=[object])
    for _ in range(20):
        X = rng.standard_normal((4, 3)) * 10.0 ** rng.integers(-8, 8, (4, 1))
        V = rng.uniform(-1, 1, (2, 3))
        V[1] = V[0] * (1 + 1e-13)
        X[0] = np.cross(V[0], rng.standard_normal(3))  # Vx cancels
        s = ReadSlopes(V, rng.standard_normal(4), float(rng.standard_normal() * 10.0 ** rng.integers(-3, 6)))
        with oracle.mpmath.workdps(60):
            images = exact(X).dot(exact(V).T).dot(exact(V))
            H = exact(X).T.dot(exact(s.eta)[:, None] * images)
            M, off = slanted(X, s, 0)
            true = -(H + H.T) / 2 - s.tilt * exact(np.eye(3))
            lost = np.sqrt(sum(v * v for v in (exact(M[1:, 1:]) - true).ravel()))
            assert lost <= float(off)
            assert (exact(checker.slopes.reaches(X, s)) ** 2 >= exact(s.eta) ** 2 * (images**2).sum(axis=1)).all()


def test_numbers_at_the_ends_of_the_domain_are_refused_or_finite():
    top = 2.0**256
    for X, eta in ((np.full((2, 2), top), top), (np.full((2, 2), 2.0**-1074), 2.0**-1074), (np.zeros((2, 2)), top)):
        s = ReadSlopes(np.ones((1, 2)), np.full(2, eta), 0.0)
        try:
            above = check_slopes(X, np.ones(2, bool), np.full(2, top), s)
        except checker.Refused:
            assert X[0, 0] == top
            continue
        assert np.isfinite(above).all()
        assert (above > top).all()
        M, off = slanted(X, s, 0)
        assert np.isfinite(M).all()
        assert off > 0


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_with_the_scaled_factors(spec):
    search, R = AffineSearch(drawn(spec, 3)), np.random.default_rng(0).standard_normal((2, 8, 3))
    gradient, step = search.objective(R, 0.3)[1], 1e-6
    for index in itertools.islice(np.ndindex(*R.shape), 0, None, 5):
        E = np.zeros(R.shape)
        E[index] = step
        up, down = search.objective(R + E, 0.3)[0], search.objective(R - E, 0.3)[0]
        assert gradient[index] == pytest.approx((up - down) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("spec", ["squared", "huber:0.4", "logistic"])
def test_affine_slopes_are_between_the_moment_bound_and_the_optimum_and_the_checker_agrees(spec, tmp_path):
    problem, best = case(spec, 0, SPECS.index(spec) % 2 == 1)
    moment, affine = SecondMoments(iterations=60).best(problem), AffineSlopes(iterations=60).best(problem)
    assert moment.value * (1 - 1e-2) <= affine.value <= best * (1 + 1e-6)
    claims = write_certificate(tmp_path / "certificate", problem, bound=affine)
    assert claims["optimum_at_least"] >= affine.value * (1 - 1e-8)


def test_the_tilt_lowers_the_bound():
    problem = drawn("squared", 1, n=12, d=3)
    search = AffineSearch(problem)
    search.descend(0.1, 30, 10.0)
    evidence = search.evidence(0.1)
    geometry = Geometry.of(problem.X, np.zeros((0, 3)), ())
    m = evidence.regions[0].positive
    flat, tilted = (geometry.support_upper(evidence.z, part) for part in (m.with_tilt(0.0), m))
    assert best_tilt(geometry, evidence.z, m) == pytest.approx(m.slopes.tilt)
    assert tilted <= flat * (1 + 1e-6)
    for other in (0.5, 1.5):  # convex: nothing on either side is better
        assert geometry.support_upper(evidence.z, m.with_tilt(other * m.slopes.tilt)) >= tilted * (1 - 1e-6)


@pytest.mark.parametrize("rows", [1, 12])
def test_rows_are_added_until_the_proof_meets_the_objective(rows):
    """The optimal moments have more than a few rows here; from too few rows, or too many, the same value is proved."""
    problem = drawn("squared", 8, n=30, d=6, share=0.02)
    search, proved = AffineSearch(problem, rows=rows), []
    for epsilon in (0.1, 0.1, 0.03, 0.03, 0.01):
        search.descend(epsilon, 120, 10.0)
        evidence = search.evidence(epsilon)
        proved.append(prove(problem, evidence, method="affine", started=0.0).value)
        limit = search.objective_without_smoothing()
        assert max(proved) <= limit * (1 + 1e-9)
        search.escape(evidence)
    assert search.R.shape[1] >= 5
    assert max(proved) >= limit * (1 - 5e-3)


def test_a_start_at_the_moment_bound_is_never_worse_than_it():
    problem = drawn("squared", 9, n=15, d=3, share=0.05)
    moment = SecondMoments(iterations=60).best(problem)
    warm = AffineSlopes(iterations=60).best(problem, Start(moments=moment))
    cold = AffineSlopes(iterations=60).best(problem)
    assert warm.value >= moment.value
    assert warm.value == pytest.approx(cold.value, rel=1e-2)


def test_above_beta_max_the_zero_network_is_proved_optimal():
    problem = drawn("squared", 5, n=20, d=3)
    large = problem.with_beta(2 * beta_max_upper(problem))
    found = AffineSlopes(iterations=60, rounds=1).best(large)
    assert large.zero_value * (1 - 1e-3) <= found.value <= large.zero_value


def test_wide_data_are_proved_in_the_space_of_their_rows():
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((6, 40)), rng.standard_normal(6)
    problem = Problem(X, y, "squared", 1.0)
    problem = problem.with_beta(0.2 * float(np.abs(y @ np.maximum(X @ sphere(rng, 40), 0)).max()))
    moment, affine = SecondMoments(iterations=60).best(problem), AffineSlopes(iterations=60).best(problem)
    assert affine.value >= moment.value * (1 - 1e-3)
    truth = np.abs(affine.evidence.z @ np.maximum(X @ sphere(rng, 40, 5000), 0)).max()
    (whole,) = affine.evidence.regions
    assert truth <= affine.support <= region_upper(X, affine.evidence.z, whole) * (1 + 1e-6)
