"""The MAX-CUT bound is above every pattern, whatever the SDP solver did, and exact where it should be."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reluopt.problem import Problem
from reluopt.theory import maxcut
from reluopt.theory.statements import Hypothesis


def brute_force(X: np.ndarray, y: np.ndarray) -> float:
    D = np.array(list(product([0.0, 1.0], repeat=len(y))))
    return float((((D * y) @ X) ** 2).sum(axis=1).max())


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_maxcut_bound_against_all_patterns(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    found, truth = maxcut.max_pattern_correlation(X, y), brute_force(X, y)
    assert found.lower <= truth * (1 + 1e-12) <= found.upper * (1 + 2e-12)
    assert found.upper <= math.pi / 2 * truth * (1 + 1e-3)  # Nesterov's factor, with room for an SDP not quite solved


def test_maxcut_bound_holds_at_twelve_samples_after_any_number_of_iterations() -> None:
    rng = np.random.default_rng(10)
    X, y = rng.standard_normal((12, 8)), rng.standard_normal(12)
    truth = brute_force(X, y)
    bounds = [maxcut.max_pattern_correlation(X, y, iterations=k).upper for k in (50, 100, 500)]
    assert min(bounds) >= truth
    assert bounds == sorted(bounds, reverse=True)


def test_maxcut_bound_is_exact_for_orthogonally_separable_classes() -> None:
    rng = np.random.default_rng(11)
    X = np.zeros((12, 5))
    X[:6, :3], X[6:, 3:] = rng.random((6, 3)), rng.random((6, 2))
    y = np.repeat([1.0, -1.0], 6)
    found = maxcut.max_pattern_correlation(X, y)
    assert found.upper == pytest.approx(brute_force(X, y), rel=1e-9)
    assert found.lower == pytest.approx(found.upper, rel=1e-9)
    assert maxcut.section_3_4(Problem(X, y, beta=0.1)).hypothesis is Hypothesis.HOLDS
    assert maxcut.section_3_4(Problem(np.abs(X - 0.1), y, beta=0.1)).hypothesis is Hypothesis.FAILS


def test_maxcut_with_nothing_to_correlate() -> None:
    assert maxcut.max_pattern_correlation(np.ones((3, 2)), np.zeros(3)).upper == 0.0
