"""What data must be before reluopt works on it. Each failure is a DataError with file, row, column and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reluopt.data.origin import Origin
from reluopt.errors import DataError
from reluopt.gate import require_usable
from reluopt.plain_arrays import Called

#: A target or feature that spans less than this has squares that underflow.
SMALLEST_SPREAD = 1e-150


def varies(low: Any, high: Any, n: int) -> Any:
    """Whether n values between these vary by more than rounding does: high − low > n·ε·max|x|."""
    size = np.maximum(np.abs(low), np.abs(high))
    return high - low > np.maximum(n * np.finfo(np.float64).eps * size, SMALLEST_SPREAD)


def require_spread(low: Any, high: Any, n: int, names: Sequence[str], where: str) -> None:
    """DataError where n values between these vary by more than rounding does, and yet too little to be squared.

    ``names`` : of what varies, one each of ``low`` and ``high`` (k,). ``where`` : the file.
    """
    size = np.maximum(np.abs(low), np.abs(high))
    spread = np.atleast_1d(high - low)
    tiny = np.flatnonzero((spread > n * np.finfo(np.float64).eps * size) & (spread < SMALLEST_SPREAD))
    if len(tiny):
        raise DataError(
            f"{where}: {names[tiny[0]]} varies by {spread[tiny[0]]:g} only, so little that squares vanish"
            f"{_more(len(tiny), 'column')}.",
            "Rescale it: multiply it by a power of ten.",
        )


def check_data(
    X: np.ndarray, y: np.ndarray, feature_names: tuple[str, ...], origin: Origin, *, zero_rows: bool = False
) -> None:
    """Everything that finished data must satisfy; ``X`` (n, d) and ``y`` (n,) or (n, C) in float64.

    ``zero_rows`` : whether X may have them: blank images, whose patches get a bias or are shifted.

    Raises
    ------
    DataError : shapes that do not fit, no or one sample, NaN, infinite or huge values, a constant target,
        a zero row of X.
    """
    check_shapes(X, y, feature_names, origin)
    check_values(X, feature_names, origin)
    check_target(y, origin)
    if not zero_rows:
        check_zero_rows(X, origin)


def check_shapes(X: np.ndarray, y: np.ndarray, feature_names: tuple[str, ...], origin: Origin) -> None:
    """X is (n, d) and y (n,) or (n, C) with n ≥ 2, d ≥ 1, and every column has a name."""
    if X.ndim != 2:
        images = " Of images: X.reshape(len(X), -1), or --patches SIZE for a file of them." if X.ndim > 2 else ""
        raise DataError(
            f"{origin.name}: X has shape {X.shape}.",
            f"Give X as a matrix (n samples, d features); a single feature as X.reshape(-1, 1).{images}",
        )
    if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] < 2):
        raise DataError(
            f"{origin.name}: y has shape {y.shape}.",
            "Give one target a sample, as a vector (n,), or C > 1 of them as (n, C).",
        )
    n, d = X.shape
    if n != len(y):
        raise DataError(f"{origin.name}: X has {n} samples and y has {len(y)}.", "Give X and y the same length.")
    if n == 0 or d == 0:
        what = "no samples" if n == 0 else "no features"
        raise DataError(f"{origin.name} is empty: it has {what}.", "Give at least two samples and one feature.")
    if n == 1:
        raise DataError(f"{origin.name} has one sample only.", "Give at least two samples.")
    if len(feature_names) != d:
        raise DataError(f"{origin.name}: {d} features have {len(feature_names)} names.", "Give one name a feature.")


def check_values(X: np.ndarray, feature_names: tuple[str, ...], origin: Origin) -> None:
    """Every value of X is finite and at most :data:`reluopt.gate.LARGEST` in size."""

    def entry(at: tuple[int, ...]) -> str:
        return f"{origin.name}, {origin.row(at[0])}, column '{feature_names[at[1]]}': the value"

    require_usable(X, Called("X", origin.name, entry))


def check_target_values(y: np.ndarray, origin: Origin) -> None:
    """Every number of y is finite and at most :data:`reluopt.gate.LARGEST` in size."""
    require_usable(y, Called("y", origin.name, lambda at: f"{origin.name}, {origin.row(at[0])}, the target: the value"))


def check_target(y: np.ndarray, origin: Origin) -> None:
    """The target is usable and varies."""
    check_target_values(y, origin)
    require_spread(y.min(), y.max(), len(y), ["the target"], origin.name)
    if y.max() - y.min() < SMALLEST_SPREAD:
        raise DataError(
            f"{origin.name}: the target is constant, y = {y.flat[0]:g} for all {len(y)} samples.",
            "Choose another target, or a larger or other subset: there is nothing to learn.",
        )


def check_zero_rows(X: np.ndarray, origin: Origin) -> None:
    """No row of X has the (float64) squared norm zero."""
    zero = np.flatnonzero(np.einsum("ij,ij->i", X, X) == 0.0)
    tiny = zero[X[zero].any(axis=1)]
    if len(tiny):
        raise DataError(
            f"{origin.name}, {origin.row(int(tiny[0]))}: the features are so small that their squares vanish"
            f" (squared norm 0 in float64){_more(len(tiny), 'row')}.",
            "Rescale the columns (multiply them by a power of ten), or drop the sample.",
        )
    if len(zero):
        raise DataError(
            f"{origin.name}, {origin.row(int(zero[0]))}: all features are zero after preprocessing"
            f" (squared norm 0 in float64){_more(len(zero), 'row')}.",
            "Add a bias column (bias = true), or drop the sample: no neuron can respond to it.",
        )


def _more(count: int, what: str) -> str:
    return "" if count == 1 else f"; {count} such {what}s in all"
