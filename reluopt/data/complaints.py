"""Errors about the cells and columns of a table: where, what, and what to do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from reluopt.data.cells import POINT, Notation
from reluopt.data.notations import trouble
from reluopt.data.table import Table, short
from reluopt.errors import DataError

#: What makes a feature of any column of text.
ONE_HOT = "say --categorical one-hot for 0/1 for each value"


def no_number(
    table: Table, name: str, i: int, notation: Notation = POINT, *, target: bool = False, labels: bool = False
) -> DataError:
    """The error for row i's cell in a column, which is no number; ``labels``: the column may be told to be labels."""
    cell = _cell(table, name, i)
    what, remedy = trouble(cell) or ("is not a number", "")
    if notation.decimal == "," and "." in cell:
        what, remedy = "has a decimal point, and the file has decimal commas", "Write all numbers in one way."
        if re.match(r"^[+-]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?$", cell):
            whole = cell.replace(".", "").replace(",", ".")
            remedy = f"Where the point is between thousands, --thousands point reads it as {whole}."
    if not remedy:
        remedy = "Correct the cell, or give the file without the line."
        if not target:
            remedy = "Correct the cell, leave the column out with --drop, or say --categorical one-hot."
    if labels:
        remedy += " If the targets are labels, say --task multiclass, or --positive LABEL for one against the others."
    return DataError(f"{place(table, name, i)}: '{short(cell)}' {what}.", remedy)


def missing_cells(table: Table, name: str, i: int, count: int, rows: int, columns: int) -> DataError:
    """The error for missing cells of features, the first of which is in row i."""
    more = f"; {count:,} cells are missing, in {rows:,} lines and {columns:,} columns" if count > 1 else ""
    word = _absence(_cell(table, name, i))
    header = " If the first line is a header, say --header." if i == 0 and not table.has_header else ""
    return DataError(
        f"{place(table, name, i)}: the cell is {word}{more}.",
        f"Fill it in, leave the column out with --drop, or say --missing drop-rows or --missing mean.{header}",
    )


def missing_target(table: Table, name: str, rows: np.ndarray) -> DataError:
    """The error for rows without a target."""
    more = f"; {len(rows):,} targets are missing" if len(rows) > 1 else ""
    word = _absence(_cell(table, name, int(rows[0])))
    return DataError(
        f"{place(table, name, int(rows[0]))}, the target: the cell is {word}{more}.",
        "Fill it in, or say --missing drop-rows: a sample without a target teaches nothing.",
    )


def doubtful_label(table: Table, name: str, i: int) -> DataError:
    """The error for a label in row i that may be a missing cell."""
    return DataError(
        f"{place(table, name, i)}, the target: '{short(_cell(table, name, i))}': a class, or a missing cell?",
        "Leave the cell empty where it is missing, or, where it is a class, say --task multiclass.",
    )


def no_feature(table: Table, name: str, what: str, *ways: str) -> DataError:
    """The error for a column that is no feature; ``ways`` are what helps beside leaving it out."""
    helps = [f"Leave it out with --drop {_quoted(name)}", *ways]
    remedy = ", ".join(helps[:-1]) + ", or " * (len(helps) > 1) + helps[-1] + "."
    return DataError(f"{table.origin.name}, column '{short(name)}': {what}.", remedy)


def place(table: Table, name: str, i: int) -> str:
    """File, line and column in words."""
    return f"{table.origin.name}, {table.origin.row(i)}, column '{short(name)}'"


def _absence(cell: str) -> str:
    return f"missing ('{short(cell)}')" if cell.strip() else "empty"


def _cell(table: Table, name: str, i: int) -> str:
    value: Any = table.columns[table.names.index(name)][i].as_py()
    return "" if value is None else str(value)


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(short(name))
