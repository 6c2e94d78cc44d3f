"""The file metrics.jsonl of a run: one JSON object a record, a line each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reluopt.errors import CheckpointError
from reluopt.writing import write_atomically


def append(file: Path, record: Mapping[str, float]) -> None:
    """Add one line; it has left the process when this returns, so killing the process cannot lose it.

    A line that cannot be written as a whole (the disk is full) is taken back.
    """
    rest = memoryview(_line(record))
    with file.open("ab", buffering=0) as stream:
        before = stream.tell()
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError:
            with suppress(OSError):
                stream.truncate(before)
            raise


def records(file: Path) -> list[dict[str, Any]]:
    """All records. A torn last line (the process was killed while it wrote) is left out.

    Raises
    ------
    CheckpointError : a broken line that is not the last one.
    """
    if not file.is_file():
        return []
    lines = file.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is empty or torn
        try:
            found.append(json.loads(line))
            if not isinstance(found[-1], dict) or not isinstance(found[-1].get("epoch"), int):
                raise ValueError("no record")
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"Line {number} of '{file}' is not a record in JSON.",
                "Delete that line, or train a new run.",
            ) from error
    return found


def keep_before(file: Path, epoch: int) -> int:
    """Drop the records at or past ``epoch``, and a torn last line; how many are left."""
    kept = [record for record in records(file) if record["epoch"] < epoch]
    write_atomically(file, b"".join(_line(record) for record in kept))
    return len(kept)


def _line(record: Mapping[str, Any]) -> bytes:
    """One record as strict JSON: a number that is not finite becomes null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return (json.dumps(plain, allow_nan=False) + "\n").encode()
