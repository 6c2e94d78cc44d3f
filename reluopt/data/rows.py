"""From a text to the rows of its table: comments left out, the delimiter found."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from reluopt.data.cells import is_missing
from reluopt.data.header import is_header
from reluopt.data.notations import has_decimal_comma, is_number
from reluopt.data.text import COMMENT, DELIMITERS, logical_rows, split, tabbed, without_space_before_quotes
from reluopt.errors import DataError

#: Rows that are looked at to find the delimiter.
LOOKED_AT = 20


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


def rows_of(text: str, name: str, delimiter: str | None = None, header: bool | None = None) -> Rows:
    """Split text into rows.

    Parameters
    ----------
    delimiter : a name of :data:`DELIMITERS`; None finds it: by ``sep=;`` before all but comments, else the sign that
        splits the first rows into equally many, and most, cells.
    header : whether the first row names the columns; None where that is not known.

    Raises
    ------
    DataError : nothing but blank lines and comments, a quote that is never closed, or a row that may be a comment.
    """
    rows, numbers = logical_rows(text.replace("\r\n", "\n").replace("\r", "\n"), name)
    sign = DELIMITERS[delimiter] if delimiter else None
    first = next((i for i, row in enumerate(rows) if not COMMENT.match(row)), 0)
    if rows and (stated := re.fullmatch(r'"?sep=(.)"?', rows[first].strip("\n\v\f "), re.IGNORECASE)):
        sign = sign or stated[1]
        del rows[first], numbers[first]
    if not rows:
        raise DataError(f"{name} is empty: it has no header line and no data.", "Give at least two samples.")
    rows, numbers, comments = _without_comments(rows, numbers, sign, name, header)
    sign = sign or _delimiter(rows[:LOOKED_AT])
    if sign == " ":
        rows, sign = [tabbed(row) for row in rows], "\t"
    elif '"' in text:
        rows = [without_space_before_quotes(row, sign) for row in rows]
    notes = (f"{comments} comment {'line' if comments == 1 else 'lines'} (#) left out",) if comments else ()
    return Rows(rows, numbers, sign, name, notes)


def _without_comments(
    rows: list[str], numbers: list[int], sign: str | None, name: str, header: bool | None
) -> tuple[list[str], list[int], int]:
    """Without rows that begin with #, but for samples (``#tag, 1, 2``) and a header written as ``# a, b, c``."""
    kept = [i for i, row in enumerate(rows) if not COMMENT.match(row)]
    if not kept:
        raise DataError(
            f"{name} is empty: every line begins with #, so it is a comment.", "Quote the first cell of samples."
        )
    comments = len(rows) - len(kept)
    if not comments:
        return rows, numbers, 0
    by = sign or _delimiter([rows[i] for i in kept[:LOOKED_AT]] if len(kept) > 1 else rows[:LOOKED_AT])
    if kept[0] > 0 and header is not False and (names := _header_in_comment(rows, kept, by, header)):
        rows = [*rows[: kept[0] - 1], names, *rows[kept[0] :]]
        kept = [kept[0] - 1, *kept]
    kept = sorted(kept + _marked_samples(rows, kept, numbers, by, name))
    return [rows[i] for i in kept], [numbers[i] for i in kept], len(rows) - len(kept)


def _header_in_comment(rows: list[str], kept: list[int], sign: str, header: bool | None) -> str:
    """The comment right above the first row without its #, where it names the columns and that row does not."""
    names = rows[kept[0] - 1][1:].strip()
    cells, first, *below = (split(row, sign) for row in [names, *(rows[i] for i in kept[:LOOKED_AT])])
    named = len(cells) == len(first) > 1 and len(set(cells)) == len(cells)
    names_columns = named and (header or is_header(cells, [first, *below]))
    return names if names_columns and not is_header(first, below) else ""


def _marked_samples(rows: list[str], kept: list[int], numbers: list[int], sign: str, name: str) -> list[int]:
    """The rows that begin with # and are samples all the same: their first cell is a value, such as ``#tag``.

    Raises
    ------
    DataError : they may be samples or comments.
    """
    first, *body = (split(rows[i], sign) for i in kept)
    if len(first) == 1 or any(is_number(cells[0]) for cells in body if cells):
        return []
    begin = kept[0] if is_header(first, body[:LOOKED_AT]) else 0  # above a header there are comments only
    marked = {i: split(rows[i], sign) for i in range(begin, len(rows)) if re.match(r"#[^#\s]", rows[i])}
    marked = {i: cells for i, cells in marked.items() if i not in kept and len(cells) == len(first)}
    tags = Counter(cells[0] for cells in marked.values())
    if not tags or max(tags.values()) > 1 or len(marked) > len(body):
        return list(marked)
    at = min(marked)
    raise DataError(
        f"{name}, line {numbers[at]}: the line begins with #, and has as many cells as the table has columns: a "
        "comment, or a sample?",
        f"Write a comment as '# …', with a space, and the first cell of a sample in quotes: '\"{marked[at][0]}\"'.",
    )


def _delimiter(rows: list[str]) -> str:
    """The sign that splits most rows into equally many cells, then into most cells.

    With decimal commas ``1,5;2,5`` has one comma more than it has semicolons: a comma has to win by two. Texts have
    spaces: another sign wins over them, but for the comma where spaces leave nothing but numbers with decimal commas.
    """
    best, best_score = ",", (0.0, 0.0)
    for sign in DELIMITERS.values():
        counts = [len(split(row, sign)) for row in rows]
        usual, times = Counter(counts[1:] or counts).most_common(1)[0]  # a header may lack the cell above row names
        if usual > 1 and counts[0] > 1:
            agreeing = round(times / max(1, len(counts) - 1), 1)
            weak = sign == " " and not _has_decimal_commas(rows)
            score = (agreeing - 0.01 * weak, usual - 1.5 * (sign == ","))
            best, best_score = max((best, best_score), (sign, score), key=lambda pair: pair[1])
    return best


def _has_decimal_commas(rows: list[str]) -> bool:
    """Whether spaces separate numbers, some of them with decimal commas, and commas do not (``1 200,3 400``)."""
    by_space, by_comma = ([cell for row in rows for cell in split(row, sign)] for sign in (" ", ","))
    numbers = all(re.fullmatch("[+-]?[0-9]+", cell) or has_decimal_comma(cell) or is_missing(cell) for cell in by_space)
    grouped = all(re.fullmatch(r"[+-]?[0-9]{1,3}( [0-9]{3})*", cell) for cell in by_comma)
    return numbers and not grouped and any("," in cell for cell in by_space)
