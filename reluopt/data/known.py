"""Numbers and truth values as the known texts that they stand for: another kind of file writes a cell otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from reluopt.data.notations import is_number


def label_text(value: str | float | bool) -> str:
    """A text, a truth value or a number as it stands in the data; different numbers have different texts."""
    if isinstance(value, str | bool):
        return str(value)
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e16 else repr(number)


def meanings(values: Iterable[float | bool], known: Iterable[str]) -> list[tuple[str, ...]]:
    """What each number or truth value may have been as text: one of the known texts, or its own.

    It is one text where that is clear. It is several where a number may be a code: 1 is ``1`` or ``01``.
    """
    words: dict[str, list[str]] = defaultdict(list)
    codes: dict[float, list[str]] = defaultdict(list)
    for text in known:
        words[text.lower()].append(text)
        if is_number(text):
            codes[float(text)].append(text)
    return [
        tuple(words.get(str(value).lower(), [str(value)]))
        if isinstance(value, bool)
        else tuple(sorted({*codes.get(value, []), label_text(value)}))
        for value in values
    ]


def holds_numbers(kind: Any) -> bool:
    """Whether a column of this type holds numbers or truth values, whose writing is that of the type."""
    of_type = pa.types
    return of_type.is_integer(kind) or of_type.is_floating(kind) or of_type.is_boolean(kind) or of_type.is_decimal(kind)
