"""The one gate for arrays: whatever people have becomes contiguous float64, or an error names the true cause."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reluopt.errors import ConfigError, DataError

#: Largest size of a value: certificates hold numbers up to 2^256, just above.
LARGEST = 1e77


def as_matrix(X: Any, name: str = "X") -> np.ndarray:
    """X as contiguous float64 (n, d), n and d at least 1, all values finite and at most ``LARGEST`` in size.

    Raises
    ------
    DataError : anything else: sparse, complex, text, ragged, missing, infinite, huge.
    """
    array = as_numbers(X, name)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"{name} has shape {array.shape}.",
            f"Give {name} as a matrix (n samples, d features), n and d at least 1; one feature as X.reshape(-1, 1).",
        )
    return _finite(array, name)


def as_targets(y: Any, n: int, name: str = "y") -> np.ndarray:
    """Y as contiguous float64 (n,), or (n, C) with C > 1 outputs; a column (n, 1) counts as a vector.

    Raises
    ------
    DataError : another length or shape, or values that cannot be used.
    """
    if y is None:
        raise DataError(f"There is no {name}.", f"Give {name}, one value a sample.")
    array = as_numbers(y, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = np.ascontiguousarray(array[:, 0])
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise DataError(
            f"{name} has shape {array.shape}.", "Give one target a sample, as a vector (n,), or C of them as (n, C)."
        )
    if len(array) != n:
        raise DataError(f"X has {n} samples and {name} has {len(array)}.", f"Give X and {name} the same length.")
    return _finite(array, name)


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
        raise ConfigError(f"β is {_short(beta)}, not a number.", "Give a positive weight decay β.") from None
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"β is {value}.", "Give a positive finite weight decay β.")
    return value


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Values of any shape as contiguous float64.

    Raises
    ------
    DataError : sparse, complex, text, ragged.
    """
    if (
        hasattr(values, "toarray")
        or getattr(values, "is_sparse", False)
        or "sparse" in str(getattr(values, "layout", ""))
    ):
        raise DataError(f"{name} is sparse.", f"Give it dense: {name}.toarray(), or {name}.to_dense() in torch.")
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double().numpy() if values.dtype.is_floating_point else values.numpy()
    try:
        if np.ma.is_masked(values):
            values = np.ma.filled(values.astype(np.float64), np.nan)
        array = np.asarray(values)
        if array.dtype == object:
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{name} is not an array of numbers.",
            f"Give {name} as numbers in equal rows; encode text columns first, and fill in missing cells.",
        ) from None
    if array.dtype.kind not in "fiub":
        kind = "complex numbers" if array.dtype.kind == "c" else f"values of type {array.dtype}"
        raise DataError(f"{name} holds {kind}.", f"Give {name} as real numbers.")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8 and np.isfinite(array).any():
        with np.errstate(over="ignore"):
            array = array.astype(np.float64)
    array = np.ascontiguousarray(array, dtype=np.float64)
    return array if array.flags.writeable else array.copy()  # torch takes no array that is read only, as pandas' are


def as_finite(values: Any, name: str) -> np.ndarray:
    """Values of any shape as contiguous float64, all finite and at most ``LARGEST`` in size.

    Raises
    ------
    DataError : anything else.
    """
    array = as_numbers(values, name)
    return _finite(array, name) if array.size else array


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


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    """One pass without temporaries: max and min propagate NaN, and a comparison with NaN is false."""
    if array.max() <= LARGEST and array.min() >= -LARGEST:
        return array
    with np.errstate(invalid="ignore"):
        bad = np.argwhere(~(np.abs(array) <= LARGEST))
    where, value = ", ".join(str(int(i)) for i in bad[0]), float(array[tuple(bad[0])])
    if math.isnan(value):
        what, remedy = "is missing (NaN)", "Fill in the value, or drop the sample or the column."
    elif math.isinf(value):
        what, remedy = f"is infinite ({value})", "Correct the value, or drop the sample."
    else:
        what = f"is {value:g}, too large: products of such numbers overflow"
        remedy = f"Rescale the column: sizes up to {LARGEST:g} are allowed."
    more = "" if len(bad) == 1 else f"; {len(bad)} such values in all"
    raise DataError(f"{name}[{where}] {what}{more}.", remedy)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
