"""Targets: two classes become -1 and +1, several classes unit rows (one output each), numbers stay numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from reluopt.data.samples import Samples
from reluopt.data.table import short
from reluopt.errors import DataError

#: Whole numbers with 3 to this many different values, each twice or more on average, may be classes.
FEW = 20
#: More classes than this are hardly meant: each is an output of the network.
MOST_CLASSES = 1000


def map_labels(
    samples: Samples, task: str, positive: str | None = None
) -> tuple[Float[np.ndarray, "n ..."], dict[str, str] | None]:
    """The target in float64, (n,) or (n, C), and the label map (None where numbers stay as they are).

    Parameters
    ----------
    task : ``classification`` (of two values the lower, or alphabetically first, becomes −1; more are multiclass),
        ``multiclass`` (one output a value, by rising value: y_ik = 1 for the class k of sample i, else 0),
        ``regression`` (numbers are needed) or ``auto`` (classification where there are two values, text or digits, else
        regression; whole numbers with a few values are asked about).
    positive : the label that becomes +1; all others become −1.

    Raises
    ------
    DataError : one class only, too many of them, several columns where there is to be one, text where numbers are
        needed, a digit outside 0-9, a target that may be classes or numbers.
    """
    y = samples.y
    text = y.dtype.kind == "U"
    if y.ndim == 2:
        return _several_columns(samples, task, positive), None
    if positive is not None:
        return _one_against_the_rest(samples, task, positive)
    if task == "multiclass":
        return _unit_rows(samples)
    if samples.digit_labels and task != "regression":
        return _digit_halves(samples)
    if task == "regression":
        if text:
            raise _not_a_number(samples)
        return y.astype(np.float64), None
    values = np.unique(y)
    if len(values) == 2:
        return np.where(y == values[0], -1.0, 1.0), {"-1": _word(values[0]), "+1": _word(values[1])}
    if task == "auto" and not text:
        ask_about_few_values(samples)
        return y.astype(np.float64), None
    if len(values) <= FEW and 2 * len(values) <= len(y):
        return _unit_rows(samples)
    raise DataError(
        f"{samples.origin.name}: the target has {len(values)} different values ({_shown(values)}), many for classes.",
        "Say --task multiclass if each is a class, --positive LABEL for one class against the others, such as "
        f"--positive {_word(values[-1])!r}" + ("." if text else ", or --task regression for numbers."),
    )


def _unit_rows(samples: Samples) -> tuple[Float[np.ndarray, "n C"], dict[str, str]]:
    """y_ik = 1 for the class k of sample i; the labels by the number of their output."""
    values, index = np.unique(samples.y, return_inverse=True)
    if not 2 <= len(values) <= MOST_CLASSES:
        raise DataError(
            f"{samples.origin.name}: the target has {len(values)} different values ({_shown(values)}).",
            f"Several classes are 2 to {MOST_CLASSES}: choose another target, or --task regression for numbers.",
        )
    return np.eye(len(values))[index.ravel()], {str(k): _word(value) for k, value in enumerate(values)}


def _several_columns(samples: Samples, task: str, positive: str | None) -> Float[np.ndarray, "n C"]:
    """Several targets a sample are numbers, or labels 0/1 or −1/+1: they stay as they are."""
    if positive is not None or samples.y.dtype.kind == "U":
        raise DataError(
            f"{samples.origin.name}: the target has {samples.y.shape[1]} columns, and labels are one.",
            "Give numbers in all of them (labels as 0 and 1), or one column of labels.",
        )
    return samples.y.astype(np.float64)


def labels_like(known: Samples, samples: Samples, task: str, positive: str | None = None) -> Float[np.ndarray, "n ..."]:
    """The target of further samples, mapped as :func:`map_labels` maps that of the known ones.

    Raises
    ------
    DataError : a label that the known samples do not have, text where numbers are needed.
    """
    if samples.y.dtype.kind != known.y.dtype.kind:
        raise (
            _not_a_number(samples)
            if samples.y.dtype.kind == "U"
            else DataError(
                f"{samples.origin.name}: the targets are numbers, and those to train on are text.", "Give both alike."
            )
        )
    if samples.y.ndim != known.y.ndim or samples.y.shape[1:] != known.y.shape[1:]:
        raise DataError(
            f"{samples.origin.name}: the targets have other columns than those to train on.", "Give both alike."
        )
    if known.y.ndim == 2:
        return samples.y.astype(np.float64)
    if positive is not None:
        return np.where(_equals(samples.y, positive), 1.0, -1.0)
    if task == "multiclass":
        return _like_known_classes(known, samples)
    if known.digit_labels and task != "regression":
        return _digit_halves(samples)[0]
    values = np.unique(known.y)
    if len(values) != 2 and task != "regression" and (known.y.dtype.kind == "U" or task == "classification"):
        return _like_known_classes(known, samples)
    if task == "regression" or len(values) != 2:
        return samples.y.astype(np.float64)
    return np.where(_like_known_classes(known, samples)[:, 0] > 0, -1.0, 1.0)


def _like_known_classes(known: Samples, samples: Samples) -> Float[np.ndarray, "n C"]:
    """Unit rows over the classes of the known samples."""
    values = np.unique(known.y)
    rows = (samples.y[:, None] == values).astype(np.float64)
    new = np.flatnonzero(~rows.any(axis=1))
    if len(new):
        raise DataError(
            f"{samples.origin.name}, {samples.origin.row(int(new[0]))}: the label {_word(samples.y[new[0]])!r} is not "
            f"among those to train on ({_shown(values)}).",
            "Correct the label, or leave the sample out.",
        )
    return rows


def ask_about_few_values(samples: Samples) -> None:
    """Refuse to guess whether whole numbers with a few different values are classes or numbers.

    Raises
    ------
    DataError : they may be either.
    """
    y = samples.y
    if y.dtype.kind == "U" or not (y[:1000] == np.rint(y[:1000])).all():
        return
    values = np.unique(y)
    if 3 <= len(values) <= FEW and 2 * len(values) <= len(y) and (values == np.rint(values)).all():
        raise DataError(
            f"{samples.origin.name}: the target is whole numbers with {len(values)} different values "
            f"({_shown(values)}): classes, or numbers?",
            "Say --task multiclass for classes, --task regression for numbers, or --positive LABEL for one class "
            "against the others, "
            f"such as --positive {_word(values[-1])} (in TOML and Python: task, positive).",
        )


def _one_against_the_rest(samples: Samples, task: str, positive: str) -> tuple[Float[np.ndarray, " n"], dict[str, str]]:
    y = samples.y
    if task == "regression":
        raise DataError(
            f"{samples.origin.name}: a positive label '{short(positive)}' is given for a regression.",
            "Leave positive out, or set the task to classification.",
        )
    chosen = _equals(y, positive)
    values, others = np.unique(y), np.unique(y[~chosen])
    if not chosen.any():
        raise DataError(
            f"{samples.origin.name}: no target is '{short(positive)}'.", f"Give one of the labels: {_shown(values)}."
        )
    return np.where(chosen, 1.0, -1.0), {"-1": _shown(others), "+1": positive}


def _equals(y: np.ndarray, label: str) -> Bool[np.ndarray, " n"]:
    if y.dtype.kind == "U":
        return y == label
    try:
        return y == float(label)
    except ValueError:
        return np.zeros(len(y), dtype=bool)


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
        f"{where}, the target: '{short(str(samples.y[0]))}' is not a number.",
        "Choose a numeric target, or say --task classification for a target of labels.",
    )


def _word(value: np.generic) -> str:
    return short(str(value)) if value.dtype.kind == "U" else f"{value:g}"


def _shown(values: np.ndarray) -> str:
    return ", ".join(_word(value) for value in values[:5]) + (", …" if len(values) > 5 else "")
