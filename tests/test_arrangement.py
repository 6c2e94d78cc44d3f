"""Every activation pattern of X is found, exactly once, and no other."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from reluopt.bounds.all_cells import exact
from reluopt.errors import ConfigError, DataError
from reluopt.patterns.arrangement import all_patterns, count_up_to, cover_count, expected_count, iterate_patterns
from reluopt.patterns.exact_rows import determinant_sign, directions, independent_columns, integer_rows
from reluopt.patterns.pattern_set import PatternSet, activation_patterns
from reluopt.patterns.sampling import discover_patterns, sample_patterns


def rank(X):
    return len(independent_columns(integer_rows(X)))


def brute_force(X: np.ndarray) -> set[bytes]:
    """Patterns by one linear program for each of the 2ⁿ sign vectors: a strictly feasible h, or none."""
    alive = np.any(X != 0, axis=1)
    found = set()
    for bits in product([False, True], repeat=len(X)):
        active = np.array(bits)
        if not active[~alive].all():
            continue
        A = np.where(active, 1.0, -1.0)[:, None] * X
        free = [(None, None)] * X.shape[1]
        result = linprog(np.zeros(X.shape[1]), A_ub=-A[alive], b_ub=-np.ones(int(alive.sum())), bounds=free)
        if result.status == 0:
            found.add(np.packbits(active).tobytes())
    return found


def check_gates(X: np.ndarray, patterns: PatternSet) -> None:
    assert patterns.gates is not None
    np.testing.assert_array_equal(activation_patterns(X, patterns.gates), patterns.dense)


@pytest.mark.parametrize("r", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_covers_count_in_general_position(n: int, r: int) -> None:
    rng = np.random.default_rng(100 * n + r)
    X = rng.standard_normal((n, min(n, r))) @ rng.standard_normal((min(n, r), r + 2))  # rank below d, up to rounding
    X = np.linalg.qr(X)[0][:, : min(n, r)] if n >= r else X[:, :n]
    patterns = all_patterns(X)
    assert len(patterns) == len(set(patterns)) == cover_count(n, min(n, r)) == expected_count(X)
    check_gates(X, patterns)
    if n - 1 >= r:
        assert len(patterns) <= 2 * r * (math.e * (n - 1) / r) ** r  # Pilanci & Ergen 2020


def test_more_dimensions_than_rank_is_exact() -> None:
    rng = np.random.default_rng(0)
    few = rng.integers(-3, 4, (9, 3)).astype(float)
    wide = few @ np.array([[1.0, 0, 2, 1], [0, 1, 1, -1], [0, 0, 0, 3]])  # integers: the rank is exactly 3
    assert rank(wide) == rank(few) == 3
    assert set(all_patterns(wide)) == set(all_patterns(few))
    check_gates(wide, all_patterns(wide))


@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 4), st.sampled_from([(0, 2), (-1, 2), (-3, 4)]))
@settings(max_examples=25, deadline=None)
def test_degenerate_data_against_brute_force(seed: int, n: int, d: int, values: tuple[int, int]) -> None:
    """Zero, repeated, parallel and opposite rows, rank below d, many hyperplanes through one line."""
    X = np.random.default_rng(seed).integers(*values, (n, d)).astype(float)
    patterns = all_patterns(X)
    assert set(patterns) == brute_force(X)
    assert len(patterns) == len(set(patterns)) <= expected_count(X)
    check_gates(X, patterns)


def test_rows_that_are_zero_repeated_and_opposite() -> None:
    base = np.random.default_rng(1).standard_normal((5, 3))
    X = np.vstack([base, np.zeros((1, 3)), base[:1], 4 * base[1:2], -0.5 * base[2:3]])
    dense = all_patterns(X).dense
    assert dense.shape[1] == cover_count(5, 3)
    assert dense[5].all()
    np.testing.assert_array_equal(dense[6], dense[0])
    np.testing.assert_array_equal(dense[7], dense[1])
    np.testing.assert_array_equal(dense[8], ~dense[2])


def test_all_zero_data_has_the_one_pattern_of_the_rule() -> None:
    patterns = all_patterns(np.zeros((4, 2)))
    assert len(patterns) == 1
    assert patterns.dense.all()
    check_gates(np.zeros((4, 2)), patterns)


def test_nearly_parallel_rows_and_badly_scaled_columns_need_no_tolerance() -> None:
    rng = np.random.default_rng(2)
    near = rng.standard_normal((1, 3)) + 1e-9 * rng.standard_normal((15, 3))
    scaled = rng.standard_normal((15, 3)) * np.array([1.0, 1e-7, 1e-14])
    for X in (near, scaled):
        assert len(set(all_patterns(X))) == cover_count(15, 3)


@pytest.mark.filterwarnings("error")
def test_rank_by_rounding_alone_is_found_without_gates_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((7, 3)) @ rng.standard_normal((3, 20))  # exactly of rank 7, of rank 3 up to rounding
    patterns = all_patterns(X)
    assert rank(X) == 7 and len(set(patterns)) == 2**7
    assert patterns.gates is None and len(caplog.records) == 1
    assert exact(X, X[:, 0], 0.1, most_cells=200).value > 0 and len(caplog.records) == 1


def test_every_sampled_pattern_is_among_them_and_the_seed_does_not_matter() -> None:
    X = np.random.default_rng(3).standard_normal((15, 4))
    patterns = all_patterns(X)
    sampled = sample_patterns(X, 3000, np.random.default_rng(4))
    assert (patterns.positions_of(sampled) >= 0).all()
    assert set(all_patterns(X, seed=9)) == set(patterns)


def test_the_generator_yields_disjoint_parts_of_bounded_size() -> None:
    X = np.random.default_rng(5).standard_normal((14, 4))
    parts = list(iterate_patterns(X, chunk=50))
    assert max(len(part) for part in parts) <= 100
    keys = [key for part in parts for key in part]
    assert len(keys) == len(set(keys)) == cover_count(14, 4)


def test_the_limit_tells_the_count_and_the_memory() -> None:
    X = np.random.default_rng(6).standard_normal((60, 6))
    with pytest.raises(ConfigError, match=r"10,991,584 .*MiB"):
        all_patterns(X)
    with pytest.raises(DataError, match="NaN"):
        all_patterns(np.array([[np.nan]]))


def test_a_hundred_thousand_patterns_a_minute() -> None:
    """68,560 patterns at n=60, r=4; measured 0.2 s on one core, and the requirement is 41 s."""
    X = np.random.default_rng(7).standard_normal((60, 4))
    assert sum(len(part) for part in iterate_patterns(X)) == cover_count(60, 4) == 68_560


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_exact_determinants_and_directions(seed: int, r: int) -> None:
    A = np.random.default_rng(seed).integers(-2, 3, (r, r))
    assert determinant_sign([tuple(int(v) for v in row) for row in A]) == round(np.sign(round(np.linalg.det(A))))
    X = A.astype(float) * np.array([2.0**-40, 0.1, -3.0, 1.0, 1e300])[:r, None]
    lines = directions(integer_rows(X))
    for i in np.flatnonzero(lines.line >= 0):
        first = lines.representative[lines.line[i]]
        assert rank(X[[i, first]]) == 1
        assert np.sign(X[i] @ (X[first] / np.abs(X[first]).max())) == lines.side[i]
    assert rank(X[lines.representative]) == rank(X) == np.linalg.matrix_rank(A)


def test_discovery_reaches_the_number_and_measures_the_curve() -> None:
    X = np.random.default_rng(8).standard_normal((12, 3))
    everything = cover_count(12, 3)
    found = discover_patterns(X, 60, np.random.default_rng(9))
    assert found.reached
    assert len(found.patterns) == len(set(found.patterns)) == 60
    check_gates(X, found.patterns)
    assert (np.diff(found.distinct) >= 0).all()
    assert (np.diff(found.draws) > 0).all()
    full = discover_patterns(X, everything, np.random.default_rng(10), max_draws=200)
    assert not full.reached
    assert full.draws[-1] == 200
    assert 0 <= full.new_rate <= 1
    assert len(full.patterns) == full.distinct[-1] < everything
    with pytest.raises(ConfigError, match=f"at most {everything}"):
        discover_patterns(X, everything + 1, np.random.default_rng(0))


def test_covers_count_of_small_cases() -> None:
    assert [cover_count(n, 2) for n in (1, 2, 5)] == [2, 4, 10]
    assert cover_count(4, 4) == 2**4
    assert cover_count(4, 9) == 2**4
    assert cover_count(100, 3) == 2 * (1 + 99 + math.comb(99, 2))


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (40, 2), (300, 2), (12, 9), (700, 40)])
@pytest.mark.parametrize("limit", [1, 30, 2000])
def test_a_count_up_to_a_limit_is_the_count_or_says_that_it_is_more(shape: tuple[int, int], limit: int) -> None:
    rng = np.random.default_rng(shape[0])
    for X in (rng.standard_normal(shape), rng.integers(0, 2, shape).astype(float), np.zeros(shape), np.ones(shape)):
        found, count = count_up_to(X, limit), expected_count(X)
        assert found == (count if count <= limit else None)
