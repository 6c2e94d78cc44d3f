"""What was done to a data set, in sentences that every command shows."""

from __future__ import annotations

from collections.abc import Sequence

from reluopt.data.dataset import Dataset
from reluopt.data.encoding import FILLED, ColumnRule, Fate
from reluopt.data.table import short

#: Columns that a remark names; the others are counted.
NAMED = 6

_LEFT_OUT = {
    Fate.INDEX: "the index",
    Fate.EMPTY: "empty",
    Fate.CONSTANT: "constant",
    Fate.DROPPED: "as asked",
}


def remarks(dataset: Dataset) -> list[str]:
    """What a user may not expect: how the file was read, columns left out or one-hot, rows dropped, the labels."""
    preparation = dataset.preparation
    if preparation is None:
        return []
    said = []
    if preparation.reading is not None:
        said += [*preparation.reading.notes, *_notation(preparation.reading.encoding.notation.decimal)]
        columns = preparation.columns()
        for fate, why in _LEFT_OUT.items():
            if names := [rule.name for rule in columns if rule.fate is fate]:
                said.append(f"left out, {why}: {named(names)}")
        if hot := [rule for rule in columns if rule.fate is Fate.ONE_HOT]:
            said.append(
                f"one-hot: {named([rule.name for rule in hot], [f' ({len(r.categories)} values)' for r in hot])}"
            )
        if filled := [rule.name for rule in columns if FILLED in rule.why]:
            said.append(f"missing cells filled with the mean: {named(filled)}")
        for gone in preparation.reading.dropped:
            said.append(f"{gone.rows:,} of {preparation.reading.rows:,} rows dropped: {gone.why} (first: {gone.first})")
        said += [f"'{short(rule.name)}' {rule.why}" for rule in columns if _doubtful(rule)]
    for why, rows in dataset.preprocessing.get("test_rows_dropped", {}).items():
        of = dataset.preprocessing["test_rows_in_file"]
        said.append(f"{rows:,} of {of:,} rows of the test file dropped: {why}")
    labels = preparation.target.labels
    if labels and "-1" not in labels:
        said.append(f"{len(labels)} classes, one output each: {named(list(labels.values()))}")
    elif not labels and preparation.output_names:
        said.append(f"{len(preparation.output_names)} targets, one output each: {named(preparation.output_names)}")
    elif labels:
        said.append(f"labels: −1 is {short(labels['-1'], 120)}; +1 is {short(labels['+1'])}")
    return said


def named(names: Sequence[str], details: Sequence[str] | None = None) -> str:
    """The first names, each with its detail, and how many there are beside them."""
    details = details or [""] * len(names)
    shown = ", ".join(short(name) + detail for name, detail in list(zip(names, details, strict=True))[:NAMED])
    return shown + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _doubtful(rule: ColumnRule) -> bool:
    return rule.fate is Fate.NUMBER and rule.why.startswith("numbers the rows")


def _notation(decimal: str) -> list[str]:
    return ["decimal commas"] if decimal == "," else []
