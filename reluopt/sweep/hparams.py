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
from torch.utils.tensorboard.summary import hparams as hparams_summaries
from torch.utils.tensorboard.summary import scalar

from reluopt.runs import write_atomically
from reluopt.sweep.table import identity

#: Results that TensorBoard shows beside the settings.
METRICS = (
    "objective",
    "stationarity_residual",
    "preserved",
    "patterns",
    "own_above",
    "lower_bound",
    "proved_ratio",
    "gaussian",
    "seconds",
)

#: A row's file of events: always the same name, so that a row cannot show twice.
FILE = "events.out.tfevents.0.sweep"


def log_row(folder: Path, row: Mapping[str, Any], keys: Sequence[str], settings: Sequence[str]) -> Path | None:
    """Write a row as ``folder``/NAME/events..., whole or not at all, unless it is there; a failed row is left out.

    Parameters
    ----------
    row : settings and results.
    keys : the settings to show, those of the grid.
    settings : all settings, by which rows differ.

    Returns
    -------
    The row's folder.
    """
    if row["error"] is not None:
        return None
    shown = {key: row[key] for key in keys if row[key] is not None}
    place = folder / _name(shown, {key: row[key] for key in settings})
    if not (place / FILE).exists():
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / FILE, _events(shown, {name: row[name] for name in METRICS}))
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
    digest = hashlib.sha256((identity(settings) + identity(shown)).encode()).hexdigest()
    return re.sub(r"[^\w=. +-]", "_", readable)[:100] + f" {digest[:8]}"


def _events(shown: Mapping[str, Any], outcome: Mapping[str, Any]) -> bytes:
    """The file: the settings, and each metric that is a finite number as one scalar."""
    metrics = {name: float(v) for name, v in outcome.items() if v is not None and math.isfinite(v)}
    summaries = [*hparams_summaries(dict(shown), metrics), *(scalar(name, v) for name, v in metrics.items())]
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in [Event(file_version="brain.Event:2"), *(Event(summary=summary) for summary in summaries)]:
        writer.write(event.SerializeToString())
    return buffer.getvalue()
