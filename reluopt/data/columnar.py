"""Parquet and Feather files as tables; their stated sizes are checked before anything is unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet

from reluopt.data.gate import refuse_larger, require_file
from reluopt.data.origin import Origin
from reluopt.data.table import Table, TableSettings
from reluopt.errors import DataError


def read_columnar_table(path: Path, settings: TableSettings) -> Table:
    """The columns of a Parquet or Feather (version 2) file, with their types.

    Raises
    ------
    DataError : a missing, damaged or too large file, or settings for text.
    """
    require_file(path, settings.max_bytes)
    text_only = [
        name for name in ("header", "delimiter", "decimal", "thousands") if getattr(settings, name) is not None
    ]
    if text_only:
        raise DataError(
            f"{path.name} is no text file, and '{text_only[0]}' is for text.", f"Leave '{text_only[0]}' out."
        )
    read = _parquet if path.suffix.lower() in (".parquet", ".pq") else _feather
    try:
        table = read(path, settings.max_bytes)
        table.validate(full=True)
        columns = [_decoded(table.column(j)) for j in range(table.num_columns)]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} cannot be read as a {path.suffix.lower()[1:]} file ({str(error)[:200]}).", "Write it again."
        ) from None
    # pandas keeps an index that it writes under this kind of name
    names = ["" if name.startswith("__index_level_") else name for name in table.column_names]
    return Table(tuple(names), tuple(columns), Origin(path.name, "row"))


def _parquet(path: Path, max_bytes: int) -> pa.Table:
    facts = pa.parquet.read_metadata(path)
    stated = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
    refuse_larger(path.name, max(stated, 8 * facts.num_rows * facts.num_columns), max_bytes)
    return pa.parquet.ParquetFile(path).read()


def _feather(path: Path, max_bytes: int) -> pa.Table:
    """Batch after batch, so that a small file does not unpack to more than is allowed."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        batches, size = [], 0
        for i in range(reader.num_record_batches):
            batch = reader.get_batch(i)
            size += batch.nbytes
            refuse_larger(path.name, size, max_bytes)
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)


def _decoded(column: Any) -> Any:
    """Categories and texts of every width as plain text; other types as they are."""
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return _words(column) if _holds_bytes(kind) else column


def _holds_bytes(kind: Any) -> bool:
    types = pa.types
    return any(test(kind) for test in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary))


def _words(column: Any) -> Any:
    """Bytes as text where they are printable UTF-8, as some programs write texts; others as they are."""
    try:
        words = column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return column
    printable = all(word is None or word.isprintable() for word in words.to_pylist())
    return words if printable else column
