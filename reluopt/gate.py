"""The one gate for arrays: whatever people have becomes contiguous float64, or an error names the true cause.

How anything becomes numpy is in :mod:`reluopt.plain_arrays`; here is what X, y, weights and β must be.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reluopt.config import short
from reluopt.errors import ConfigError, DataError
from reluopt.plain_arrays import Called, as_numbers

#: Largest size of a value: certificates hold numbers up to 2^256, just above.
LARGEST = 1e77
#: The largest value of X and of y is at least this (or 0): products of smaller ones vanish, and with them every bound.
SMALLEST = 1e-77


class RowsAndTargets:
    """X and y in one, which every entry takes in the place of X: a :class:`~reluopt.Dataset`."""

    y: Any

    @property
    def pooled(self) -> tuple[np.ndarray, Any]:
        """The rows of the training problem, and their pooling or None."""
        raise NotImplementedError


def is_data(X: Any) -> bool:
    """Whether X is a data set."""
    return isinstance(X, RowsAndTargets)


def given(X: Any, y: Any = None) -> tuple[Any, Any, Any]:
    """(rows, y, pooling): those of a data set in the place of X, with its own y unless one is given."""
    if not isinstance(X, RowsAndTargets):
        return X, y, None
    rows, pooling = X.pooled
    return rows, X.y if y is None else y, pooling


def as_matrix(X: Any, name: str = "X") -> np.ndarray:
    """X as contiguous float64 (n, d), n and d at least 1, all values finite and at most ``LARGEST`` in size.

    A data set gives its rows.

    Raises
    ------
    DataError : anything else: sparse, complex, text, ragged, missing, infinite, huge, or nothing but tiny values.
    """
    array = as_numbers(given(X)[0], name)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"{name} has shape {array.shape}.",
            f"Give {name} as a matrix (n samples, d features), n and d at least 1; one feature as X.reshape(-1, 1).",
        )
    return _of_some_size(_finite(array, name), name)


def as_targets(y: Any, n: int, name: str = "y") -> np.ndarray:
    """Y as contiguous float64 (n,), or (n, C) with C > 1 outputs; a column (n, 1) counts as a vector.

    Raises
    ------
    DataError : another length or shape, or values that cannot be used.
    """
    array = as_vector(as_numbers(y, name))
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise DataError(
            f"{name} has shape {array.shape}.", "Give one target a sample, as a vector (n,), or C of them as (n, C)."
        )
    if len(array) != n:
        raise DataError(f"X has {n} samples and {name} has {len(array)}.", f"Give X and {name} the same length.")
    return _of_some_size(_finite(array, name), name)


def as_vector(y: np.ndarray) -> np.ndarray:
    """A column (n, 1) as the vector (n,); anything else as it is."""
    return np.ascontiguousarray(y[:, 0]) if y.ndim == 2 and y.shape[1] == 1 else y


def as_weights(weights: Any, n: int) -> np.ndarray:
    """Sample weights κ (n,) ≥ 0, one at least positive; ones where there are none.

    Raises
    ------
    DataError : negative or missing weights, or none that is positive.
    """
    if weights is None:
        return np.ones(n)
    array = as_targets(weights, n, "weights")
    if array.ndim != 1:
        raise DataError(f"The weights have shape {array.shape}.", "Give one weight a sample, as a vector (n,).")
    if (array < 0).any() or not array.any():
        raise DataError("Sample weights must be ≥ 0, and one of them positive.", "Correct the weights.")
    return array


def as_beta(beta: Any) -> float:
    """β as a positive finite float; numbers, numpy scalars and tensors of one element will do.

    Raises
    ------
    ConfigError : anything else.
    """
    try:
        if isinstance(beta, bool | str | bytes) or beta is None:
            raise TypeError
        value = float(beta.detach() if hasattr(beta, "detach") else beta)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ConfigError(f"β is {short(beta)}, not a number.", "Give a positive weight decay β.") from None
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"β is {value}.", "Give a positive finite weight decay β.")
    return value


def as_finite(values: Any, name: str) -> np.ndarray:
    """Values of any shape as contiguous float64, all finite and at most ``LARGEST`` in size.

    Raises
    ------
    DataError : anything else.
    """
    return _finite(as_numbers(values, name), name)


def as_whole(values: Any, name: str) -> np.ndarray:
    """Whole numbers of any shape as contiguous int64.

    Raises
    ------
    DataError : anything else: fractions, missing values, text.
    """
    array = as_finite(values, name)
    if (array != np.trunc(array)).any() or (np.abs(array) >= 2.0**53).any():
        raise DataError(f"{name} are not whole numbers.", f"Give {name} as integers.")
    return array.astype(np.int64)


def require_usable(array: np.ndarray, name: str | Called) -> None:
    """Refuse numbers that are missing, infinite or larger than ``LARGEST``, and name the first.

    One pass without temporaries: max and min propagate NaN, and a comparison with NaN is false.

    Raises
    ------
    DataError : there is one.
    """
    if not array.size or (array.max() <= LARGEST and array.min() >= -LARGEST):
        return
    with np.errstate(invalid="ignore"):
        bad = np.argwhere(~(np.abs(array) <= LARGEST))
    value = float(array[tuple(bad[0])])
    if math.isnan(value):
        what, remedy = "is missing (NaN)", "Fill in the value, or drop the sample or the column."
    elif math.isinf(value):
        what, remedy = f"is infinite ({value})", "Correct the value, or drop the sample."
    else:
        what = f"is {value:g}, too large: products of such numbers overflow"
        remedy = f"Rescale the column: sizes up to {LARGEST:g} are allowed."
    more = "" if len(bad) == 1 else f"; {len(bad)} such values in all"
    raise DataError(f"{Called.of(name).at(bad[0])} {what}{more}.", remedy)


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    require_usable(array, name)
    return array


def _of_some_size(array: np.ndarray, name: str) -> np.ndarray:
    """Refuse numbers that are all so small that their products are 0 in float64; zeros alone are zeros."""
    size = max(float(array.max(initial=0.0)), -float(array.min(initial=0.0)))
    if 0.0 < size < SMALLEST:
        raise DataError(
            f"The largest value of {name} is {size:g} in size, too small: products of such numbers vanish.",
            f"Rescale {name}: its largest value may be {SMALLEST:g} to {LARGEST:g} in size.",
        )
    return array
