"""Lower bounds: sound against brute force, tight against independent solvers, proved whatever the scale of the data."""

import itertools
import json
import math
from fractions import Fraction

import by_formula
import numpy as np
import pytest
from counts import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import theorem_a_sdp, theorem_b_sdp

from reluopt.bounds import beta_max_upper, closed_form, moment
from reluopt.bounds.cells import Cell, lowest_level
from reluopt.bounds.evidence import Evidence, Multipliers, Region, theorem_a
from reluopt.bounds.moment_search import MomentSearch
from reluopt.bounds.region_forms import Geometry, evidence_upper
from reluopt.bounds.support import SupportSearch, tighten
from reluopt.certificate import checker
from reluopt.certificate.packing import evidence_tensors
from reluopt.errors import ConfigError, DataError
from reluopt.problem import Problem


def complete_tree(depth):
    """The tree that cuts by directions 0, 1, …, in the order of ``itertools.product((1, -1), …)`` at its leaves."""
    rows = [[k, 2 * (2**k + i) - 1, 2 * (2**k + i)] for k in range(depth) for i in range(2**k)]
    return np.array([*rows, *([-1, leaf, -1] for leaf in range(2**depth))], dtype=np.int64)


def unit_vectors(rng, d, count):
    U = rng.standard_normal((d, count))
    return U / np.linalg.norm(U, axis=0)


def planted(seed, n=30, d=4):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = by_formula.predict(X, rng.standard_normal((3, d)), rng.standard_normal(3)) + 0.3 * rng.standard_normal(n)
    return X, y, 0.1 * float(np.linalg.norm(X, 2) * np.linalg.norm(y)) / 2


# -- Theorem A -----------------------------------------------------------------------------------------------------


def test_theorem_a_holds_for_any_multipliers():
    rng = np.random.default_rng(0)
    for _ in range(tries(500, 2000)):
        n, d = rng.integers(1, 7), rng.integers(1, 4)
        X, z = rng.standard_normal((n, d)), rng.standard_normal(n)
        q = np.abs(rng.standard_normal(n)) * rng.integers(0, 2, n)
        w = np.nextafter(z + q, np.inf) + rng.integers(0, 2, n) * np.abs(rng.standard_normal(n))
        m = Multipliers(w[None], q[None], np.exp(rng.standard_normal(n)), ())
        bound = Geometry.of(X, np.zeros((0, d)), ()).support_upper(z, m)
        assert math.isfinite(bound)
        assert (z @ np.maximum(X @ unit_vectors(rng, d, 60), 0)).max() <= bound


def random_groups(rng, n):
    """Up to three disjoint groups of samples, each in rising order, now and then an empty one."""
    order, ends = rng.permutation(n), np.sort(rng.integers(0, n + 1, rng.integers(0, 4)))
    return tuple(np.sort(order[start:end]) for start, end in zip([0, *ends], ends, strict=False))


def random_multipliers(rng, geometry, z):
    n, f = len(z), len(geometry.F)
    c = np.abs(rng.standard_normal((f, n))) * rng.integers(0, 2, (f, n)) * geometry.free
    w = (c + np.abs(rng.standard_normal((f, n))) * rng.integers(0, 2, (f, n))) * geometry.free
    w[0] = np.where(geometry.free, np.nextafter(z + c[0], np.inf), 0.0)
    nu = np.where(geometry.free, np.exp(rng.standard_normal(n)), 0.0)
    r = []
    for group in geometry.groups:
        nu[group] = 3 + rng.standard_normal(len(group))
        r.append(np.abs(rng.standard_normal((f + 2 * len(group),) * 2)) / (1 + 2 * len(group)))
    return Multipliers(w, c, nu, tuple(r))


def random_evidence(rng):
    """(X, evidence): all sign patterns of up to two cuts, of which one may decide a sample; groups in each region."""
    n, d, k = rng.integers(2, 9), rng.integers(2, 4), rng.integers(0, 3)
    X, z, directions = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal((k, d))
    if k:
        directions[0] = rng.choice([-1, 1]) * X[rng.integers(n)]
    regions = []
    for signs in itertools.product((1, -1), repeat=k):
        cuts, groups = np.array(signs).reshape(-1, 1) * directions, random_groups(rng, n)
        geometry = Geometry.of(X, cuts, groups)
        sides = [random_multipliers(rng, geometry, signed) for signed in (z, -z)]
        regions.append(Region(cuts, groups, sides[0], sides[1]))
    return X, Evidence(z, directions, complete_tree(int(k)), tuple(regions))


def test_no_direction_exceeds_what_random_groups_of_pairs_prove():
    """Brute force over u, region by region and for the whole; the checker derives the same bound."""
    rng, proved, count = np.random.default_rng(1), 0, tries(60, 200)
    for _ in range(count):
        X, evidence = random_evidence(rng)
        U = np.hstack([unit_vectors(rng, X.shape[1], 2000), X.T / np.linalg.norm(X, axis=1)])
        reached = evidence.z @ np.maximum(X @ U, 0)
        for region in evidence.regions:
            inside = (region.cuts @ U >= 0).all(axis=0)
            geometry = Geometry.of(X, region.cuts, region.groups)
            assert (reached[inside] <= geometry.support_upper(evidence.z, region.positive)).all()
            assert (-reached[inside] <= geometry.support_upper(-evidence.z, region.negative)).all()
        if math.isfinite(bound := evidence_upper(X, evidence)):
            proved += 1
            problem = checker.Problem(*X.shape, "", checker.Loss("squared", Fraction(0)), False, 1.0)
            c = checker.Certificate(problem, {}, evidence_tensors(X, evidence))
            assert float(checker.support_upper(c, X, evidence.z)) == pytest.approx(bound, rel=1e-9)
    assert proved > 0.4 * count


@given(st.integers(0, 2**32 - 1), st.integers(-12, 12))
@settings(max_examples=tries(50, 150))
def test_groups_stay_sound_whatever_the_scale(seed, decades):
    """Columns of very different size, duplicated and zero rows."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 8)), int(rng.integers(1, 4))
    X, z = rng.standard_normal((n, d)), rng.standard_normal(n) * 10.0 ** rng.integers(-6, 7)
    X[:, 0] *= 10.0**decades
    X[rng.random(n) < 0.2] = X[0]
    X[rng.random(n) < 0.1] = 0.0
    geometry = Geometry.of(X, np.zeros((0, d)), random_groups(rng, n))
    m = random_multipliers(rng, geometry, z)
    U = rng.standard_normal((d, 500)) / np.where(np.arange(d) == 0, 10.0 ** rng.integers(0, 13, 500)[:, None], 1.0).T
    assert (z @ np.maximum(X @ (U / np.linalg.norm(U, axis=0)), 0)).max() <= geometry.support_upper(z, m)


def test_elimination_proves_the_smallest_level_of_the_whole_core():
    """One group of all samples, and its form written down on (1, u, s) by ``Cell``."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        X, z, nu = rng.standard_normal((6, 3)), rng.standard_normal(6), 3 + np.exp(rng.standard_normal(6))
        cell, r = Cell(X, ((2, 1), (4, -1))), np.abs(rng.standard_normal((11, 11))) / 11
        nu[[2, 4]] = 0.0
        C = cell.pulled_back(0.5 * (r + r.T)) + cell.linear(z, nu[cell.paired])
        level, _ = lowest_level(C, cell.X, np.zeros(1))
        geometry = Geometry.of(X, cell.cuts, (cell.paired,))
        m = Multipliers(np.zeros((3, 6)), np.zeros((3, 6)), nu, (r,))
        assert geometry.level(z, m) == pytest.approx(level, rel=1e-12)
        assert geometry.support_upper(z, m) == pytest.approx(2 * level, rel=1e-11)


def test_a_group_that_is_not_definite_proves_nothing():
    geometry = Geometry.of(np.ones((2, 1)), np.zeros((0, 1)), (np.array([0, 1]),))
    for nu, bounded in ((1.0, True), (0.0, False), (-1.0, False)):
        m = Multipliers(np.zeros((1, 2)), np.zeros((1, 2)), np.full(2, nu), (np.zeros((5, 5)),))
        assert math.isfinite(geometry.support_upper(np.ones(2), m)) == bounded
        assert (geometry.level(np.ones(2), m) > 0) == bounded


def test_multipliers_that_break_a_condition_prove_nothing():
    nobody = np.zeros(0, dtype=np.int64)
    z, whole = np.array([1.0, -1.0]), Geometry.of(np.ones((2, 1)), np.zeros((0, 1)), (nobody,))
    good = theorem_a(z, np.array([0.0, 0.5]), np.ones(2))
    good = Multipliers(good.w, good.c, good.nu, (np.zeros((1, 1)),))
    assert math.isfinite(whole.support_upper(z, good))
    for broken in (
        Multipliers(np.nextafter(good.w, -1), good.c, good.nu, good.r),
        Multipliers(good.w - 2, good.c, good.nu, good.r),
        Multipliers(good.w, -good.c, good.nu, good.r),
        Multipliers(good.w, good.c, 0 * good.nu, good.r),
        Multipliers(good.w, good.c, -good.nu, good.r),
        Multipliers(good.w, good.c, good.nu, (good.r[0] - 1,)),
        Multipliers(good.w * math.nan, good.c, good.nu, good.r),
        Multipliers(good.w, good.c, good.nu * math.nan, good.r),
    ):
        if (broken.w == np.nextafter(good.w, -1)).all():
            broken.w[0, 0] = np.nextafter(1.0, 0)  # one digit below z + q
        assert whole.support_upper(z, broken) == math.inf


# -- independent oracles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_moment_is_the_optimum_of_both_theorems(seed):
    X, y, beta = planted(seed, n=12, d=3)
    value = moment(X, y, beta).value
    assert value == pytest.approx(theorem_a_sdp(X, y, beta).solve(solver="CLARABEL"), rel=1e-4)
    assert value == pytest.approx(theorem_b_sdp(X, y, beta).solve(solver="CLARABEL"), rel=1e-4)


def test_moment_reaches_the_reference_values(shared):
    values = json.loads((shared / "reference" / "values.json").read_text())
    for name, expected in values.items():
        file = np.load(shared / "reference" / f"{name}.npz")
        bound = moment(file["X"], file["y"], float(file["beta"]))
        assert 0.9999 * expected["moment_bound_dual"] <= bound.value <= expected["moment_bound_dual"] * (1 + 1e-6)
        assert bound.value <= expected["best_known"]


# -- the searches --------------------------------------------------------------------------------------------------


def finite_differences(f, R):
    step, gradient = 1e-6, np.zeros_like(R)
    for index in np.ndindex(*R.shape):
        moved = R.copy()
        moved[index] += step
        up = f(moved)[0]
        moved[index] -= 2 * step
        gradient[index] = (up - f(moved)[0]) / (2 * step)
    return gradient


def test_gradients_are_those_of_the_objectives():
    X, y, beta = planted(3, n=9, d=2)
    rng = np.random.default_rng(0)
    R = rng.standard_normal((2, 8, 3))
    for f in (
        lambda R: MomentSearch(Problem(X, y, beta=beta)).objective(R, 0.1),
        lambda R: SupportSearch(Problem(X, y), y).objective(R, 0.1),
    ):
        assert f(R)[1] == pytest.approx(finite_differences(f, R), abs=1e-6)


def test_stationary_factors_that_are_no_optimum_are_left():
    """A start whose second sign has one row only cannot reach an optimum of rank two without a new direction."""
    X, y, beta = planted(5, n=40, d=5)
    search = MomentSearch(Problem(X, y, beta=beta))
    search.R[:, 1:] = 0.0  # an invariant set of the descent: rows that are zero stay zero
    search.descend(1e-3, 500, math.inf)
    stuck = search.objective(search.R, 1e-3)[0]
    search.escape(search.evidence(1e-3))
    search.descend(1e-3, 500, math.inf)
    assert search.objective(search.R, 1e-3)[0] < stuck * (1 - 1e-4)


def test_any_start_gives_the_same_bound():
    X, y, beta = planted(12)
    value, rng = moment(X, y, beta).value, np.random.default_rng(0)
    U, alpha = rng.standard_normal((40, 4)), rng.standard_normal(40)
    search = MomentSearch(Problem(X, y, beta=beta))
    search.start_from(0.3 * U, 0.3 * alpha)
    assert (search.R != MomentSearch(Problem(X, y, beta=beta)).R).all()  # that start is better than a random one
    for network in (
        (0.3 * U, 0.3 * alpha),
        (U[:1], alpha[:1]),
        (1e-3 * U, -np.abs(alpha)),
        (1e9 * U, 1e9 * alpha),
        (0 * U, alpha),
        (U[:0], alpha[:0]),
    ):
        assert moment(X, y, beta, network=network).value == pytest.approx(value, rel=1e-4)
    for seed in (1, 2):
        assert moment(X, y, beta, seed=seed).value == pytest.approx(value, rel=1e-4)


def test_a_network_that_is_not_finite_cannot_start_the_bound():
    X, y, beta = planted(12)
    with pytest.raises(DataError, match="cannot start"):
        moment(X, y, beta, network=(np.array([[1.0, 2.0, 3.0, np.inf]]), np.ones(1)))


def test_tighten_at_a_fixed_point_is_below_the_closed_form():
    X, y, _ = planted(4)
    bound, evidence = tighten(Problem(X, y), y)
    rng = np.random.default_rng(0)
    assert np.abs(y @ np.maximum(X @ unit_vectors(rng, 4, 5000), 0)).max() <= bound
    assert bound < np.linalg.norm(X, 2) * max(np.linalg.norm(np.maximum(s * y, 0)) for s in (1, -1))
    assert evidence.z is y
    assert beta_max_upper(X, y) == pytest.approx(bound)


def test_above_beta_max_the_zero_network_is_proved_optimal():
    X, y, _ = planted(6)
    top = beta_max_upper(X, y)
    for factor in (1.001, 3):
        assert moment(X, y, factor * top).value == pytest.approx(0.5 * y @ y, rel=1e-5)
        assert moment(X, y, factor * top).value <= 0.5 * y @ y


# -- soundness -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 9))
@settings(max_examples=tries(10, 25))
def test_no_network_is_below_a_bound(seed, n, d):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    X[rng.random((n, d)) < 0.2] = 0.0
    beta = float(np.exp(rng.standard_normal()))
    bounds = [closed_form(X, y, beta), moment(X, y, beta, iterations=60)]
    for _ in range(8):
        U, alpha = rng.standard_normal((3, d)), rng.standard_normal(3)
        for _ in range(10):  # a few steps of descent: networks near an optimum are the hard ones
            by_U, by_alpha = by_formula.gradient(X, y, U, alpha, beta)
            step = 0.1 / (1.0 + float(np.linalg.norm(by_U) + np.linalg.norm(by_alpha)))
            U, alpha = U - step * by_U, alpha - step * by_alpha
        value = float(by_formula.objective(X, y, U, alpha, beta))
        assert all(bound.value <= value * (1 + 1e-12) for bound in bounds)
    assert all(bound.value <= 0.5 * y @ y * (1 + 1e-12) for bound in bounds)


@pytest.mark.parametrize(("x_scale", "y_scale"), [(1e-8, 1e8), (1e8, 1e-8), (1.0, 1e8), (1e-8, 1e-8)])
def test_bounds_do_not_depend_on_the_units(x_scale, y_scale):
    X, y, beta = planted(7)
    for bound in (closed_form, moment):
        plain = bound(X, y, beta).value
        scaled = bound(X * x_scale, y * y_scale, beta * x_scale * y_scale).value
        assert scaled / y_scale**2 == pytest.approx(plain, rel=2e-4)


def test_ill_scaled_columns_duplicates_and_zero_rows_keep_the_proof():
    X, y, beta = planted(8)
    X = X * np.array([1e-8, 1.0, 1e4, 1e8])
    X, y = np.vstack([X, X[:5], np.zeros((3, 4))]), np.concatenate([y, y[:5], [1.0, -1.0, 0.0]])
    bound = moment(X, y, beta * 1e8)
    assert 0 < bound.value <= 0.5 * y @ y
    assert bound.scale * bound.support <= beta * 1e8


def test_nothing_to_learn():
    X, y, beta = planted(9)
    for bound in (closed_form, moment):
        assert bound(X, np.zeros_like(y), beta).value == 0.0
        assert bound(np.zeros_like(X), y, beta).value == pytest.approx(0.5 * y @ y)


def test_the_time_limit_still_gives_a_proof():
    X, y, beta = planted(10, n=200, d=20)
    bound = moment(X, y, beta, time_limit=0.01)
    assert 0 <= bound.value <= moment(X, y, beta).value * (1 + 1e-6)


def test_bad_input_is_refused():
    X, y, beta = planted(11)
    with pytest.raises(DataError, match="missing"):
        moment(np.where(X > 1, np.nan, X), y, beta)
    with pytest.raises(ConfigError, match="β is 0"):
        moment(X, y, 0.0)
    with pytest.raises(ConfigError, match="β is nan"):
        closed_form(X, y, math.nan)
