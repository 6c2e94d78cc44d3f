"""From the bytes of a text file to its rows: encoding, line ends, quotes, comments and the delimiter."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass

from reluopt.errors import DataError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}

#: Rows that are looked at to find the delimiter.
LOOKED_AT = 20

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b]")
#: A line that is a remark, and no cell of a spreadsheet's error.
_COMMENT = re.compile(r"#(?!(n/a|div/0!|value!|ref!|name\?|num!|null!))", re.IGNORECASE)
_QUOTED_OR_SPACE = re.compile(r'("(?:[^"]|"")*")|[ \t]+')


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table as text, without blank and comment lines.

    Attributes
    ----------
    rows : one text a row; a quoted line break is inside of it.
    numbers : the line on which each row starts, as an editor counts.
    delimiter : what separates the cells: one sign; runs of spaces have become tabs.
    name : of the file.
    notes : what was found about the file beside the usual.
    """

    rows: list[str]
    numbers: list[int]
    delimiter: str
    name: str
    notes: tuple[str, ...] = ()


def decoded(content: bytes, name: str) -> tuple[str, str]:
    """The text and the name of its encoding: by its mark, else UTF-8, else Windows-1252, else Latin-1.

    Raises
    ------
    DataError : bytes that are no text.
    """
    encoding = next((found for mark, found in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        half = content[:2000]
        if len(half) > 3 and half[1::2].count(0) > 0.8 * len(half[1::2]):
            encoding = "utf-16-le"
        elif len(half) > 3 and half[::2].count(0) > 0.8 * len(half[::2]):
            encoding = "utf-16-be"
    for candidate in (encoding,) if encoding else ("utf-8", "cp1252", "latin-1"):
        try:
            text = content.decode(candidate)
        except UnicodeDecodeError:
            continue
        text = text.removeprefix("\ufeff").rstrip("\x1a")
        if found := _CONTROL.search(text):
            raise DataError(
                f"{name} is no text: it holds the control character {found[0]!r} at position {found.start()}.",
                "Give a text file with delimiters, Parquet, Feather or NPZ; save spreadsheets as CSV.",
            )
        return text, candidate
    raise DataError(f"{name} is not {encoding} text, as its first bytes say.", "Save it again as CSV in UTF-8.")


def rows_of(text: str, name: str, delimiter: str | None = None) -> Rows:
    """Split text into rows.

    Parameters
    ----------
    delimiter : a name of :data:`DELIMITERS`; None finds it: by ``sep=;`` before all but comments, else the sign that
        splits the first rows into equally many, and most, cells.

    Raises
    ------
    DataError : nothing but blank lines, or a quote that is never closed.
    """
    rows, numbers = _logical_rows(text.replace("\r\n", "\n").replace("\r", "\n"), name)
    sign = DELIMITERS[delimiter] if delimiter else None
    first = next((i for i, row in enumerate(rows) if not _COMMENT.match(row)), 0)
    if rows and (stated := re.fullmatch(r'"?sep=(.)"?', rows[first].strip("\n\v\f "), re.IGNORECASE)):
        sign = sign or stated[1]
        del rows[first], numbers[first]
    rows, numbers, comments = _without_comments(rows, numbers, sign)
    if not rows:
        raise DataError(f"{name} is empty: it has no header line and no data.", "Give at least two samples.")
    sign = sign or _delimiter(rows[:LOOKED_AT])
    if sign == " ":
        rows, sign = [_tabbed(row) for row in rows], "\t"
    notes = (f"{comments} comment {'line' if comments == 1 else 'lines'} (#) left out",) if comments else ()
    return Rows(rows, numbers, sign, name, notes)


def cells_of(row: str, delimiter: str) -> list[str]:
    """The cells of one row, stripped."""
    csv.field_size_limit(2**31 - 1)
    return [cell.strip() for cell in next(csv.reader(row.splitlines(keepends=True), delimiter=delimiter), [])]


def _logical_rows(text: str, name: str) -> tuple[list[str], list[int]]:
    """Rows that are not blank, with the number of their first line; a row goes on while a quote is open."""
    lines = text.split("\n")
    if '"' not in text:
        numbered = [(i, line) for i, line in enumerate(lines, 1) if line and not line.isspace()]
        return [line for _, line in numbered], [i for i, _ in numbered]
    rows: list[str] = []
    numbers: list[int] = []
    held: list[str] = []
    for i, line in enumerate(lines, 1):
        opens = line.count('"') % 2 == 1 and not (_COMMENT.match(line) and not held)
        if not held and not opens:
            if line and not line.isspace():
                rows.append(line)
                numbers.append(i)
            continue
        if not held:
            numbers.append(i)
        held.append(line)
        if opens and len(held) > 1:
            rows.append("\n".join(held))
            held = []
    if held:
        raise DataError(
            f"{name}, line {numbers[-1]}: a quote is opened and never closed, so it is not a proper CSV file.",
            'Close the quote, or write a quote inside of a cell twice ("").',
        )
    return rows, numbers


def _without_comments(rows: list[str], numbers: list[int], sign: str | None) -> tuple[list[str], list[int], int]:
    """Without rows that begin with #, but for a header written as ``# a, b, c`` right above rows of numbers."""
    if not any(_COMMENT.match(row) for row in rows):
        return rows, numbers, 0
    kept = [i for i, row in enumerate(rows) if not _COMMENT.match(row)]
    comments = len(rows) - len(kept)
    if kept and kept[0] > 0:
        above, first = rows[kept[0] - 1][1:].strip(), [rows[i] for i in kept[:LOOKED_AT]]
        by = sign or _delimiter(first)
        names, cells = _split(above, by), _split(first[0], by)
        named = len(names) == len(cells) > 1 and len(set(names)) == len(names)
        if named and any(cell[:1].isdigit() for cell in cells):
            rows = [*rows[: kept[0] - 1], above, *rows[kept[0] :]]
            kept, comments = [kept[0] - 1, *kept], comments - 1
    return [rows[i] for i in kept], [numbers[i] for i in kept], comments


def _delimiter(rows: list[str]) -> str:
    """The sign that splits most rows into equally many cells, then into most cells.

    With decimal commas ``1,5;2,5`` has one comma more than it has semicolons: a comma has to win by two.
    """
    best, best_score = ",", (0.0, 0.0)
    for sign in DELIMITERS.values():
        counts = [len(_split(row, sign)) for row in rows]
        usual, times = Counter(counts[1:] or counts).most_common(1)[0]  # a header may lack the cell above row names
        if usual > 1 and counts[0] > 1:
            agreeing = round(times / max(1, len(counts) - 1), 1)
            score = (agreeing - 0.01, float(usual)) if sign == " " else (agreeing, usual - 1.5 * (sign == ","))
            best, best_score = max((best, best_score), (sign, score), key=lambda pair: pair[1])
    return best


def _split(row: str, sign: str) -> list[str]:
    return cells_of(_tabbed(row), "\t") if sign == " " else cells_of(row, sign)


def _tabbed(row: str) -> str:
    """Runs of spaces and tabs outside of quotes as one tab."""
    return _QUOTED_OR_SPACE.sub(lambda found: found[1] or "\t", row.strip())
