"""What a cell of a table is: a number, missing, or what keeps it from being a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

#: Cells that are missing in every column; letters in either case.
MISSING = ("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "+nan", "null", "?")

#: Cells that are missing among numbers, and may be a value among texts.
MISSING_NUMBERS = ("none", "-", "--", ".", "missing", "#div/0!", "#value!", "nil")

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INFINITE = r"^[+-]?(inf|infinity)$"
_COMMA_NUMBER = r"^[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?$"
_COMMA_THOUSANDS = r"^[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$"
_DATE = (
    r"^([12][0-9]{3}[-/.][0-9]{1,2}([-/.][0-9]{1,2})?|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}"
    r"|[0-9]{1,2}[- ][A-Za-z]{3,9}[- ,]+[0-9]{2,4}|[A-Za-z]{3,9} [0-9]{1,2},? [0-9]{4})"
    r"([T ][0-9]{1,2}:[0-9]{2}.*)?$|^[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( ?[AaPp][Mm])?$|^[0-9]{4}-?[Qq][1-4]$"
)
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


def is_number(cell: str) -> bool:
    """Whether a cell is a number: digits, a decimal point, an exponent; no underscores, no words."""
    return re.match(_NUMBER, cell.strip()) is not None


def looks_numeric(cell: str) -> bool:
    """Whether a cell is a number in some notation (``1.5``, ``1,5``, ``1,200``, ``1_0``, ``12 %``, a date, ``inf``)."""
    return is_number(cell) or trouble(cell) is not None


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
    numbers = pc.or_(pc.match_substring_regex(plain, _NUMBER), pc.match_substring_regex(lowered, _INFINITE))
    number = _mask(pc.fill_null(numbers, False))
    missing = _mask(pc.is_in(lowered, value_set=pa.array(MISSING))) | _mask(pc.is_null(cells))
    if number.any():
        missing |= _mask(pc.is_in(lowered, value_set=pa.array(MISSING_NUMBERS)))
    kept = pc.if_else(pa.array(number), flat(plain), "nan")
    values = np.asarray(pc.cast(kept, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    return Parsed(values, missing & ~number, ~missing & ~number)


def texts(column: Any) -> Any:
    """A column as one array of text, stripped, null where a cell is missing."""
    cells = flat(pc.utf8_trim_whitespace(pc.cast(column, pa.string())))
    missing = pc.is_in(pc.utf8_lower(cells), value_set=pa.array(MISSING))
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
        comma = pc.match_substring_regex(cells, _COMMA_NUMBER)
        if pc.any(pc.match_substring_regex(cells, r"^[+-]?[0-9]*\.[0-9]+$")).as_py():
            return "."
        if not found and pc.any(comma).as_py():
            whole = _mask(comma) | _mask(pc.match_substring_regex(cells, r"^[+-]?[0-9]+$"))
            missing = _mask(pc.is_in(pc.utf8_lower(cells), value_set=pa.array(MISSING)))
            thousands = _mask(pc.match_substring_regex(cells, _COMMA_THOUSANDS))
            found = bool((whole | missing).all() and (_mask(comma) & ~thousands).any())
    return "," if found else "."


def dates(cells: Any) -> float:
    """The fraction of cells that are dates or times."""
    return float(np.mean(_mask(pc.match_substring_regex(cells, _DATE)))) if len(cells) else 0.0


def trouble(cell: str) -> tuple[str, str] | None:
    """What keeps a cell that means a number from being one, and the remedy; None if it does not mean a number."""
    cell = cell.strip()
    if re.match(_COMMA_THOUSANDS, cell):
        whole, half = cell.replace(",", ""), cell.replace(",", ".", 1)
        other = f" --decimal comma reads it as {half}." if cell.count(",") == 1 and "." not in cell else ""
        return "has a thousands separator", f"--thousands comma reads it as {whole}.{other}"
    if re.match(r"^[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+$", cell):
        return "has a thousands separator and a decimal comma", "Say --thousands point --decimal comma."
    if re.match(r"^[+-]?[0-9]{1,3}(([ '\u00a0\u202f])[0-9]{3})+([.,][0-9]*)?$", cell):
        word = "apostrophe" if "'" in cell else "space"
        return "has a thousands separator", f"Say --thousands {word}, or remove it."
    if re.match(_COMMA_NUMBER, cell):
        return "has a decimal comma", "Say --decimal comma, or write decimals with a point in all columns."
    if re.match(r"^[+-]?[0-9][0-9_]*(\.[0-9_]*)?$", cell) and "_" in cell:
        return "has an underscore, which is no part of a number", "Remove the underscore."
    if re.match(r"^[+-]?[0-9.,]+ ?%$", cell) or re.match(r"^[$€£¥] ?[+-]?[0-9.,]+$|^[0-9.,]+ ?[$€£¥]$", cell):
        return "has a unit sign", "Remove the sign from all cells of the column."
    if re.match(_DATE, cell):
        return "is a date or a time", "Leave the column out with --drop, or turn it into numbers (year, day, hour)."
    if re.match(_INFINITE, cell.lower()):
        return "is infinite", "Correct the value, or drop the sample."
    return None


def _mask(column: Any) -> Bool[np.ndarray, " n"]:
    return np.asarray(flat(pc.fill_null(column, False)).to_numpy(zero_copy_only=False), dtype=bool)


def flat(column: Any) -> Any:
    """One array in one piece."""
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column
