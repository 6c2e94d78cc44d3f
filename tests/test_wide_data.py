"""Data with many more columns than rows: proofs in the space of the rows, no matrix of side d, and clocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reluopt.beta_max import beta_max_estimate
from reluopt.bounds import beta_max_upper, moment
from reluopt.bounds.evidence import theorem_a, unsplit
from reluopt.bounds.region_forms import closed_form_support, evidence_upper, region_upper
from reluopt.bounds.row_space import RowSpace
from reluopt.clock import Clock
from reluopt.pricing import price
from reluopt.problem import Problem


@pytest.fixture
def only_small(monkeypatch):
    """Refuse eigenvalue problems and factorisations that are larger than the data's smaller side asks for."""

    def limited(name, most):
        original = getattr(np.linalg, name)

        def watched(A, *arguments, **options):
            assert min(A.shape[-2:]) <= most, f"{name} of {A.shape}"
            return original(A, *arguments, **options)

        monkeypatch.setattr(np.linalg, name, watched)

    def limit(most):
        for name in ("eigh", "eigvalsh", "cholesky", "qr", "svd"):
            limited(name, most)

    return limit


def reached(X, z, rng):
    """|zᵀ(Xu)_+| at the rows and at random directions of their space."""
    U = np.hstack([X.T, -X.T, X.T @ rng.standard_normal((len(X), 300))])
    norms = np.linalg.norm(U, axis=0)
    return np.abs(z @ np.maximum(X @ (U[:, norms > 0] / norms[norms > 0]), 0.0)).max(initial=0.0)


@given(st.integers(0, 2**32 - 1), st.integers(-60, 60))
@settings(max_examples=80, deadline=None)
def test_what_is_proved_in_the_row_space_holds_for_x(seed, decades):
    """Any multipliers, any scale, rows that repeat, oppose each other or vanish."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    d = int(rng.integers(2 * n, 40))
    X = rng.standard_normal((n, d)) * 10.0 ** (decades + rng.integers(-8, 9, d) * rng.integers(0, 2))
    X[rng.random(n) < 0.3] = X[0] * rng.choice([-1.0, 1.0, 1 + 1e-15])
    X[rng.random(n) < 0.1] = 0.0
    z = rng.standard_normal(n)
    sides = []
    for signed in (z, -z):
        q = np.abs(rng.standard_normal(n)) * rng.integers(0, 2, n) * (signed < 0)
        sides.append(theorem_a(signed, q, np.exp(rng.standard_normal(n)) / 10.0**decades))
    evidence = unsplit(z, d, *sides)
    bound = evidence_upper(X, evidence)
    assert reached(X, z, rng) <= bound
    assert bound == pytest.approx(region_upper(X, z, evidence.regions[0]), rel=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_distance_and_the_stretch_of_a_row_space_are_counted(seed):
    rng = np.random.default_rng(seed)
    X, z = rng.standard_normal((3, 12)), rng.standard_normal(3)
    space = RowSpace.of(X)
    assert np.linalg.norm(space.Q, 2) <= space.stretch <= 1 + 1e-12
    assert np.linalg.norm(X - space.L @ space.Q.T, 2) <= space.off <= 1e-12
    P = rng.standard_normal((3, 2000))
    inner = (z @ np.maximum(space.L @ (P / np.linalg.norm(P, axis=0)), 0.0)).max()
    assert space.support_upper(z, inner) >= inner
    assert space.support_upper(z, math.inf) == math.inf


def test_narrow_data_and_data_that_overflow_have_no_row_space():
    assert RowSpace.of(np.ones((3, 5))) is None
    assert RowSpace.of(np.full((2, 8), 1.7e308)) is None


def test_no_matrix_of_side_d_is_decomposed(only_small):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4, 600)), rng.standard_normal(4)
    only_small(17)  # factors of 2·8 rows, and one more
    low, high = beta_max_estimate(X, y), beta_max_upper(X, y)
    assert low <= high <= closed_form_support(X, y)
    assert high <= low * (1 + 1e-3)
    bound = moment(X, y, 0.1 * low)
    assert 0 < bound.value <= 0.5 * y @ y


def test_a_bound_that_does_not_fit_the_clock_is_the_closed_form(only_small):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 20)), rng.standard_normal(30)
    only_small(0)
    quick = beta_max_upper(X, y, time_limit=1e-9)
    assert quick == closed_form_support(X, y) >= np.linalg.norm(X, 2) * np.linalg.norm(np.maximum(y, 0))
    assert quick >= beta_max_estimate(X, y)


def test_a_search_whose_time_is_over_returns_a_value_that_a_neuron_has():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((40, 7)), rng.standard_normal(40)
    cut = price(X, y, np.random.default_rng(0), clock=Clock(0.0))
    assert cut.value == pytest.approx(abs(y @ np.maximum(X @ cut.direction, 0.0)))
    assert 0 < cut.value <= beta_max_estimate(Problem(X, y), clock=Clock()) * (1 + 1e-12)
