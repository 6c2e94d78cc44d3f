"""Preprocessing: scaling, labels, constant features, subsets; and the description."""

import json

import numpy as np
import pytest
from data_helpers import X0, Y0, load, refuses
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from reluopt.data import Dataset, describe
from reluopt.errors import ReluoptError

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
matrices = arrays.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 6)), elements=finite)


def varied(X):
    """Columns that vary enough for rounding not to matter."""
    return np.ptp(X, axis=0).min() > 1e-6 * max(1.0, np.abs(X).max())


@given(matrices)
def test_standardise_gives_mean_zero_and_deviation_one(X):
    assume(varied(X))
    data = Dataset.from_arrays(X, np.arange(len(X)), scaling="standardise", bias=True, standardise_target=True)
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(data.X[:, :-1].std(axis=0), 1, atol=1e-8)
    assert data.y.mean() == pytest.approx(0, abs=1e-12) and data.y.std() == pytest.approx(1)


@given(matrices)
def test_centre_gives_mean_zero_and_keeps_differences(X):
    assume(varied(X))
    data = Dataset.from_arrays(X, np.arange(len(X)), scaling="centre", bias=True)
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-9 * max(1, np.abs(X).max()))
    np.testing.assert_allclose(np.diff(data.X[:, :-1], axis=0), np.diff(X, axis=0), atol=1e-9 * np.abs(X).max())


@given(matrices, st.floats(-100, 70))  # up to 1e77 is allowed
def test_unit_rows_have_norm_one_and_the_same_direction(X, exponent):
    X = X * 10.0**exponent
    assume((np.abs(X).max(axis=1) > 0).all())
    unit = Dataset.from_arrays(X, np.arange(len(X)), scaling="unit_rows").X
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-12)
    size = np.abs(X).max(axis=1, keepdims=True)
    np.testing.assert_allclose(unit / np.abs(unit).max(axis=1, keepdims=True), X / size, rtol=1e-12, atol=1e-300)


@given(matrices, st.sampled_from(["standardise", "centre", "unit_rows", "none"]), st.booleans())
@settings(max_examples=200)
def test_whatever_the_data_the_outcome_is_sound_or_refused(X, scaling, bias):
    try:
        data = Dataset.from_arrays(X, np.arange(len(X)), scaling=scaling, bias=bias)
    except ReluoptError:
        return
    assert np.isfinite(data.X).all() and (data.X != 0).any(axis=1).all()
    assert data.d == len(data.feature_names) == X.shape[1] + bias - len(data.preprocessing["dropped_constant_features"])


@pytest.mark.parametrize("size", [1e-180, 1e-310])
@pytest.mark.parametrize("how", [{}, {"scaling": "none", "bias": True}, {"scaling": "centre"}, {"scaling": "none"}])
def test_what_varies_too_little_to_be_squared_is_not_called_constant(size, how):
    """The remedy that is named is right: a power of ten."""
    column, usual = X0 * np.array([1, size, 1]), {"scaling": "standardise"} | how
    refuses(lambda: Dataset.from_arrays(X0, Y0 * size, **how), "the target varies by", "squares vanish")
    refuses(lambda: Dataset.from_arrays(X0 * size, Y0, **usual), "squares vanish", "Rescale", "of ten")
    several = np.column_stack([Y0, size * Y0])
    refuses(lambda: Dataset.from_arrays(X0, several, standardise_target=True), "target 2 of 2 varies by")
    assert Dataset.from_arrays(X0 * size * 1e200, Y0 * size * 1e200, **usual).n == len(X0)
    if how != {"scaling": "none"}:
        refuses(lambda: Dataset.from_arrays(column, Y0, **usual), "column 'x1' varies by")
    else:  # no column is judged there
        assert Dataset.from_arrays(column, Y0, **usual).d == 3


def test_constant_features_are_dropped_and_recorded():
    X = np.column_stack([X0, np.full(12, 0.1), np.full(12, 1.0)])
    data = Dataset.from_arrays(X, Y0, scaling="standardise", bias=True)
    assert data.d == 4 and data.preprocessing["dropped_constant_features"] == ["x3", "x4"]
    assert Dataset.from_arrays(X, Y0, bias=True).d == 4  # a ones column is not doubled
    assert Dataset.from_arrays(X, Y0).d == 5  # taken as given


def test_rounding_noise_is_not_blown_up_to_a_feature():
    X = np.column_stack([X0, 1e6 + np.arange(12) % 2 * 1e-10])
    assert np.ptp(X[:, 3]) > 0
    assert Dataset.from_arrays(X, Y0, scaling="standardise").d == 3


def test_a_subset_is_seeded_ordered_and_scaled_by_itself():
    data = load("breast_cancer", subset=100, subset_seed=3)
    assert data.n == 100 and data.fingerprint == load("breast_cancer", subset=100, subset_seed=3).fingerprint
    assert data.fingerprint != load("breast_cancer", subset=100, subset_seed=4).fingerprint
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-12)
    rows = Dataset.from_arrays(np.arange(50.0)[:, None] + 1, np.arange(50), subset=20, subset_seed=1).y
    assert (np.diff(rows) > 0).all()
    assert load("breast_cancer", subset=569).fingerprint == load("breast_cancer").fingerprint
    refuses(lambda: load("breast_cancer", subset=570), "570", "569")


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "digits", "gaussian"])
def test_the_record_of_preprocessing_is_plain_json(name):
    record = load(name, subset=60).preprocessing
    assert json.loads(json.dumps(record)) == record
    assert record["subset"] == 60 and record["source"] == name


def test_the_description_counts_what_is_there():
    X = np.vstack([X0, X0[:2], X0[0]])
    X = np.column_stack([X, X[:, 0] + X[:, 1], np.zeros(15)])
    y = np.concatenate([Y0, [Y0[0], 9.0, Y0[0]]])
    told = describe(Dataset.from_arrays(X, y))
    assert (told.n, told.d, told.rank, told.zero_columns) == (15, 5, 3, 1)
    assert told.duplicate_rows == 3 and told.contradicting_rows == 1
    assert told.largest_singular_value == pytest.approx(np.linalg.norm(X, 2))
    norms = np.linalg.norm(X, axis=1)
    assert (told.row_norm_min, told.row_norm_max) == pytest.approx((norms.min(), norms.max()))
    assert told.classes is None and told.target_norm == pytest.approx(np.linalg.norm(y))
    assert json.loads(json.dumps(told.to_mapping()))["rank"] == 3


def test_the_description_counts_the_classes():
    assert describe(load("breast_cancer")).classes == {"-1": 212, "+1": 357}
