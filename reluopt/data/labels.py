"""Targets: two classes become -1 and +1, several classes unit rows (one output each), numbers stay numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from reluopt.data.known import label_text, meanings
from reluopt.data.origin import Origin
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
        return _digit_halves(y, samples.origin)
    if task == "regression":
        if text:
            raise _not_a_number(y, samples.origin)
        return y.astype(np.float64), None
    values = np.unique(y)
    if len(values) == 2:
        return np.where(y == values[0], -1.0, 1.0), LabelRule("two", tuple(values.tolist())).labels
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
    labels = LabelRule("classes", tuple(values.tolist())).labels
    assert labels is not None
    return np.eye(len(values))[index.ravel()], labels


def _several_columns(samples: Samples, task: str, positive: str | None) -> Float[np.ndarray, "n C"]:
    """Several targets a sample are numbers, or labels 0/1 or −1/+1: they stay as they are."""
    if positive is not None or samples.y.dtype.kind == "U":
        raise DataError(
            f"{samples.origin.name}: the target has {samples.y.shape[1]} columns, and labels are one.",
            "Give numbers in all of them (labels as 0 and 1), or one column of labels.",
        )
    return samples.y.astype(np.float64)


@dataclass(frozen=True)
class LabelRule:
    """How targets become those of the training problem, so that it can be stored and applied to further samples.

    Attributes
    ----------
    kind : "numbers" (as they are), "columns" (several of them, as they are; ``values`` is their number), "two"
        (``values`` are the labels of −1 and +1), "positive" (the only one of ``values`` is +1, all others are −1),
        "digits" (0-4 are −1, 5-9 are +1), or "classes" (unit rows, one output a label of ``values``).
    values : labels, as they stand in the data: texts, numbers, or truth values.
    """

    kind: str
    values: tuple[str | float | bool, ...] = ()

    @property
    def labels(self) -> dict[str, str] | None:
        """The labels "-1" and "+1" of two, those of several by the number of their output; None of other kinds."""
        if self.kind not in ("two", "classes"):
            return None
        keys = ("-1", "+1") if self.kind == "two" else map(str, range(len(self.values)))
        return dict(zip(keys, map(label_text, self.values), strict=True))

    @property
    def of_texts(self) -> bool:
        """Whether the labels are texts; what the label +1 alone is does not say that of the others."""
        return self.kind != "positive" and any(isinstance(value, str) for value in self.values)

    def new_labels(self, y: np.ndarray) -> Int[np.ndarray, " k"]:
        """The places of labels that the known samples do not have; none where any number is taken."""
        if self.kind not in ("two", "classes"):
            return np.flatnonzero(np.zeros(len(y), dtype=bool))
        return np.flatnonzero(~np.isin(y, np.array(self.values)))

    def apply(self, y: np.ndarray, origin: Origin) -> Float[np.ndarray, "n ..."]:
        """The targets (n,) or (n, C) of labels or numbers.

        Raises
        ------
        DataError : a label that the known samples do not have, text where numbers are needed or the reverse, other
            columns than those to train on.
        """
        if (y.ndim == 2) != (self.kind == "columns") or (y.ndim == 2 and y.shape[1] != self.values[0]):
            raise DataError(
                f"{origin.name}: the targets have other columns than those to train on.", "Give both alike."
            )
        if self.kind == "positive":
            return np.where(_equals(y, str(self.values[0])), 1.0, -1.0)
        y = self._alike(y, origin)
        if y.dtype.kind == "U" and not self.of_texts:
            raise _not_a_number(y, origin)
        if self.kind == "digits":
            return _digit_halves(y, origin)[0]
        if self.kind in ("numbers", "columns"):
            return y.astype(np.float64)
        rows = self._unit_rows(y, origin)
        return rows if self.kind == "classes" else np.where(rows[:, 0] > 0, -1.0, 1.0)

    def _unit_rows(self, y: np.ndarray, origin: Origin) -> Float[np.ndarray, "n C"]:
        values = np.array(self.values)
        if len(new := self.new_labels(y)):
            raise DataError(
                f"{origin.name}, {origin.row(int(new[0]))}: the label {_word(y[new[0]])!r} is not "
                f"among those to train on ({_shown(values)}).",
                "Correct the label, or leave the sample out.",
            )
        return (y[:, None] == values).astype(np.float64)

    def _alike(self, y: np.ndarray, origin: Origin) -> np.ndarray:
        """The targets written as the labels are: a Parquet file has truth values where a text file has words."""
        if self.of_texts and y.dtype.kind != "U":
            return _as_texts(y, [str(value) for value in self.values], origin)
        if y.dtype.kind == "U" and self.values and all(isinstance(value, bool) for value in self.values):
            lowered = np.char.lower(y)
            if np.isin(lowered, ("true", "false")).all():
                return lowered == "true"
        return y


#: Targets as they are.
NUMBERS = LabelRule("numbers")


def label_rule(
    samples: Samples, mapped: Float[np.ndarray, "n ..."], labels: dict[str, str] | None, positive: str | None
) -> LabelRule:
    """The rule by which :func:`map_labels` made ``mapped`` and ``labels`` of the same samples."""
    if samples.y.ndim == 2:
        return LabelRule("columns", (samples.y.shape[1],))
    if labels is None:
        return NUMBERS
    if positive is not None:
        return LabelRule("positive", (labels["+1"],))
    if samples.digit_labels and mapped.ndim == 1:
        return LabelRule("digits")
    return LabelRule("two" if mapped.ndim == 1 else "classes", tuple(np.unique(samples.y).tolist()))


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
    others_shown = label_text(others[0].item()) if len(others) == 1 else _shown(others)
    return np.where(chosen, 1.0, -1.0), {"-1": others_shown, "+1": label_text(y[chosen][0].item())}


def _equals(y: np.ndarray, label: str) -> Bool[np.ndarray, " n"]:
    if y.dtype.kind == "U":
        return y == label
    if y.dtype.kind == "b" and label.lower() in ("true", "false"):
        return y == (label.lower() == "true")
    try:
        return y == float(label)
    except ValueError:
        return np.zeros(len(y), dtype=bool)


def _digit_halves(y: np.ndarray, origin: Origin) -> tuple[Float[np.ndarray, " n"], dict[str, str]]:
    """The paper's two classes of digits: 0-4 become −1, 5-9 become +1."""
    outside = np.flatnonzero((y < 0) | (y > 9))
    if len(outside):
        i = int(outside[0])
        raise DataError(
            f"{origin.name}, {origin.row(i)}: the label is {y[i]:g}, not a digit 0 to 9.",
            "Say --task multiclass for one output a label, or leave the image out.",
        )
    return np.where(y < 5, -1.0, 1.0), {"-1": "digits 0 to 4", "+1": "digits 5 to 9"}


def _not_a_number(y: np.ndarray, origin: Origin) -> DataError:
    where = f"{origin.name}, {origin.row(0)}"
    return DataError(
        f"{where}, the target: '{short(str(y[0]))}' is not a number.",
        "Choose a numeric target, or say --task classification for a target of labels.",
    )


def _as_texts(y: np.ndarray, known: Sequence[str], origin: Origin) -> np.ndarray:
    """Numbers or truth values as the known labels that they stand for.

    Raises
    ------
    DataError : a number that may stand for several.
    """
    different, index = np.unique(y, return_inverse=True)
    words = meanings(different.tolist(), known)
    for k, found in enumerate(words):
        if len(found) > 1:
            i = int(np.flatnonzero(index == k)[0])
            raise DataError(
                f"{origin.name}, {origin.row(i)}: the label {_word(different[k])} may be "
                f"{' or '.join(repr(word) for word in found)}.",
                "Give the labels as text, as they are in the data to train on.",
            )
    return np.array([found[0] for found in words], dtype=np.str_)[index.ravel()]


def _word(value: np.generic) -> str:
    """A label for a message."""
    return short(label_text(value.item()))


def _shown(values: np.ndarray) -> str:
    return ", ".join(_word(value) for value in values[:5]) + (", …" if len(values) > 5 else "")
