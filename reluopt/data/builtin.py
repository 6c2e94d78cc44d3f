"""Data that needs no file: scikit-learn's small data sets, and data made from a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from reluopt.data.dataset import Dataset
from reluopt.data.origin import Origin
from reluopt.data.samples import Samples
from reluopt.data.settings import AS_GIVEN
from reluopt.errors import ConfigError
from reluopt.neurons import predict


def gaussian(n: int, d: int, seed: int = 0) -> Dataset:
    """X_ij ~ N(0, 1) (KP's assumption A1) with random targets y_i ~ N(0, 1)."""
    return Dataset.from_samples(gaussian_samples(n, d, seed), "gaussian", AS_GIVEN)


def planted(n: int, d: int, width: int = 5, noise: float = 0.1, seed: int = 0) -> Dataset:
    """X_ij ~ N(0, 1) with y = f*(X) + noise·std(f*(X))·N(0, 1), f* a hidden two-layer ReLU network.

    The hidden network has ``width`` neurons u_j ~ N(0, I_d), α_j ~ N(0, 1).
    """
    return Dataset.from_samples(planted_samples(n, d, width, noise, seed), "planted", AS_GIVEN)


def gaussian_samples(n: int = 100, d: int = 10, data_seed: int = 0) -> Samples:
    """The samples of :func:`gaussian`."""
    rng = _generator(n, d, data_seed)
    X = rng.standard_normal((n, d))
    return Samples(X, rng.standard_normal(n), _names(d), Origin("gaussian"))


def planted_samples(
    n: int = 100, d: int = 10, teacher_width: int = 5, noise: float = 0.1, data_seed: int = 0
) -> Samples:
    """The samples of :func:`planted`."""
    rng = _generator(n, d, data_seed)
    if teacher_width < 1 or not 0 <= noise < np.inf:
        raise ConfigError(
            f"A hidden network of width {teacher_width} with noise {noise}.", "Give a width of at least 1, noise ≥ 0."
        )
    X = rng.standard_normal((n, d))
    clean = predict(X, rng.standard_normal((teacher_width, d)), rng.standard_normal(teacher_width))
    y = clean + noise * clean.std() * rng.standard_normal(n)
    return Samples(X, y, _names(d), Origin("planted"))


def breast_cancer_samples() -> Samples:
    """scikit-learn's breast cancer data, 569×30: malignant (−1) or benign (+1)."""
    from sklearn.datasets import load_breast_cancer

    return _from_sklearn(load_breast_cancer, "breast_cancer")


def diabetes_samples() -> Samples:
    """scikit-learn's diabetes data, 442×10: progression after a year."""
    from sklearn.datasets import load_diabetes

    return _from_sklearn(load_diabetes, "diabetes")


def digits_samples() -> Samples:
    """scikit-learn's 8×8 digits, 1797×64, of which 61 pixels vary; the digit is the label."""
    from sklearn.datasets import load_digits

    return dataclasses.replace(_from_sklearn(load_digits, "digits", digit_labels=True), image=(1, 8, 8))


def iris_samples() -> Samples:
    """scikit-learn's iris data, 150×4: setosa, versicolor or virginica."""
    from sklearn.datasets import load_iris

    return _from_sklearn(load_iris, "iris", named=True)


def wine_samples() -> Samples:
    """scikit-learn's wine data, 178×13: three cultivars."""
    from sklearn.datasets import load_wine

    return _from_sklearn(load_wine, "wine", named=True)


def _from_sklearn(load: Callable, name: str, *, digit_labels: bool = False, named: bool = False) -> Samples:
    """The samples of a bunch; ``named``: with the classes' names as labels, in the order of their numbers."""
    bunch = load()
    names = tuple(str(feature) for feature in bunch.feature_names)
    if named:
        return Samples(bunch.data, np.asarray(bunch.target_names, dtype=np.str_)[bunch.target], names, Origin(name))
    return Samples(bunch.data, bunch.target.astype(np.float64), names, Origin(name), digit_labels=digit_labels)


def _generator(n: int, d: int, seed: int) -> np.random.Generator:
    if n < 2 or d < 1 or seed < 0:
        raise ConfigError(
            f"Made-up data with n={n}, d={d}, seed={seed}.", "Give n of at least 2, d of at least 1 and a seed ≥ 0."
        )
    return np.random.default_rng(seed)


def _names(d: int) -> tuple[str, ...]:
    return tuple(f"x{j}" for j in range(d))
