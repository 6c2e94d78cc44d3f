"""Targets: two classes become -1 and +1, numbers stay numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.data.samples import Samples
from reluopt.errors import DataError


def map_labels(samples: Samples, rule: str) -> tuple[Float[np.ndarray, " n"], dict[str, str] | None]:
    """The target in float64 and the label map (None where numbers stay as they are).

    Parameters
    ----------
    rule : ``binary`` (two classes are needed; of two values the lower, or alphabetically first, becomes −1),
        ``real`` (numbers are needed) or ``auto`` (binary where there are two values or digits, else real).

    Raises
    ------
    DataError : not two classes where two are needed, text where numbers are needed, or a digit outside 0-9.
    """
    y = samples.y
    if samples.digit_labels and rule != "real":
        return _digit_halves(samples)
    text = y.dtype.kind == "U"
    if rule == "real":
        if text:
            raise _not_a_number(samples)
        return y.astype(np.float64), None
    values = np.unique(y)
    if len(values) == 2:
        return np.where(y == values[0], -1.0, 1.0), {"-1": str(values[0]), "+1": str(values[1])}
    if rule == "auto" and not text:
        return y.astype(np.float64), None
    shown = ", ".join(f"'{v}'" if text else f"{v:g}" for v in values[:5]) + (", …" if len(values) > 5 else "")
    raise DataError(
        f"{samples.origin.name}: the target has {len(values)} different values ({shown}), and two are needed.",
        "Keep the samples of two classes" + ("." if text else ', or set labels = "real" for a numeric target.'),
    )


def _digit_halves(samples: Samples) -> tuple[Float[np.ndarray, " n"], dict[str, str]]:
    """The paper's two classes of digits: 0-4 become −1, 5-9 become +1."""
    outside = np.flatnonzero((samples.y < 0) | (samples.y > 9))
    if len(outside):
        i = int(outside[0])
        raise DataError(
            f"{samples.origin.name}, {samples.origin.row(i)}: the label is {samples.y[i]:g}, not a digit 0 to 9.",
            "Give digit data, or bring other data as CSV or NPZ.",
        )
    return np.where(samples.y < 5, -1.0, 1.0), {"-1": "digits 0 to 4", "+1": "digits 5 to 9"}


def _not_a_number(samples: Samples) -> DataError:
    where = f"{samples.origin.name}, {samples.origin.row(0)}"
    return DataError(
        f"{where}, the target: '{samples.y[0]}' is not a number.",
        'Choose a numeric target, or set labels = "binary" for a target of two labels.',
    )
