"""How samples came of a table."""

from __future__ import annotations

from dataclasses import dataclass

from reluopt.data.encoding import Encoding


@dataclass(frozen=True)
class Dropped:
    """Rows that were left out: why, how many, and the first of them in the file's own counting."""

    why: str
    rows: int
    first: str


@dataclass(frozen=True)
class Reading:
    """How samples came of a table: the rules of its columns, the rows read and dropped, and what else was found."""

    encoding: Encoding
    rows: int
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
