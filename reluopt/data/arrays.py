"""A user's own arrays (numpy, torch, pandas, scipy.sparse, lists) as samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reluopt.data.origin import Origin
from reluopt.data.samples import Samples
from reluopt.errors import DataError


def as_samples(X: Any, y: Any, name: str, feature_names: Sequence[str] | None = None) -> Samples:
    """Samples of a user's X (n, d) and y (n,), (n, 1) or (n, C), which are not changed.

    Raises
    ------
    DataError : something that is no array of real numbers.
    """
    origin = Origin(name)
    features, feature_names = as_features(X, name, feature_names)
    target = _array(y, "y", name)
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    target = _target(target, origin)
    if feature_names is None:
        feature_names = tuple(f"x{j}" for j in range(features.shape[1] if features.ndim == 2 else 0))
    return Samples(features, target, tuple(feature_names), origin)


def as_features(
    X: Any, name: str, feature_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The features (n, d) in float64, and their names: the given ones, else those of a data frame's columns, else None.

    Raises
    ------
    DataError : something that is no array of real numbers.
    """
    if feature_names is None and hasattr(X, "columns"):
        feature_names = tuple(str(column) for column in X.columns)
    features = _numbers(_array(X, "X", name), "X", Origin(name), feature_names)
    return features, None if feature_names is None else tuple(feature_names)


def _array(values: Any, what: str, name: str) -> np.ndarray:
    """Whatever it is as a numpy array, without copying where that is possible."""
    if hasattr(values, "detach"):  # a torch tensor, on any device and of any type
        values = values.detach().cpu().double()
    elif hasattr(values, "toarray"):  # scipy.sparse
        values = values.toarray()
    elif hasattr(values, "to_numpy"):  # pandas, polars
        values = values.to_numpy()
    elif isinstance(values, np.ma.MaskedArray):  # what is masked is missing
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"{name}: {what} cannot be made into an array ({error}).", "Give every row the same length."
        ) from None
    if array.dtype.kind not in "bifuUO":
        raise DataError(f"{name}: {what} holds {array.dtype} values.", "Give real numbers.")
    return array


def _numbers(array: np.ndarray, what: str, origin: Origin, names: Sequence[str] | None = None) -> np.ndarray:
    """The array as float64; the first entry that is no number is named."""
    try:
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        at = _first_not_a_number(array)
        row = origin.row(at[0]) if at else "its only entry"
        column = "" if len(at) < 2 else f", column '{names[at[1]]}'" if names else f", column {at[1]}"
        raise DataError(
            f"{origin.name}, {what}, {row}{column}: {array[at]!r} is not a number.",
            "Give numbers only: encode or drop other entries.",
        ) from None


def _target(array: np.ndarray, origin: Origin) -> np.ndarray:
    """Numbers, or text labels where all entries are strings and not all of them numbers."""
    if array.dtype.kind == "O" and array.size and all(isinstance(value, str) for value in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind != "U":
        return _numbers(array, "y", origin)
    try:
        return array.astype(np.float64)
    except ValueError:
        return array


def _first_not_a_number(array: np.ndarray) -> tuple[int, ...]:
    for at in np.ndindex(array.shape):
        try:
            float(array[at])
        except (TypeError, ValueError, OverflowError):
            return at
    raise AssertionError("an array of numbers was refused as one that is not")
