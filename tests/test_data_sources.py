"""Data that is built in or made up, and the settings that choose it."""

import numpy as np
import pytest
from data_helpers import load, refuses

from reluopt.data import DataConfig, gaussian, planted
from reluopt.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "shape"), [("breast_cancer", (569, 31)), ("diabetes", (442, 11)), ("digits", (1797, 62))]
)
def test_built_in_data_is_standardised_with_a_ones_column(name, shape):
    data = load(name)
    assert (data.n, data.d) == data.X.shape == shape
    assert data.has_bias_column and data.feature_names[-1] == "bias" and len(data.feature_names) == data.d
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.X[:, :-1].std(axis=0), 1, rtol=1e-12)
    assert data.X.dtype == data.y.dtype == np.float64 and data.X.flags.c_contiguous


def test_built_in_targets():
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

    np.testing.assert_array_equal(load("breast_cancer").y, 2.0 * load_breast_cancer().target - 1)
    np.testing.assert_array_equal(load("digits").y, np.where(load_digits().target < 5, -1.0, 1.0))
    y = load_diabetes().target
    np.testing.assert_allclose(load("diabetes").y, (y - y.mean()) / y.std(), rtol=1e-12)


def test_standardising_is_the_textbook_formula():
    from sklearn.datasets import load_diabetes

    raw = load_diabetes().data
    np.testing.assert_allclose(load("diabetes").X[:, :-1], (raw - raw.mean(0)) / raw.std(0), rtol=0, atol=1e-12)


def test_reference_instances_load_as_they_are(shared):
    path = shared / "reference" / "bc_100x31_b0.1.npz"
    with np.load(path) as stored:
        np.testing.assert_array_equal(load(path).X, stored["X"])
        np.testing.assert_array_equal(load(path).y, stored["y"])


def test_made_up_data_follows_its_seed():
    assert gaussian(20, 3, 1).fingerprint == gaussian(20, 3, 1).fingerprint != gaussian(20, 3, 2).fingerprint
    assert load("gaussian", n=20, d=3, data_seed=1).fingerprint == gaussian(20, 3, 1).fingerprint
    same = load("planted", n=20, d=3, teacher_width=4, noise=0.5, data_seed=1)
    assert same.fingerprint == planted(20, 3, width=4, noise=0.5, seed=1).fingerprint
    assert not same.has_bias_column


def test_planted_noise_is_relative_to_the_clean_target():
    clean, noisy = planted(4000, 5, noise=0.0, seed=3), planted(4000, 5, noise=0.25, seed=3)
    np.testing.assert_array_equal(clean.X, noisy.X)
    assert (noisy.y - clean.y).std() == pytest.approx(0.25 * clean.y.std(), rel=0.05)


def test_planted_without_noise_is_a_small_relu_network():
    data = planted(30, 1, width=2, noise=0.0, seed=0)  # on the line, ReLU networks are linear on each side of 0
    for side in (data.X[:, 0] > 0, data.X[:, 0] < 0):
        slopes = data.y[side] / data.X[side, 0]
        np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [{"n": 1}, {"d": 0}, {"width": 0}, {"noise": -1.0}, {"seed": -1}])
def test_made_up_data_refuses_impossible_sizes(bad):
    with pytest.raises(ConfigError):
        planted(**{"n": 10, "d": 2} | bad)


def test_an_unknown_name_lists_the_known_and_the_close_ones():
    refuses(lambda: load("brest_cancer"), "brest_cancer", "Did you mean breast_cancer", "diabetes", "planted")


def test_a_setting_that_the_data_set_does_not_use_is_refused():
    with pytest.raises(ConfigError, match=r"'n' is set.*'breast_cancer'"):
        load("breast_cancer", n=100)
    with pytest.raises(ConfigError, match="'target'"):
        load("gaussian", target="y")


@pytest.mark.parametrize("bad", [{"scaling": "standardize"}, {"task": "3"}, {"subset": 1}, {"split": "test"}])
def test_a_setting_outside_of_what_is_allowed_is_refused(bad):
    with pytest.raises(ConfigError):
        DataConfig(**bad)


def test_the_configuration_round_trips_through_a_mapping():
    config = DataConfig(dataset="digits", subset=50, bias=False)
    assert DataConfig.from_mapping(config.to_mapping()) == config


def test_unset_choices_are_the_usual_ones_and_set_choices_win():
    data = load("breast_cancer", scaling="centre", bias=False)
    assert data.d == 30 and not data.has_bias_column
    np.testing.assert_allclose(data.X.mean(axis=0), 0, atol=1e-9)
    assert data.X.std(axis=0).max() > 100
    assert load("gaussian", n=10, d=2, bias=True).d == 3
    assert set(load("digits", task="regression", standardise_target=False).y) == set(range(10))
