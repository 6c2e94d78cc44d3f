"""A table as it was read: named columns, as written, before anything is decided about them."""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reluopt.config import Config, setting
from reluopt.data.gate import MAX_BYTES
from reluopt.data.origin import Origin
from reluopt.data.text import DELIMITERS
from reluopt.errors import ConfigError, DataError

#: Names that an error message lists at most.
LISTED = 10


@dataclass(frozen=True, kw_only=True)
class TableSettings(Config):
    """How a table is read, and what becomes of its columns."""

    target: str | list[str] | None = setting(  # noqa: RUF009
        None,
        "Table: the target column, by name or by position (1 is the first column): a number, first, or last; several "
        "as A,B,C, or repeated: one output each.",
        repeat=True,
    )
    header: bool | None = setting(
        None,
        "Text: whether the first line names the columns; unset: yes, unless it holds numbers or a row's values.",
    )
    drop: str | list[str] | None = setting(  # noqa: RUF009
        None, "Table: a column to leave out; may be repeated.", repeat=True
    )
    index_column: str | None = setting(
        None,
        "Table: the column that numbers or names the rows, left out; 'none': there is none; unset: found.",
    )
    categorical: str = setting(
        "auto",
        "Table, columns of text: one-hot (0/1 for each value), refuse, or auto (one-hot up to 50 values that repeat; "
        "dates and free text are refused).",
        choices=("auto", "one-hot", "refuse"),
    )
    missing: str = setting(
        "refuse",
        "Table, missing cells (empty, NA, NaN, NULL, ?): refuse, drop-rows, or mean (of the column; a row without a "
        "target is dropped).",
        choices=("refuse", "drop-rows", "mean"),
    )
    delimiter: str | None = setting(
        None, "Text: what separates the cells; unset: found from the first lines.", choices=tuple(DELIMITERS)
    )
    decimal: str | None = setting(
        None, "Text: the decimal sign; unset: found from all columns.", choices=("point", "comma")
    )
    thousands: str | None = setting(
        None,
        "Text: the sign between thousands, which is left out of numbers.",
        choices=("comma", "point", "space", "apostrophe"),
    )
    max_bytes: int = setting(MAX_BYTES, "Files: bytes of unpacked content that are read at most.", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decimal is not None and self.decimal == self.thousands:
            raise ConfigError(
                f"The {self.decimal} is given as the decimal sign and as the sign between thousands.",
                "Give it as one of them.",
            )


@dataclass(frozen=True, eq=False)
class Table:
    """Columns as read.

    Attributes
    ----------
    names : of the columns; where the file gives none ("" to the constructor) it is the position, ``column 3``.
    columns : pyarrow arrays of one length: text as written, or the types of a Parquet or Feather file.
    origin : names the rows.
    notes : how the file was read, where that is not the usual.
    has_header : whether the file names its columns.
    unnamed : positions from 0 of the columns that the file does not name.
    """

    names: tuple[str, ...]
    columns: tuple[Any, ...]
    origin: Origin
    notes: tuple[str, ...] = ()
    has_header: bool = True
    unnamed: frozenset[int] = field(default=frozenset(), init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unnamed", frozenset(j for j, name in enumerate(self.names) if not name))
        named = tuple(name or f"column {j}" for j, name in enumerate(self.names, 1))
        object.__setattr__(self, "names", named)
        repeated = [name for name, times in Counter(self.names).items() if times > 1]
        if repeated:
            raise DataError(
                f"{self.origin.name}: the column '{short(repeated[0])}' appears more than once.",
                "Rename or remove one of them; if the first line is a sample, say --no-header.",
            )

    @classmethod
    def from_frame(cls, frame: Any, name: str = "the data frame") -> Table:
        """The columns of a data frame (pandas, polars), whose own index is none of them.

        Raises
        ------
        DataError : columns that are no plain numbers or texts.
        """
        import pyarrow as pa  # a word of help does not wait for it

        try:
            columns = tuple(pa.array(frame[column].to_numpy(), from_pandas=True) for column in frame.columns)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise DataError(
                f"{name} holds something else than numbers and texts ({error}).", "Give plain columns."
            ) from None
        return cls(tuple(str(column) for column in frame.columns), columns, Origin(name))

    def find(self, which: str, option: str) -> int:
        """The place of a column, by its name, else by ``first``, ``last`` or its position from 1.

        Raises
        ------
        DataError : no such column; the message lists at most ten near names.
        """
        if which in self._places:
            return self._places[which]
        if which in ("first", "last"):
            return 0 if which == "first" else len(self.names) - 1
        if which.isascii() and which.isdigit() and len(which) < 10 and 1 <= int(which) <= len(self.names):
            return int(which) - 1
        raise DataError(
            f"{self.origin.name} has no column '{short(which)}'.{self._reading()}",
            f"Give {option} one of: {self.listed(which)}.",
        )

    def find_several(self, which: str, option: str) -> list[int]:
        """The places of one column, or of several that are separated by commas, in the order that is given.

        Raises
        ------
        DataError : a column that is not there, or is named twice.
        """
        names = [name for part in self._listed(which) for name in self._listed(part)]  # of an option that is repeated
        places = [self.find(name, option) for name in names or [which]]
        if twice := [name for name, place in zip(names, places, strict=True) if places.count(place) > 1]:
            raise DataError(
                f"{self.origin.name}: the column '{short(twice[0])}' is named twice.", f"Name it once in {option}."
            )
        return places

    def _listed(self, names: str) -> list[str]:
        """A column's name as it is, else the cells of a line of CSV."""
        return [names] if names in self._places else [name.strip() for name in next(csv.reader([names]), [])]

    def place(self, name: str) -> int:
        """The place of a column of the training data, by its very name: '3' is a name here, and no position.

        Raises
        ------
        DataError : no such column.
        """
        if name not in self._places:
            raise DataError(
                f"{self.origin.name} has no column '{short(name)}', which the training data had.{self._reading()}",
                f"Name the columns as there; these are in the table: {self.listed(name)}.",
            )
        return self._places[name]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: j for j, name in enumerate(self.names)}

    def listed(self, near: str | None = None) -> str:
        """At most ten names, the nearest where some are near."""
        shown = difflib.get_close_matches(near, self.names, n=LISTED) if near and len(near) < 200 else []
        shown = shown or list(self.names[:LISTED])
        more = len(self.names) - len(shown)
        return ", ".join(short(name) for name in shown) + (f" ({more:,} more)" if more else "")

    def _reading(self) -> str:
        unusual = [note for note in self.notes if "first line" in note]
        return f" ({unusual[0]}.)" if unusual else ""


def short(text: str, most: int = 60) -> str:
    """The text on one line, cut where it is long, and without signs that a terminal obeys."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
