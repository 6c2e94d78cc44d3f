"""Whether the first row of a text table names its columns."""

from __future__ import annotations

import re

from reluopt.data.cells import is_missing
from reluopt.data.notations import INFINITE, is_number, surely_number


def is_header(first: list[str], below: list[list[str]]) -> bool:
    """Whether the row names the columns: not if it holds a number, or values that its columns hold again."""
    below = [cells for cells in below if len(cells) == len(first)]
    if len(first) > 2 and _counts_columns(first) and len({cells[0] for cells in below if cells[0]}) == len(below):
        return True
    if _holds_numbers(first):
        return False
    columns = list(zip(*below, strict=True)) or [()] * len(first)
    if any(_is_infinite(cell) for cell in first):  # a value, unless other columns are numbers with a word above
        return any(_is_word(cell) and _all_numbers(column) for cell, column in zip(first, columns, strict=True))
    again = [(cell in column, column) for cell, column in zip(first, columns, strict=True) if not is_missing(cell)]
    if again and all(found for found, _ in again):
        return False
    # names and free texts differ in every row, so only columns whose values repeat can tell
    telling = [found for found, column in again if 2 * len(set(column)) <= len(column)]
    return not telling or 2 * sum(telling) < len(telling)


def _holds_numbers(cells: list[str]) -> bool:
    """Whether a row holds a number, in whatever notation; the word inf may be a name too."""
    return any(surely_number(cell) and not _is_infinite(cell) for cell in cells)


def _counts_columns(first: list[str]) -> bool:
    """Whether the row is as pandas writes columns without names: nothing above the index, then 0, 1, 2 …"""
    return not first[0] and first[1:] in [list(map(str, range(at, at + len(first) - 1))) for at in (0, 1)]


def _is_infinite(cell: str) -> bool:
    return re.match(INFINITE, cell.lower()) is not None


def _is_word(cell: str) -> bool:
    return not is_missing(cell) and not surely_number(cell)


def _all_numbers(column: tuple[str, ...]) -> bool:
    there = [cell for cell in column if not is_missing(cell)]
    return bool(there) and all(is_number(cell) for cell in there)
