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
from jaxtyping import Float, Int

from reluopt.data.cells import POINT, Notation, parsed_numbers, texts
from reluopt.data.complaints import no_number
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
    """

    name: str
    fate: Fate
    why: str = ""
    categories: tuple[str, ...] = ()
    fills: tuple[float, ...] = ()

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
    """The rules of all columns in the table's order, how its numbers are written, and the targets in theirs."""

    columns: tuple[ColumnRule, ...]
    notation: Notation = POINT
    chosen: tuple[str, ...] = ()

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
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Encoding:
        """The inverse of :meth:`to_mapping`."""
        rules = (
            ColumnRule(r["name"], Fate(r["fate"]), r["why"], tuple(r["categories"]), tuple(r["fills"]))
            for r in mapping["columns"]
        )
        return cls(tuple(rules), Notation(**mapping["notation"]), tuple(mapping.get("targets", ())))

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

    def with_fills(self, means: Float[np.ndarray, " d"], gaps: Int[np.ndarray, " d"]) -> Encoding:
        """The same rules, with a mean for each feature; ``gaps`` counts the cells that it fills."""
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
        parsed = parsed_numbers(column, self.notation)
        if parsed.other.any():
            i = int(np.flatnonzero(parsed.other)[0])
            raise no_number(table, rule.name, i, self.notation)
        return parsed.values[:, None]


def _one_hot(rule: ColumnRule, column: Any, table: Table) -> Float[np.ndarray, "n k"]:
    """Zeros and ones (n, k), NaN in the rows where the cell is missing."""
    cells = texts(column)
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
