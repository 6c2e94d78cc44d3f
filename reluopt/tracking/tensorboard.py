"""TensorBoard: a training run as scalars, pictures and settings, and its certificate, all as one run in its folder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from reluopt import printing
from reluopt.patterns.drift import DriftRecorder
from reluopt.runs import RunFolder
from reluopt.training.callbacks import Callback, Record, RecordDrift
from reluopt.training.state import TrainState

#: Pictures of the flipped entries a run makes, beside the one at its end; their largest side in pixels.
PICTURES, SIDE = 5, 256

#: The scalars that TensorBoard's table of settings shows beside each run.
OUTCOMES = ("train/objective", "train/stationarity_residual", "patterns/preserved_from_init")

#: How the names of event files begin, and how those of a certificate's end.
EVENTS, CERTIFICATE = "events.out.tfevents.", ".certificate"


class TensorBoard(Callback):
    """Writes each record's scalars, a few pictures of the flipped entries, and the settings into the run folder.

    On resume the events at or past the checkpoint's epoch are withdrawn (``purge_step``): no point shows twice.

    Parameters
    ----------
    run : the folder; ``tensorboard --logdir`` it, or a folder of runs.
    hparams : further settings to show, beside those of the training (such as the name of the data set).
    """

    def __init__(self, run: RunFolder, hparams: Mapping[str, Any] | None = None) -> None:
        self.run, self.hparams = run, dict(hparams or {})
        self._writer: SummaryWriter | None = None

    def on_start(self, state: TrainState) -> None:
        """Open the writer and write the settings."""
        self._writer = writer = open_writer(self.run, state.epoch)
        n, d = state.X.shape
        settings = {**state.config.to_mapping(), "beta": state.beta, "n": n, "d": d, **self.hparams}
        # add_hparams would open a subfolder, which TensorBoard shows as a second run
        for summary in hparams_summaries(settings, dict.fromkeys(OUTCOMES, 0.0)):
            writer.file_writer.add_summary(summary)

    def on_epoch(self, state: TrainState) -> None:
        """Put what is written on disk before a checkpoint: a resumed run goes on from there."""
        if self._writer is not None and state.epoch % state.config.epochs_between_checkpoints == 0:
            self._writer.flush()

    def on_record(self, state: TrainState, record: Record) -> None:
        """Write the scalars, and a picture if one is due."""
        assert self._writer is not None
        for tag, value in record.scalars.items():
            self._writer.add_scalar(tag, value, record.epoch)
        if _picture_due(state):
            picture = flip_picture(_recorder(state).flipped())
            self._writer.add_image("patterns/flipped", picture, record.epoch, dataformats="HW")

    def on_end(self, state: TrainState) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()


def flip_picture(flipped: Bool[np.ndarray, "n m"], side: int = SIDE) -> Float[np.ndarray, "height width"]:
    """The share of flipped entries as brightness in [0, 1]: samples down, neurons across, the most flipped first.

    Above ``side`` samples or neurons a pixel is the mean of a block.
    """
    rows = np.argsort(-flipped.sum(axis=1), kind="stable")
    columns = np.argsort(-flipped.sum(axis=0), kind="stable")
    picture = flipped[rows][:, columns].astype(np.float64)
    for axis in (0, 1):
        length = picture.shape[axis]
        starts = np.linspace(0, length, min(length, side), endpoint=False).astype(int)
        sizes = np.diff(np.append(starts, length))
        picture = np.add.reduceat(picture, starts, axis=axis) / (sizes[:, None] if axis == 0 else sizes)
    return picture


def log_certificate(
    run: RunFolder, verdict: str, rungs: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], *, step: int
) -> None:
    """Write a certificate into the run's TensorBoard entries: ``certificate/*`` scalars, text, the ladder's picture.

    The entries stand one step after the network's epoch ``step``, in a file of their own, so that certifying again
    withdraws the earlier certificate and nothing else.

    Parameters
    ----------
    rungs : records with keys key, label, value, kind and meaning; one scalar each, where the value is finite.
    facts : numbers beside the ladder, nested as they come; one scalar each.
    """
    step += 1
    writer = open_writer(run, step, CERTIFICATE)
    values = {str(rung["key"]): rung["value"] for rung in rungs} | dict(_numbers(facts))
    for name, value in values.items():
        if math.isfinite(value):
            writer.add_scalar(f"certificate/{name}", value, step)
    cells = [(rung["label"], printing.rung(rung), rung["kind"], rung["meaning"]) for rung in rungs]
    table = _markdown(("rung", "value", "known as", "meaning"), cells)
    writer.add_text("certificate/verdict", f"{verdict}\n\n{table}", step)
    if run.ladder_file.is_file():
        writer.add_image("certificate/ladder", imread(run.ladder_file), step, dataformats="HWC")
    writer.close()


def open_writer(run: RunFolder, step: int, suffix: str = "") -> SummaryWriter:
    """A writer into the run folder itself, which withdraws all earlier events at or past ``step``.

    An earlier certificate's file goes altogether: it is out of date, and not all readers withdraw texts.
    """
    for file in run.path.glob(f"{EVENTS}*{CERTIFICATE}"):
        file.unlink()
    earlier = [int(file.name.removeprefix(EVENTS).split(".")[0]) for file in run.path.glob(f"{EVENTS}*")]
    if not earlier:
        return SummaryWriter(str(run.path), filename_suffix=suffix)
    # readers take a folder's files in the order of their names, which begin with the second of their making
    time.sleep(max(0.0, max(earlier) + 1 - time.time()))
    return SummaryWriter(str(run.path), purge_step=step, filename_suffix=suffix)


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell, as in |α|, would end it."""
    lines = [titles, ["---"] * len(titles), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _picture_due(state: TrainState) -> bool:
    """At the end, and PICTURES times before: whenever a record passes a further share of the epochs."""
    if state.stopped_because is not None:
        return True
    epochs, before = state.config.epochs, state.epoch - state.config.epochs_between_records
    return PICTURES * state.epoch // epochs != PICTURES * before // epochs


def _recorder(state: TrainState) -> DriftRecorder:
    return next(callback.recorder for callback in state.callbacks if isinstance(callback, RecordDrift))


def _numbers(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a nested mapping, under names joined with a slash."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)
