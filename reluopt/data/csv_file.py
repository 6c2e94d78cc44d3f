"""Text tables (CSV, TSV, ``.data``, ``.txt``, gzipped or not), read by pyarrow; every problem names its line."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from reluopt.data.cells import as_numbers, flat, is_missing
from reluopt.data.encoding import Encoding
from reluopt.data.gate import GZIP, unpacked
from reluopt.data.header import is_header
from reluopt.data.matching import matched
from reluopt.data.origin import Origin
from reluopt.data.rows import Rows, rows_of
from reluopt.data.table import Table, TableSettings
from reluopt.data.text import cells_of, decoded
from reluopt.errors import DataError

#: Rows that are searched for the values of the first line.
SEARCHED = 1000


def read_text_table(path: Path, settings: TableSettings, known: Encoding | None = None) -> Table:
    """The columns of a text file, as text.

    ``known`` : the rules of the training data where this is a further file; the target is there if settings name it.

    Raises
    ------
    DataError : a file that cannot be read, is no text, or whose rows differ in length. Lines are named as an editor
        counts them.
    """
    content = unpacked(path, settings.max_bytes)
    if content.startswith(GZIP):
        raise DataError(f"{path.name} is packed by gzip.", "Let its name end in .gz, or unpack it (once more).")
    text, encoding = decoded(content, path.name)
    found = rows_of(text, path.name, settings.delimiter, settings.header)
    first = cells_of(found.rows[0], found.delimiter)
    notes = list(found.notes)
    if encoding not in ("utf-8", "utf-8-sig"):
        notes.append(f"read as {encoding}")
    named = settings.header if settings.header is not None else _reads_as_header(first, found)
    if not named:
        if settings.header is None:
            notes.append("the first line holds values, so it is a sample and not a header (--header if it is one)")
        names = [f"x{j}" for j in range(1, len(first) + 1)]
        body = found
    else:
        names = _names(first)
        body = dataclasses.replace(found, rows=found.rows[1:], numbers=found.numbers[1:])
    names = _fitted_to_rows(names, body, named)
    columns = _columns(body, len(names))
    if names and not names[-1] and len(names) > 1 and _all_empty(columns[-1]):  # every line ends with a delimiter
        names, columns = names[:-1], columns[:-1]
    if known is not None:
        given = settings.target is not None
        names = matched(known, names, path.name, has_header=named, target_may_lack=not given)
    if settings.decimal != "comma" and settings.thousands is None:
        numeric = [j for j, name in enumerate(names) if known is None or name in known.numeric]  # codes stay text
        for j, column in zip(numeric, as_numbers([columns[j] for j in numeric]), strict=True):
            columns[j] = column
    origin = Origin(path.name, "line", np.array(body.numbers, dtype=np.int64))
    return Table(tuple(names), tuple(columns), origin, tuple(notes), named)


def _reads_as_header(first: list[str], rows: Rows) -> bool:
    return is_header(first, [cells_of(row, rows.delimiter) for row in rows.rows[1:SEARCHED]])


def _names(first: list[str]) -> list[str]:
    """The names of a header. One like NA may be sodium; several alike were written for names that are missing."""
    times = Counter(first)
    return [cell if times[cell] == 1 or not is_missing(cell) else "" for cell in first]


def _fitted_to_rows(names: list[str], body: Rows, named: bool) -> list[str]:
    """A header may lack the cell above the row names (as R writes), or the one after a delimiter that ends each row."""
    if not named or not body.rows:
        return names
    widths = {len(cells_of(row, body.delimiter)) for row in body.rows[:SEARCHED]}
    if widths != {len(names) + 1}:
        return names
    ends = all(row.rstrip(" ").endswith(body.delimiter) for row in body.rows[:SEARCHED])
    return [*names, ""] if ends else ["", *names]


def _columns(body: Rows, width: int) -> list[Any]:
    """The cells of each column as pyarrow text, stripped."""
    if not body.rows:
        return [pa.array([], pa.string()) for _ in range(width)]
    content = ("\n".join(body.rows) + "\n").encode("utf-8", "surrogatepass")
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "skip"

    keys = [str(j) for j in range(width)]
    try:
        table = pa.csv.read_csv(
            io.BytesIO(content),
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=keys),
            parse_options=pa.csv.ParseOptions(
                delimiter=body.delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=note
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise DataError(f"{body.name} is not a proper CSV file ({error}).", "Check its quotes.") from None
    if table.num_rows + len(ragged) != len(body.rows):
        raise DataError(
            f"{body.name} has {len(body.rows)} rows by its lines and {table.num_rows + len(ragged)} by its quotes.",
            "Check its quotes.",
        )
    if ragged:
        row = ragged[0]
        raise DataError(
            f"{body.name}, line {body.numbers[row.number - 1]}: {row.actual_columns} cells, and the "
            f"first line has {row.expected_columns}" + (f"; {len(ragged)} such lines." if len(ragged) > 1 else "."),
            "Give every line one cell a column (quote text that holds the delimiter), or name the --delimiter.",
        )
    return [flat(table.column(j)) for j in range(width)]


def _all_empty(column: Any) -> bool:
    return all(is_missing(str(cell)) for cell in column.to_pylist())
