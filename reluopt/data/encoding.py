"""What becomes of each column of a table: decided once (:func:`fit`), stored, and applied to any table like it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from reluopt.data.cells import POINT, Notation, parsed_numbers, texts
from reluopt.data.complaints import no_number, place
from reluopt.data.known import holds_numbers, label_text, meanings
from reluopt.data.table import Table, short
from reluopt.errors import DataError

#: The remark on a column whose missing cells were filled.
FILLED = "missing cells filled with the mean"


class Fate(StrEnum):
    """What becomes of a column."""

    TARGET = "target"
    NUMBER = "kept as numbers"
    ONE_HOT = "one-hot"
    INDEX = "index, left out"
    DROPPED = "left out as asked"
    EMPTY = "empty, left out"
    CONSTANT = "constant, left out"


@dataclass(frozen=True)
class ColumnRule:
    """The rule for one column.

    Attributes
    ----------
    name : of the column.
    fate : what becomes of it.
    why : a remark, "" if none.
    categories : one-hot: the values, in their order; the first of two gives no feature of its own.
    fills : the means that replace what is missing, one a feature; empty where nothing is replaced.
    truth : numbers: whether they were truth values, which a text file writes as words.
    """

    name: str
    fate: Fate
    why: str = ""
    categories: tuple[str, ...] = ()
    fills: tuple[float, ...] = ()
    truth: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that come of the column."""
        if self.fate is Fate.NUMBER:
            return (self.name,)
        if self.fate is not Fate.ONE_HOT:
            return ()
        shown = self.categories[1:] if len(self.categories) == 2 else self.categories
        return tuple(f"{self.name}={short(value)}" for value in shown)


@dataclass(frozen=True)
class Encoding:
    """The rules of all columns in the table's order, how its numbers are written, and the targets in theirs.

    ``text_target`` : the target is labels of text, whatever the rows of a further table look like.
    """

    columns: tuple[ColumnRule, ...]
    notation: Notation = POINT
    chosen: tuple[str, ...] = ()
    text_target: bool = False

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of all features, in their order."""
        return tuple(name for rule in self.columns for name in rule.features)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the target columns, in the order of the outputs; none where the data came of no table."""
        return self.chosen or tuple(rule.name for rule in self.columns if rule.fate is Fate.TARGET)

    def to_mapping(self) -> dict[str, Any]:
        """The encoding as plain values that JSON can hold."""
        return {
            "columns": [{**dataclasses.asdict(rule), "fate": rule.fate.value} for rule in self.columns],
            "notation": dataclasses.asdict(self.notation),
            "targets": list(self.targets),
            "text_target": self.text_target,
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Encoding:
        """The inverse of :meth:`to_mapping`."""
        rules = (
            ColumnRule(
                r["name"], Fate(r["fate"]), r["why"], tuple(r["categories"]), tuple(r["fills"]), r.get("truth", False)
            )
            for r in mapping["columns"]
        )
        notation, targets = Notation(**mapping["notation"]), tuple(mapping.get("targets", ()))
        return cls(tuple(rules), notation, targets, mapping.get("text_target", False))

    @property
    def numeric(self) -> frozenset[str]:
        """The columns that are read as numbers. Codes are none: 01 is not 1."""
        numbers = {rule.name for rule in self.columns if rule.fate is Fate.NUMBER}
        return frozenset(numbers if self.text_target else numbers.union(self.targets))

    def features(self, table: Table) -> Float[np.ndarray, "n d"]:
        """The features (n, d) of a table with these columns: numbers, 0/1 for categories, NaN where a cell is missing.

        Raises
        ------
        DataError : a column that is not there, a cell that is no number, a category that is not among the known ones.
        """
        n = len(table.columns[0]) if table.columns else 0
        X = np.empty((n, len(self.feature_names)))
        at = 0
        for rule in self.columns:
            width = len(rule.features)
            if width:
                column = table.columns[table.place(rule.name)]
                X[:, at : at + width] = self._encoded(rule, column, table)
                at += width
        return X

    def filled(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """X with its NaN replaced by the stored means, where there are some; in place."""
        at = 0
        for rule in self.columns:
            for k, fill in enumerate(rule.fills):
                X[np.isnan(X[:, at + k]), at + k] = fill
            at += len(rule.features)
        return X

    def with_means(self, X: Float[np.ndarray, "n d"]) -> Encoding:
        """The same rules, which fill what is missing with the means of these features."""
        means, gaps = _means(X), np.isnan(X).sum(axis=0)
        rules, at = [], 0
        for rule in self.columns:
            width = len(rule.features)
            fills, count = tuple(float(m) for m in means[at : at + width]), int(gaps[at : at + width].max(initial=0))
            why = f"{rule.why}; {count:,} {FILLED}".removeprefix("; ") if count else rule.why
            rules.append(dataclasses.replace(rule, fills=fills, why=why))
            at += width
        return dataclasses.replace(self, columns=tuple(rules))

    def _encoded(self, rule: ColumnRule, column: Any, table: Table) -> Float[np.ndarray, "n k"]:
        if rule.fate is Fate.ONE_HOT:
            return _one_hot(rule, column, table)
        if rule.truth and pa.types.is_string(column.type):
            column = _truths(column)
        parsed = parsed_numbers(column, self.notation)
        if parsed.other.any():
            i = int(np.flatnonzero(parsed.other)[0])
            raise no_number(table, rule.name, i, self.notation)
        return parsed.values[:, None]


def _truths(column: Any) -> Any:
    """The words true and false, in letters of either case, as 1 and 0; other cells as they are."""
    for word, number in (("true", "1"), ("false", "0")):
        column = pc.replace_substring_regex(column, rf"^\s*(?i:{word})\s*$", number)
    return column


@np.errstate(invalid="ignore", over="ignore")  # a check names infinite and huge values later
def _means(X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean of what is there in each column, 0 where nothing is."""
    gaps = np.isnan(X)
    return np.where(gaps, 0.0, X).sum(axis=0) / np.maximum((~gaps).sum(axis=0), 1)


def _one_hot(rule: ColumnRule, column: Any, table: Table) -> Float[np.ndarray, "n k"]:
    """Zeros and ones (n, k), NaN in the rows where the cell is missing."""
    cells = _as_known(rule, column, table)
    codes = pc.index_in(cells, value_set=pa.array(rule.categories, pa.string()))
    unknown = pc.and_(pc.is_null(codes), pc.is_valid(cells))
    if pc.any(unknown).as_py():
        i = int(pc.index(unknown, True).as_py())
        raise DataError(
            f"{table.origin.name}, {table.origin.row(i)}, column '{short(rule.name)}': "
            f"'{short(cells[i].as_py())}' is not among the known values.",
            "Use one of: " + ", ".join(short(value) for value in rule.categories[:10]) + ".",
        )
    code = np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False))
    first = 1 if len(rule.categories) == 2 else 0
    out = (code[:, None] == np.arange(first, len(rule.categories))).astype(np.float64)
    out[code < 0] = np.nan
    return out


def _as_known(rule: ColumnRule, column: Any, table: Table) -> Any:
    """The cells as text, null where one is missing; of numbers and truth values the categories that they stand for."""
    if not holds_numbers(column.type):
        return texts(column)
    parsed = parsed_numbers(column)
    different, index = np.unique(parsed.values[~parsed.missing], return_inverse=True)
    truth = pa.types.is_boolean(column.type)
    words = meanings((different == 1.0 if truth else different).tolist(), rule.categories)
    for k, found in enumerate(words):
        if len(found) > 1:
            i = int(np.flatnonzero(~parsed.missing)[np.argmax(index == k)])
            raise DataError(
                f"{place(table, rule.name, i)}: the value {label_text(different[k])} may be "
                f"{' or '.join(repr(word) for word in found)}.",
                "Give the column as text, as it is in the training data (pandas: read_csv(..., dtype=str)).",
            )
    cells = np.full(len(parsed.values), None, dtype=object)
    cells[~parsed.missing] = np.array([found[0] for found in words], dtype=object)[index]
    return pa.array(cells, pa.string())
