"""Columns of cells: which are numbers, which are missing, and how the numbers are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from reluopt.data.notations import ALSO, COMMA_NUMBER, COMMA_THOUSANDS, DATE, INFINITE, NUMBER

#: Cells that are missing in every column; letters in either case.
MISSING = (
    *("", "na", "n/a", "n / a", "n.a.", "n.a", "#n/a", "<na>", "nan", "-nan", "+nan", "nat"),
    *("null", "<null>", "(null)", "\\n", "?", "--", ".", "..", "...", "missing", "undefined"),
    *("#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"),
)

#: Cells that are missing among numbers, and may be a value among texts: no garage, + and -.
MISSING_NUMBERS = ("none", "-", "nil")

_MISSING, _MISSING_NUMBERS = pa.array(MISSING), pa.array(MISSING_NUMBERS)

THOUSANDS = {"comma": ",", "point": ".", "space": " ", "apostrophe": "'"}


@dataclass(frozen=True, eq=False)
class Parsed:
    """A column of cells read as numbers.

    Attributes
    ----------
    values : (n,) the numbers, NaN where there is none.
    missing : (n,) mask of cells that are missing.
    other : (n,) mask of cells that are neither missing nor a number.
    """

    values: Float[np.ndarray, " n"]
    missing: Bool[np.ndarray, " n"]
    other: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Notation:
    """How numbers are written: the decimal sign, and the sign between thousands ("" for none)."""

    decimal: str = "."
    thousands: str = ""


#: Numbers as Python writes them.
POINT = Notation()


def is_missing(cell: str) -> bool:
    """Whether a cell is missing in a column of any kind."""
    return cell.strip().lower() in MISSING


def doubtful_labels(labels: list[str]) -> list[str]:
    """The labels that may be classes or missing cells: words such as None, and - without a +."""
    return [label for label in labels if label.lower() in MISSING_NUMBERS and not (label == "-" and "+" in labels)]


def as_numbers(columns: list[Any]) -> list[Any]:
    """The columns of text all of whose cells are numbers in plain notation (or nan) as float64, the others as is."""
    if not columns:
        return []
    try:
        cells = pc.cast(pc.utf8_trim_whitespace(pa.concat_arrays(columns)), pa.float64())
        n = len(columns[0])
        return [cells.slice(j * n, n) for j in range(len(columns))]
    except pa.ArrowInvalid:
        if len(columns) == 1:
            return columns
    half = len(columns) // 2
    return as_numbers(columns[:half]) + as_numbers(columns[half:])


def parsed_numbers(column: Any, notation: Notation = POINT) -> Parsed:
    """Read a column, of text or of a type, as numbers; dates and lists are none."""
    if not pa.types.is_string(column.type):
        return _typed(column)
    cells = pc.utf8_trim_whitespace(column)
    lowered = pc.utf8_lower(cells)
    plain = _plain(cells, notation)
    numbers = pc.or_(pc.match_substring_regex(plain, NUMBER), pc.match_substring_regex(lowered, INFINITE))
    number = _mask(pc.fill_null(numbers, False))
    missing = _mask(pc.is_in(lowered, value_set=_MISSING)) | _mask(pc.is_null(cells))
    if not number.any():
        return Parsed(np.full(len(number), np.nan), missing, ~missing)
    missing |= _mask(pc.is_in(lowered, value_set=_MISSING_NUMBERS))
    kept = pc.if_else(pa.array(number), flat(plain), "nan")
    values = np.asarray(pc.cast(kept, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    return Parsed(values, missing & ~number, ~missing & ~number)


def textual(kind: Any) -> bool:
    """Whether cells of a type can be written as words: text, numbers, truth values, dates; no bytes and no lists."""
    types = pa.types
    kinds = (types.is_string, types.is_large_string, types.is_primitive, types.is_decimal, types.is_null)
    return not types.is_interval(kind) and any(of_kind(kind) for of_kind in kinds)


def texts(column: Any) -> Any:
    """A column as one array of text, stripped, null where a cell is missing."""
    if not textual(column.type):  # as Python writes it, so that a message can show it
        column = pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
    cells = flat(pc.utf8_trim_whitespace(pc.cast(column, pa.string())))
    missing = pc.is_in(pc.utf8_lower(cells), value_set=_MISSING)
    return pc.if_else(missing, pa.scalar(None, pa.string()), cells)


def _typed(column: Any) -> Parsed:
    """A column of numbers or truth values; null and NaN are missing. Of another type, no cell is a number."""
    kind = column.type
    if kind == pa.float64() and column.null_count == 0:
        values = flat(column).to_numpy()
        return Parsed(values, np.isnan(values), np.zeros(len(values), dtype=bool))
    missing = _mask(pc.is_null(column))
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
            or pa.types.is_decimal(kind) or pa.types.is_null(kind)):  # fmt: skip
        return Parsed(np.full(len(missing), np.nan), missing, ~missing)
    if pa.types.is_boolean(kind):
        column = pc.cast(column, pa.uint8())
    values = flat(pc.cast(column, pa.float64(), safe=False)).to_numpy(zero_copy_only=False).astype(np.float64)
    return Parsed(values, missing | np.isnan(values), np.zeros(len(values), dtype=bool))


def _plain(cells: Any, notation: Notation) -> Any:
    """Numbers as the notation writes them in plain notation; what is no such number stays none."""
    if notation.thousands:
        for sign in ALSO.get(notation.thousands, ""):
            cells = pc.replace_substring(cells, sign, notation.thousands)
        groups = rf"^([+-]?[0-9]{{1,3}}({re.escape(notation.thousands)}[0-9]{{3}})+)({re.escape(notation.decimal)}|$)"
        grouped = pc.match_substring_regex(cells, groups)
        cells = pc.if_else(grouped, pc.replace_substring(cells, notation.thousands, ""), cells)
    if notation.decimal == ",":
        cells = pc.replace_substring(pc.replace_substring(cells, ".", "decimal point"), ",", ".")
    return cells


def decimal_sign(columns: list[Any]) -> str:
    """The decimal sign of columns of text and of numbers: a comma where that is beyond doubt, else a point.

    Beyond doubt: no cell is a number with a point, and in some column all cells are numbers or missing, some of them
    with a comma, not all of which could be thousands (``1,200``).
    """
    found = False
    numeric = [flat(column).to_numpy() for column in columns if pa.types.is_floating(column.type)]
    if any(bool((values != np.rint(values)).any()) for values in numeric):
        return "."
    for column in columns:
        if not pa.types.is_string(column.type):
            continue
        cells = pc.utf8_trim_whitespace(column)
        comma = pc.match_substring_regex(cells, COMMA_NUMBER)
        if pc.any(pc.match_substring_regex(cells, r"^[+-]?[0-9]*\.[0-9]+$")).as_py():
            return "."
        if not found and pc.any(comma).as_py():
            whole = _mask(comma) | _mask(pc.match_substring_regex(cells, r"^[+-]?[0-9]+$"))
            missing = _mask(pc.is_in(pc.utf8_lower(cells), value_set=_MISSING))
            thousands = _mask(pc.match_substring_regex(cells, COMMA_THOUSANDS))
            found = bool((whole | missing).all() and (_mask(comma) & ~thousands).any())
    return "," if found else "."


def dates(cells: Any) -> float:
    """The fraction of cells that are dates or times."""
    return float(np.mean(_mask(pc.match_substring_regex(cells, DATE)))) if len(cells) else 0.0


def _mask(column: Any) -> Bool[np.ndarray, " n"]:
    return np.asarray(flat(pc.fill_null(column, False)).to_numpy(zero_copy_only=False), dtype=bool)


def flat(column: Any) -> Any:
    """One array in one piece."""
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column
