"""From the bytes of a text file to its lines, and from a line to its cells: encoding, line ends, quotes."""

from __future__ import annotations

import codecs
import csv
import io
import re

from reluopt.errors import DataError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b]")
#: A line that is a remark, and no cell of a spreadsheet's error.
COMMENT = re.compile(r"#(?!(n/a|div/0!|value!|ref!|name\?|num!|null!))", re.IGNORECASE)
_HTML = re.compile(r"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE)
_QUOTED_OR_SPACE = re.compile(r'("(?:[^"]|"")*")|[ \t]+')


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
        if _HTML.match(text):
            raise DataError(f"{name} is a page of HTML, and no table.", "Download the table itself, not its page.")
        if found := _CONTROL.search(text):
            raise DataError(
                f"{name} is no text: it holds the control character {found[0]!r} at position {found.start()}.",
                "Give a text file with delimiters, Parquet, Feather or NPZ; save spreadsheets as CSV.",
            )
        return text, candidate
    raise DataError(f"{name} is not {encoding} text, as its first bytes say.", "Save it again as CSV in UTF-8.")


def cells_of(row: str, delimiter: str) -> list[str]:
    """The cells of one row, stripped."""
    csv.field_size_limit(2**31 - 1)
    lines = io.StringIO(row, newline="\n")  # a row's other line ends, such as U+2028, are signs of a cell
    return [cell.strip() for cell in next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), [])]


def logical_rows(text: str, name: str) -> tuple[list[str], list[int]]:
    """Rows that are not blank, with the number of their first line; a row goes on while a quote is open."""
    lines = text.split("\n")
    if '"' not in text:
        numbered = [(i, line) for i, line in enumerate(lines, 1) if line and not line.isspace()]
        return [line for _, line in numbered], [i for i, _ in numbered]
    rows: list[str] = []
    numbers: list[int] = []
    held: list[str] = []
    for i, line in enumerate(lines, 1):
        opens = line.count('"') % 2 == 1 and not (COMMENT.match(line) and not held)
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


def split(row: str, sign: str) -> list[str]:
    """The cells of one row; a space as the sign means runs of spaces and tabs."""
    return cells_of(tabbed(row), "\t") if sign == " " else cells_of(row, sign)


def tabbed(row: str) -> str:
    """Runs of spaces and tabs outside of quotes as one tab."""
    return _QUOTED_OR_SPACE.sub(lambda found: found[1] or "\t", row.strip())


def without_space_before_quotes(row: str, delimiter: str) -> str:
    """The row with each quoted cell right after its delimiter, where every reader sees that it is quoted."""
    quoted = rf'((?:^|{re.escape(delimiter)}) *)("(?:[^"]|"")*")'
    return re.sub(quoted, lambda found: found[1].rstrip(" ") + found[2], row)
