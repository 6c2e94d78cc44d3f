"""Deciding what becomes of each column: target, index, numbers, categories; and refusing what is none of them."""

from __future__ import annotations

import csv
import dataclasses
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reluopt.data.cells import THOUSANDS, Notation, Parsed, dates, decimal_sign, parsed_numbers, texts, textual
from reluopt.data.complaints import ONE_HOT, no_feature, no_number
from reluopt.data.encoding import ColumnRule, Encoding, Fate
from reluopt.data.notations import surely_number
from reluopt.data.table import Table, TableSettings, short
from reluopt.errors import DataError

#: Values that a column of text may have to become categories by itself.
MOST_CATEGORIES = 50

#: A name has at most so many words; a first column of longer texts is text, and not the names of the rows.
NAME_WORDS = 5

#: Texts that are at most this fraction of a column's cells are mistakes among numbers.
RARE = 0.2

_INDEX_NAME = re.compile(
    r"(unnamed: ?[0-9.]+|index|idx|id|_id|row_?id|row[._ ]?(names?|num(ber)?|nr)?|rn|obs(ervation|num|no|nr)?|"
    r"no\.?|nr\.?|#|case(id|no|_id)?|sample_?id|record_?id|rec(ord)?_?no?)",
    re.IGNORECASE,
)


def fit(table: Table, settings: TableSettings) -> Encoding:
    """The rule for every column of a table.

    Raises
    ------
    DataError : no target is chosen, a column that is named is not there, or a column that is neither numbers nor
        categories.
    """
    targets = _targets(table, settings)
    if not len(table.columns[targets[0]]):
        raise DataError(f"{table.origin.name} is empty: it has names of columns and no samples.", "Give at least two.")
    left_out = _left_out(table, settings)
    if both := [j for j in targets if j in left_out]:
        raise DataError(f"The target '{short(table.names[both[0]])}' is also left out.", "Leave out other columns.")
    notation = _notation(table, settings, left_out)
    rules: list[ColumnRule] = []
    leading = True
    for j, name in enumerate(table.names):
        if j in targets:
            rules.append(ColumnRule(name, Fate.TARGET))
        elif j in left_out:
            rules.append(ColumnRule(name, left_out[j]))
        else:
            rules.append(_rule(table, j, notation, settings, leading))
        leading = leading and rules[-1].fate in (Fate.INDEX, Fate.DROPPED)
    rules = _with_a_feature(rules, table)
    return Encoding(tuple(rules), notation, tuple(table.names[j] for j in targets))


def _targets(table: Table, settings: TableSettings) -> list[int]:
    if settings.target is None:
        raise DataError(
            f"{table.origin.name}: no target column is chosen.",
            "Say --target NAME (or first, last, a position); in TOML and Python target = \"NAME\". "
            f"The columns: {table.listed()}.",
        )  # fmt: skip
    return table.find_several(str(settings.target), "--target")  # a list has become one line of CSV


def _left_out(table: Table, settings: TableSettings) -> dict[int, Fate]:
    """The columns that the user leaves out."""
    chosen: dict[int, Fate] = {}
    if settings.drop:
        line = str(settings.drop)  # a list has become one line of CSV
        for name in [line] if line in table.names else next(csv.reader([line]), []):
            chosen[table.find(name, "--drop")] = Fate.DROPPED
    if settings.index_column not in (None, "none"):
        chosen[table.find(str(settings.index_column), "--index-column")] = Fate.INDEX
    return chosen


def _notation(table: Table, settings: TableSettings, left_out: dict[int, Fate]) -> Notation:
    """How numbers are written, as told or as found in the columns that are not numbers as they are."""
    thousands = THOUSANDS[settings.thousands] if settings.thousands else ""
    if settings.decimal is not None:
        return Notation("," if settings.decimal == "comma" else ".", thousands)
    if thousands:
        return Notation("," if thousands == "." else ".", thousands)
    columns = [c for j, c in enumerate(table.columns) if j not in left_out]
    written = [c for c in columns if pa.types.is_string(c.type)]
    return Notation(decimal_sign(columns) if any(_has_commas(c) for c in written) else ".")


def _has_commas(column: Any) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, "[0-9]*,[0-9]")).as_py())


def _rule(table: Table, j: int, notation: Notation, settings: TableSettings, leading: bool) -> ColumnRule:
    """The rule for a column that is neither the target nor left out by the user.

    ``leading`` says that no feature stands before it.
    """
    name, column = table.names[j], table.columns[j]
    finds_index = settings.index_column is None
    indexlike = j in table.unnamed or (table.has_header and _INDEX_NAME.fullmatch(name.strip()) is not None)
    parsed = parsed_numbers(column, notation)
    if parsed.missing.all():
        return ColumnRule(name, Fate.EMPTY, "no cell has a value")
    if not parsed.other.any():
        if finds_index and indexlike and _numbers_rows(parsed):
            return ColumnRule(name, Fate.INDEX, "whole numbers, no two alike")
        # without a header, or by the name that R gives to a column without one, only a running number is an index
        if finds_index and j == 0 and (not table.has_header or name == "X") and _is_running(parsed):
            return ColumnRule(name, Fate.INDEX, "whole numbers that run from the first row to the last")
        why = "numbers the rows: --index-column leaves it out" if j == 0 and _is_running(parsed) else ""
        return ColumnRule(name, Fate.NUMBER, why, truth=pa.types.is_boolean(column.type))
    if (
        finds_index
        and (leading or indexlike)
        and settings.categorical != "one-hot"
        and _names_rows(column, parsed, unnamed=j in table.unnamed)
    ):
        return ColumnRule(name, Fate.INDEX, "row names, no two alike")
    return _text_rule(table, j, parsed, notation, settings.categorical)


def _numbers_rows(parsed: Parsed) -> bool:
    """Whether the numbers are whole, different, and none is missing, as those of an index are."""
    values = parsed.values
    return bool(
        np.isfinite(values).all() and (values == np.rint(values)).all() and len(np.unique(values)) == len(values)
    )


def _is_running(parsed: Parsed) -> bool:
    values = parsed.values
    return bool(len(values) > 2 and values[0] in (0.0, 1.0) and (np.diff(values) == 1.0).all())


def _names_rows(column: Any, parsed: Parsed, *, unnamed: bool) -> bool:
    """Whether all cells are texts, and no two alike; numbers that cannot be read and dates under a name are none."""
    if not textual(column.type) or not parsed.other.all():
        return False
    cells = texts(column)
    if len(pc.unique(cells)) < max(3, len(cells)):
        return False
    if unnamed and dates(cells) > 0.5:
        return True
    first = cells[:100].to_pylist()
    sentences = sum(len(cell.split()) > NAME_WORDS for cell in first)
    return not any(surely_number(cell) for cell in first) and (unnamed or 2 * sentences <= len(first))


def _text_rule(table: Table, j: int, parsed: Parsed, notation: Notation, categorical: str) -> ColumnRule:
    name, column = table.names[j], table.columns[j]
    if not textual(column.type):
        raise no_feature(table, name, f"it holds {column.type} values")
    other = int(np.flatnonzero(parsed.other)[0])
    if categorical == "refuse":
        raise no_number(table, name, other, notation)
    cells = texts(column)
    values = sorted(pc.unique(cells).drop_null().to_pylist())
    if categorical == "auto":
        _refuse_text(table, j, parsed, notation, cells, len(values))
    return ColumnRule(name, Fate.ONE_HOT, categories=tuple(values))


def _refuse_text(table: Table, j: int, parsed: Parsed, notation: Notation, cells: Any, count: int) -> None:
    """Refuse what is not clearly categories: mostly numbers, dates, texts that hardly repeat.

    ``cells`` : the column's texts, ``count`` of which differ.
    """
    name, column = table.names[j], table.columns[j]
    others = np.flatnonzero(parsed.other)
    numeric = int((~parsed.missing & ~parsed.other).sum())
    strange, cells = cells.take(pa.array(others)), cells.drop_null()
    if pa.types.is_temporal(column.type) or dates(cells) > 0.5:
        such = f"such as '{short(cells[0].as_py())}'"
        raise no_feature(table, name, f"it holds dates or times, {such}", "turn it into numbers", ONE_HOT)
    meant = sum(surely_number(cell) for cell in strange[:100].to_pylist())
    rare = len(others) <= RARE * (len(others) + numeric)
    lonely = numeric >= len(others) == len(pc.unique(strange))
    if rare or lonely or 2 * meant > min(100, len(others)):
        raise no_number(table, name, int(others[0]), notation)
    if count == len(cells) or count > MOST_CATEGORIES:
        shown = ", ".join(f"'{short(cell, 20)}'" for cell in cells[:3].to_pylist())
        raise no_feature(
            table, name, f"it holds text with {count:,} different values in {len(cells):,} rows ({shown}, …)", ONE_HOT
        )


def _with_a_feature(rules: list[ColumnRule], table: Table) -> list[ColumnRule]:
    """Where the index would be the only feature, it is a feature."""
    if any(rule.features for rule in rules):
        return rules
    for k, rule in enumerate(rules):
        if rule.fate is Fate.INDEX and rule.why.startswith("whole"):
            rules[k] = dataclasses.replace(rule, fate=Fate.NUMBER, why="numbers the rows, and is the only feature")
    if len(rules) == 1 and table.origin.row_word == "line":
        raise DataError(
            f"{table.origin.name} has no features: it has one column only, '{short(rules[0].name)}'.",
            "Separate the cells by commas, semicolons, tabs, | or spaces, and give one column beside the target.",
        )
    if not any(rule.features for rule in rules):
        raise DataError(
            f"{table.origin.name} has no features: every column but the target is left out or empty.",
            "Keep a column: see --drop and --index-column none.",
        )
    return rules
