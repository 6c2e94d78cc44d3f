"""A sweep in TensorBoard's HParams: one session for each finished row, its place in the grid and its outcome."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

from reluopt.sweep.table import identity
from reluopt.tracking.hparams import METRICS, certificate_scalars, summaries
from reluopt.writing import write_atomically

#: A row's results by the tags of a run's scalars.
TAGS = {
    "train/objective": "objective",
    "train/stationarity_residual": "stationarity_residual",
    "patterns/preserved_from_init": "preserved",
    "patterns/distinct": "patterns",
}

#: A row's file of events: always the same name, so that a row cannot show twice.
FILE = "events.out.tfevents.0.sweep"


def log_row(folder: Path, row: Mapping[str, Any], keys: Sequence[str], settings: Sequence[str]) -> Path | None:
    """Write a row as ``folder``/NAME/events..., whole or not at all, unless it is there; a failed row is left out.

    Parameters
    ----------
    row : settings and results.
    keys : the settings that stand first, those of the grid.
    settings : all settings, by which rows differ.

    Returns
    -------
    The row's folder.
    """
    if row["error"] is not None:
        return None
    shown = {key: row[key] for key in keys if row.get(key) is not None}
    place = folder / _name(shown, {key: row.get(key) for key in settings})
    if not (place / FILE).exists():
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / FILE, _events(row, keys, settings))
    return place


def log_rows(folder: Path, rows: Sequence[Mapping[str, Any]], keys: Sequence[str], settings: Sequence[str]) -> None:
    """Write all rows, and withdraw those of an earlier grid."""
    kept = {log_row(folder, row, keys, settings) for row in rows}
    for place in folder.glob(f"*/{FILE}"):
        if place.parent not in kept:
            place.unlink()
            with suppress(OSError):  # something else is in there
                place.parent.rmdir()


def _name(shown: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """A folder's name: readable, and unique to these settings and to what is shown of them."""
    readable = " ".join(f"{key.partition('.')[2]}={value}" for key, value in shown.items())
    told = identity(settings) + identity(shown) + " ".join(METRICS)  # rows of other outcomes are written anew
    digest = hashlib.sha256(told.encode()).hexdigest()
    return re.sub(r"[^\w=. +-]", "_", readable)[:100] + f" {digest[:8]}"


def _events(row: Mapping[str, Any], keys: Sequence[str], settings: Sequence[str]) -> bytes:
    """The file: the settings, and each outcome that is a finite number as one scalar, under the tags of a run."""
    shown = {name: row.get(name) for name in (*settings, "n", "d", "beta") if name != "fingerprint"}
    outcome = {tag: row[name] for tag, name in TAGS.items()}
    metrics = {tag: float(value) for tag, value in outcome.items() if value is not None and math.isfinite(value)}
    if row["own_below"] is not None:
        metrics |= certificate_scalars(row["objective"], row["lower_bound"], row["own_below"])
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    content = [*summaries(shown, keys), *(scalar(tag, value) for tag, value in metrics.items())]
    for event in [Event(file_version="brain.Event:2"), *(Event(summary=summary) for summary in content)]:
        writer.write(event.SerializeToString())
    return buffer.getvalue()
