"""Rigorous float64 against exact rational arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reluopt.problem import Problem
from reluopt.rigor import linear_systems, rounding

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def dot(a, b):
    return sum((Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True)), Fraction(0))


def wild(rng, *shape, decades=8):
    return rng.standard_normal(shape) * 10.0 ** rng.integers(-decades, decades + 1, shape)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=8))
def test_exact_dot_is_exact(pairs):
    a, b = np.array(pairs).T
    assert rounding.exact_dot(a, b) == dot(a, b)


@given(FINITE, FINITE)
def test_directed_rounding_is_the_nearest_float_on_its_side(x, y):
    value = Fraction(x) * Fraction(y) / 3
    low, high = rounding.round_down(value), rounding.round_up(value)
    assert low == -math.inf or Fraction(low) <= value
    assert high == math.inf or Fraction(high) >= value
    if math.isfinite(low) and math.isfinite(high):
        assert high in (low, math.nextafter(low, math.inf))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_dual_values_and_scalings_are_feasible(seed):
    rng = np.random.default_rng(seed)
    z, y, bound, beta = wild(rng, 9), wild(rng, 9), abs(float(wild(rng))) + 1e-9, abs(float(wild(rng))) + 1e-9
    value, t = Problem(np.ones((9, 1)), y, "squared", beta).proved_value(z, bound)
    assert Fraction(t) * Fraction(bound) <= Fraction(beta)
    exact = Fraction(t) * dot(y, z) - Fraction(t) ** 2 * dot(z, z) / 2
    assert Fraction(value) <= max(exact, 0)
    # nothing but the last digit is lost
    assert value >= float(exact) - 1e-15 * abs(float(exact))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_norm_upper_is_above_and_close(seed):
    rng = np.random.default_rng(seed)
    v, error = wild(rng, 3, 7, decades=150), np.abs(wild(rng, 3, 7))
    bound = rounding.norm_upper(v, error)
    for row, slack, b in zip(v, error, bound, strict=True):
        corner = [Fraction(abs(float(x))) + Fraction(float(e)) for x, e in zip(row, slack, strict=True)]
        exact = sum(x * x for x in corner)
        assert Fraction(float(b)) ** 2 >= exact
        assert Fraction(float(b)) ** 2 <= exact * Fraction(1 + 1e-13)


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1.0, 1e8])
def test_lambda_max_upper_is_above_and_close(scale):
    rng = np.random.default_rng(1)
    for k in (1, 2, 5, 40):
        G = wild(rng, k, k, decades=2)
        C = (G + G.T) * scale
        bound = rounding.lambda_max_upper(C)
        top = float(np.linalg.eigvalsh(C)[-1])
        size = np.abs(C).sum(axis=1).max()
        assert top - 1e-14 * size <= bound <= top + 1e-12 * size
        # the proof itself: cI − C is positive definite in exact arithmetic for c a little above the bound
        if k <= 5:
            c = Fraction(bound) + Fraction(1e-300)
            assert positive_definite(
                [[(c if i == j else 0) - Fraction(float(C[i, j])) for j in range(k)] for i in range(k)]
            )


def positive_definite(A):
    """Gaussian elimination in rationals: all pivots positive."""
    for i in range(len(A)):
        if A[i][i] <= 0:
            return False
        for j in range(i + 1, len(A)):
            f = A[j][i] / A[i][i]
            A[j] = [a - f * b for a, b in zip(A[j], A[i], strict=True)]
    return True


def test_lambda_max_upper_adds_the_entry_error():
    C, error = np.diag([1.0, 2.0]), np.full((2, 2), 0.25)
    assert rounding.lambda_max_upper(C, error) >= 2.5
    assert rounding.lambda_max_upper(C, 0.5) >= 2.5


def exact_objective(X, y, U, alpha, beta):
    loss = Fraction(0)
    for row, target in zip(X, y, strict=True):
        f = sum(max(dot(row, u), Fraction(0)) * Fraction(float(a)) for u, a in zip(U, alpha, strict=True))
        loss += (f - Fraction(float(target))) ** 2
    decay = sum((dot(u, u) for u in U), Fraction(0)) + dot(alpha, alpha)
    return loss / 2 + Fraction(beta) * decay / 2


@given(st.integers(0, 2**32 - 1), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_objective_upper_is_above_and_close(seed, decades):
    rng = np.random.default_rng(seed)
    n, d, m = rng.integers(1, 7, 3)
    X, y = wild(rng, n, d, decades=decades), wild(rng, n, decades=decades)
    U, alpha = wild(rng, m, d, decades=2), wild(rng, m, decades=2)
    exact = exact_objective(X, y, U, alpha, 0.1)
    bound = Problem(X, y, "squared", 0.1).objective_upper(U, alpha)
    assert Fraction(bound) >= exact
    if decades == 0:
        assert Fraction(bound) <= exact * Fraction(1 + 1e-12)


def test_objective_upper_works_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    X, y, U, alpha = (
        rng.standard_normal((50, 4)),
        rng.standard_normal(50),
        rng.standard_normal((6, 4)),
        rng.standard_normal(6),
    )
    problem = Problem(X, y, "squared", 1.0)
    whole = problem.objective_upper(U, alpha)
    monkeypatch.setattr(rounding, "BLOCK", 7)
    assert problem.objective_upper(U, alpha) == pytest.approx(whole, rel=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_correlation_norms_are_above_the_exact_ones(seed):
    rng = np.random.default_rng(seed)
    X, z, multipliers = wild(rng, 6, 3), wild(rng, 6), np.abs(wild(rng, 6))
    pattern, side = rng.random(6) < 0.5, float(rng.choice([-1.0, 1.0]))
    exact = [
        sum(
            Fraction(float(x)) * ((Fraction(side * float(zi)) if p else 0) + (1 if p else -1) * Fraction(float(m)))
            for x, zi, p, m in zip(column, z, pattern, multipliers, strict=True)
        )
        for column in X.T
    ]
    bound = rounding.correlation_norm_upper(X, z, side, pattern, multipliers)
    assert Fraction(bound) ** 2 >= sum(v * v for v in exact)
    assert rounding.correlation_norm_upper(X, z, side, pattern, -multipliers - 1) == math.inf


def test_what_is_not_finite_proves_nothing():
    bad, good = np.array([1.0, math.nan]), np.ones(2)
    assert rounding.norm_upper(bad) == math.inf
    assert rounding.norm_upper(np.array([1.0, math.inf])) == math.inf
    assert rounding.lambda_max_upper(np.array([[math.nan]])) == math.inf
    assert rounding.lambda_max_upper(np.eye(2), math.nan) == math.inf
    problem = Problem(np.ones((2, 2)), good, "squared", 1.0)
    assert problem.proved_value(bad, 1.0) == (0.0, 0.0)
    assert problem.proved_value(good, math.inf) == (0.0, 0.0)
    assert problem.objective_upper(np.full((1, 2), 1e200), np.ones(1)) == math.inf
    assert problem.objective_upper(bad[None], np.ones(1)) == math.inf


@pytest.mark.parametrize("scale", [1e-310, 1e-160, 1e150, 1e300])
def test_eigenvalues_and_norms_at_the_ends_of_float64_are_above_or_infinite(scale):
    rng = np.random.default_rng(0)
    for k in (1, 2, 4):
        G = rng.standard_normal((k, k))
        C = (G + G.T) * scale
        bound = rounding.lambda_max_upper(C)
        if math.isfinite(bound):
            c = Fraction(bound) + Fraction(5e-324)
            assert positive_definite(
                [[(c if i == j else 0) - Fraction(float(C[i, j])) for j in range(k)] for i in range(k)]
            )
        size = rounding.frobenius_upper(C)
        assert size == math.inf or Fraction(size) ** 2 >= sum(Fraction(float(v)) ** 2 for v in C.ravel())


def test_the_interval_of_a_fit_holds_its_exact_value():
    rng = np.random.default_rng(0)
    for decades in (2, 60, 150):
        X, U, alpha = (wild(rng, *shape, decades=decades) for shape in ((6, 3), (4, 3), (4,)))
        low, high = rounding.fit_interval(X, U, alpha)
        for row, a, b in zip(X, low, high, strict=True):
            f = sum(max(dot(row, u), Fraction(0)) * Fraction(float(v)) for u, v in zip(U, alpha, strict=True))
            assert a == -math.inf or Fraction(float(a)) <= f
            assert b == math.inf or f <= Fraction(float(b))
    assert not np.isfinite(rounding.fit_interval(np.full((1, 1), 1e200), np.full((1, 1), -1e200), np.ones(1))).any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6), st.integers(-150, 100))
@settings(max_examples=60, deadline=None)
def test_the_norm_of_a_factor_is_bounded_in_exact_arithmetic(seed, k, d, decades):
    half = np.random.default_rng(seed).standard_normal((k, d)) * 10.0**decades
    bound = rounding.lambda_max_of_gram_upper(half)
    x = [Fraction(float(v)) for v in np.linalg.svd(half)[2][0]]
    rows = [sum(Fraction(float(h)) * v for h, v in zip(row, x, strict=True)) for row in half]
    assert sum(r * r for r in rows) <= Fraction(bound) * sum(v * v for v in x)
    if decades > -100:
        assert bound <= np.linalg.norm(half, 2) ** 2 * (1 + 1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_error_of_an_inverse_and_the_signs_it_leaves_are_those_of_exact_arithmetic(seed, r):
    """Against fractions, with inverses that are wrong by much or little, and rows through the point."""
    rng = np.random.default_rng(seed)
    M = rng.integers(-9, 10, (1, r, r)).astype(float)
    if np.linalg.det(M[0]) == 0:
        return
    rows = [[Fraction(int(v)) for v in row] + [Fraction(int(i == j)) for j in range(r)] for i, row in enumerate(M[0])]
    for i in range(r):  # Gauss-Jordan
        pivot = next((k for k in range(i, r) if rows[k][i]), None)
        if pivot is None:
            return
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        rows = [
            row if k == i else [a - row[i] * b for a, b in zip(row, rows[i], strict=True)] for k, row in enumerate(rows)
        ]
    exact = [row[r:] for row in rows]
    guess = np.linalg.inv(M) + 10.0 ** rng.integers(-18, -2) * rng.standard_normal((1, r, r))
    error = linear_systems.inverse_error(M, guess)
    for i in range(r):
        assert error[0, i] == np.inf or all(
            abs(exact[i][j] - Fraction(float(guess[0, i, j]))) <= Fraction(float(error[0, i])) for j in range(r)
        )
    B = np.vstack([rng.standard_normal((3, r)), np.zeros((1, r))])
    signs = linear_systems.clear_signs(B, guess[:, :, -1], error)[:, 0]
    for b, sign in zip(B, signs, strict=True):
        true = sum(Fraction(float(v)) * exact[j][-1] for j, v in enumerate(b))
        assert sign == 2 or sign == (true > 0) - (true < 0)
    assert signs[-1] == 2
