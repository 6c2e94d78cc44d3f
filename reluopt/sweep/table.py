"""The rows of a sweep in one Parquet file: what makes two rows the same, reading with checks, writing atomically."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reluopt.errors import CheckpointError, ConfigError
from reluopt.writing import write_atomically

Scalar: TypeAlias = bool | int | float | str | None
Row: TypeAlias = dict[str, Scalar]

#: What every row has beside its settings and results.
OWN = ("seconds", "error")

#: Where the file says which of its columns are settings.
_SETTINGS = b"reluopt.settings"

#: Rows that become columns together.
_BLOCK = 100


def identity(point: Mapping[str, Any]) -> str:
    """A point's settings as canonical JSON: keys sorted, unset ones (None) left out, 10.0 as 10.

    Two rows are the same row if these agree.
    """
    return json.dumps({k: _plain_number(v) for k, v in point.items() if v is not None}, sort_keys=True)


def _plain_number(value: Any) -> Any:
    """A whole float as an int: a column that also has fractions gives 10 back as 10.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """The mapping with numpy's scalars as Python's.

    Raises
    ------
    TypeError : a value that is not None, a bool, an int, a float or a str.
    """
    converted = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
    for name, value in converted.items():
        if not isinstance(value, Scalar):
            raise TypeError(f"'{name}' is of type {type(value).__name__}, not None, a bool, a number or a text")
    return converted


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All names that occur, in the order of their first occurrence."""
    return list(dict.fromkeys(name for row in rows for name in row))


class RowFile:
    """The rows that are done, in memory and in their file, which is written anew, atomically, at every change.

    Rows are turned into Arrow's columns once, in blocks: so a write costs milliseconds, at thousands of rows too.
    """

    def __init__(self, path: Path, settings: Sequence[str], rows: dict[str, Row]) -> None:
        self.path, self.settings, self._rows = path, list(settings), rows
        self._blocks = pa.table({})

    def __len__(self) -> int:
        return len(self._rows)

    @classmethod
    def open(cls, path: Path, points: Sequence[Row], results: Sequence[str] | None) -> RowFile:
        """What an earlier sweep left, for one that goes on with these points (and results, where they are declared).

        Raises
        ------
        CheckpointError : a file that is damaged or not of a sweep, or whose columns are others.
        ConfigError : a setting that is a number in one row and a text in another.
        """
        settings = columns_of(points)
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):  # of a write that was killed
            leftover.unlink()
        rows, earlier = read_rows(path)
        found = [name for name in columns_of(rows[:1]) if name not in earlier and name not in OWN]
        clash = sorted(set(found) & set(settings) | set(results or ()) & set(earlier))
        others = results is not None and found and set(found) != set(results)
        if clash or others:
            what = f"its '{clash[0]}' is no setting" if clash else f"its results are {', '.join(found)}"
            raise CheckpointError(
                f"'{path}' is of another sweep: {what}; now the settings are {', '.join(settings)}, "
                f"the results {', '.join(results or ['not known yet'])}.",
                "Name another place for the rows, or move the file away; then all rows run again.",
            )
        for name in settings:
            _column(name, [*rows, *points])
        done = {identity({name: row[name] for name in earlier}): row for row in rows}
        return cls(path, list(dict.fromkeys([*settings, *earlier])), done)

    def has(self, key: str, *, failed_too: bool) -> bool:
        """Whether the row of this identity is done."""
        return key in self._rows and (failed_too or self._rows[key]["error"] is None)

    def add(self, key: str, row: Row) -> None:
        """Keep a finished row: it is on disk when this returns."""
        if key in self._rows:
            self._blocks = pa.table({})  # it may be in there
        self._rows[key] = row
        try:
            self._write()
        except OSError as error:
            del self._rows[key]
            self._blocks = pa.table({})
            raise CheckpointError(
                f"'{self.path}' cannot be written: {error.strerror or error}. {len(self)} rows are in it.",
                "Free space there or allow writing, and run the same command again: it goes on.",
            ) from error

    def finish(self, keys: Sequence[str]) -> list[Row]:
        """Bring the rows of these identities to the front of the file, in this order, and return them."""
        order = dict.fromkeys([*keys, *self._rows])
        if list(order) != list(self._rows):
            self._rows = {key: self._rows[key] for key in order}
            self._blocks = pa.table({})
            self._write()
        return read_rows(self.path)[0][: len(keys)]

    def _write(self) -> None:
        fresh = list(self._rows.values())[len(self._blocks) :]
        columns = {name: _column(name, fresh) for name in columns_of([dict.fromkeys(self.settings), *fresh])}
        table = _joined([self._blocks, pa.table(columns)])
        if len(fresh) >= _BLOCK:
            self._blocks = table = table.combine_chunks()
        results = [name for name in table.column_names if name not in self.settings and name not in OWN]
        table = table.select([*self.settings, *results, *OWN])
        buffer = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({_SETTINGS: json.dumps(self.settings)}), buffer)
        write_atomically(self.path, buffer.getvalue().to_pybytes())


def _column(name: str, rows: Sequence[Row]) -> pa.Array:
    try:
        return pa.array([row.get(name) for row in rows])
    except (pa.ArrowException, OverflowError) as error:
        raise _mixed(f"The column '{name}' cannot hold all of its values: {error}.") from error


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One below the other: whole numbers become fractions where another has these, what is missing is null."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise _mixed(f"A column cannot hold all of its values: {error}.") from error


def _mixed(problem: str) -> ConfigError:
    return ConfigError(
        problem, "In every row let it be true or false, or a number (whole ones within 64 bits), or a text."
    )


def read_rows(path: Path) -> tuple[list[Row], list[str]]:
    """The rows of a file, and which of their columns are settings; no file gives none."""
    if not path.exists():
        return [], []
    try:
        # read at once: pyarrow opens a path twice, and a sweep may replace the file in between
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
    except (pa.ArrowException, OSError) as error:
        raise CheckpointError(
            f"'{path}' cannot be read as Parquet: {error}.", "Move it away; then all of its rows run again."
        ) from error
    metadata = table.schema.metadata or {}
    if _SETTINGS not in metadata or not set(OWN) <= set(table.column_names):
        raise CheckpointError(f"'{path}' was not written by a sweep.", "Name another place for the rows.")
    return table.to_pylist(), json.loads(metadata[_SETTINGS])
