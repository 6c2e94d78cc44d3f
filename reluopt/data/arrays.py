"""A user's own arrays (numpy, torch, pandas, lists) as samples: the one gate, with rows and columns by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reluopt.data.cells import is_missing as is_missing_word
from reluopt.data.origin import Origin
from reluopt.data.samples import Samples
from reluopt.errors import DataError
from reluopt.gate import as_vector, is_data
from reluopt.plain_arrays import Called, as_array, as_numbers, is_missing


def as_samples(X: Any, y: Any, name: str, feature_names: Sequence[str] | None = None) -> Samples:
    """Samples of a user's X (n, d) and y (n,), (n, 1) or (n, C), which are not changed.

    Raises
    ------
    DataError : something that is no array of real numbers, labels that are missing or neither numbers nor text.
    """
    features, feature_names = as_features(X, name, feature_names)
    if feature_names is None:
        feature_names = tuple(f"x{j}" for j in range(features.shape[1] if features.ndim == 2 else 0))
    target = _target(X.y if is_data(X) and y is None else y, name)
    return Samples(features, target, tuple(feature_names), Origin(name))


def as_features(
    X: Any, name: str, feature_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The features (n, d) in float64, and their names: the given ones, else those of a data frame's columns, else None.

    Raises
    ------
    DataError : something that is no array of real numbers.
    """
    if feature_names is None:
        feature_names = X.feature_names if is_data(X) else getattr(X, "columns", None)
    names = None if feature_names is None else tuple(str(column) for column in feature_names)
    return as_numbers(X.X if is_data(X) else X, Called("X", name, _entry(Origin(name), names))), names


def _entry(origin: Origin, names: Sequence[str] | None) -> Callable[[tuple[int, ...]], str]:
    def words(at: tuple[int, ...]) -> str:
        row = f"{origin.name}, {origin.row(at[0])}" if at else f"{origin.name}, X"
        if len(at) < 2:
            return row
        column = f"'{names[at[1]]}'" if names and at[1] < len(names) else str(at[1])
        return f"{row}, column {column}: the value"

    return words


def _target(y: Any, name: str) -> np.ndarray:
    """Numbers, truth values, or text labels where all entries are texts and not all of them numbers."""
    origin = Origin(name)
    called = Called("y", name, lambda at: f"{origin.name}, {origin.row(at[0]) if at else 'y'}, the target")
    array = as_vector(as_array(y, called))
    if array.dtype.kind == "b":  # its labels are False and True
        return array
    kinds = set(map(type, array.flat)) if array.dtype.kind in "USO" else set()
    if any(issubclass(kind, bytes) for kind in kinds):
        raise DataError(
            f"{called} holds bytes.", "Give y as real numbers, or labels as text: [label.decode() for label in y]."
        )
    if not any(issubclass(kind, str) for kind in kinds):
        return as_numbers(array, called)
    _require_labels(array, called)
    array = array.astype(np.str_)
    try:
        return array.astype(np.float64)
    except ValueError:
        return array


def _require_labels(array: np.ndarray, called: Called) -> None:
    """Every entry of an array with a text is a text, and none says that it is missing."""
    for number, value in enumerate(array.flat):
        at = np.unravel_index(number, array.shape)
        if is_missing(value) or (isinstance(value, str) and is_missing_word(value)):
            raise DataError(
                f"{called.at(at)}: the label is missing ({str(value)!r}), which is no class.",
                "Leave the sample out, or give it a label.",
            )
        if not isinstance(value, str):
            raise DataError(
                f"{called.at(at)} is {value!r}, beside labels that are text.",
                "Give all labels as text, or all as numbers: [str(label) for label in y].",
            )
