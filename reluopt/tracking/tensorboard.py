"""TensorBoard: a training run as scalars, pictures and settings, and its certificate, all as one run in its folder."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from reluopt import printing
from reluopt.losses.protocol import is_one_hot
from reluopt.patterns.drift import DriftRecorder
from reluopt.rigor import rounding
from reluopt.runs import RunFolder
from reluopt.tracking import hparams as vocabulary
from reluopt.tracking import style
from reluopt.training.callbacks import Callback, Record, RecordDrift
from reluopt.training.state import TrainState

#: Pictures of the flipped entries a run makes, beside the one at its end; their largest side in pixels.
PICTURES, SIDE = 5, 256
#: A confusion matrix of up to so many classes has their names and numbers.
NAMED_CLASSES = 20

#: How the names of event files begin, and how those of a certificate's end.
EVENTS, CERTIFICATE = "events.out.tfevents.", ".certificate"


class TensorBoard(Callback):
    """Writes each record's scalars, a few pictures of the flipped entries, and the settings into the run folder.

    On resume the events at or past the checkpoint's epoch are withdrawn (``purge_step``): no point shows twice.

    Parameters
    ----------
    run : the folder; ``tensorboard --logdir`` it, or a folder of runs.
    hparams : further settings to show beside those of the training, by the names of a sweep's grid:
        ``{"data.dataset": "diabetes"}``.
    labels : of the classes, by the numbers of their outputs ("0", "1", …), for the picture of what is taken for what.
    """

    optional = True

    def __init__(
        self, run: RunFolder, hparams: Mapping[str, Any] | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        self.run, self.hparams, self.labels = run, dict(hparams or {}), dict(labels or {})
        self._writer: SummaryWriter | None = None

    def on_start(self, state: TrainState) -> None:
        """Open the writer and write the settings."""
        self._writer = writer = open_writer(self.run, state.epoch)
        n, d = state.X.shape
        settings = {f"train.{name}": value for name, value in state.config.to_mapping().items()}
        # add_hparams would open a subfolder, which TensorBoard shows as a second run
        for summary in vocabulary.summaries({**settings, "beta": state.beta, "n": n, "d": d, **self.hparams}):
            writer.file_writer.add_summary(summary)

    def on_epoch(self, state: TrainState) -> None:
        """Put what is written on disk before a checkpoint: a resumed run goes on from there."""
        if self._writer is not None and state.epoch % state.config.epochs_between_checkpoints == 0:
            self._writer.flush()

    def on_record(self, state: TrainState, record: Record) -> None:
        """Write the scalars, and a picture if one is due."""
        if self._writer is None:
            return
        for tag, value in record.scalars.items():
            self._writer.add_scalar(tag, value, record.epoch)
        if _picture_due(state):
            picture = drawn(flip_figure(_recorder(state).flipped(), record.epoch))
            self._writer.add_image("patterns/flipped", picture, record.epoch, dataformats="HWC")
            if is_one_hot(state.y):
                f = torch.relu(record.preactivations) @ state.network.alpha.detach()
                counts = confusion(f.argmax(1).cpu().numpy(), state.y.argmax(1).cpu().numpy(), f.shape[1])
                picture = drawn(confusion_figure(counts, self.labels, record.epoch))
                self._writer.add_image("train/confusion", picture, record.epoch, dataformats="HWC")

    def on_end(self, state: TrainState) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()


class SolveBoard:
    """The trace of `reluopt solve` in TensorBoard: L, bound, gap, price and neurons, at their wall-clock times.

    Parameters
    ----------
    run : the folder. ``name`` : of the data. ``settings`` : of the search, for the table of settings.
    """

    def __init__(self, run: RunFolder, name: str, settings: Mapping[str, Any]) -> None:
        self.run, self._lines, self._began = run, 0, time.time()
        # what an earlier session wrote is written again with the rest
        for file in run.path.glob(f"{EVENTS}*"):
            file.unlink()
        self._writer = open_writer(run, 0)
        named = {f"solve.{key}": value for key, value in settings.items()}
        for summary in vocabulary.summaries({**named, "data.dataset": name}):
            self._writer.file_writer.add_summary(summary)

    def log(self, trace: Sequence[Mapping[str, Any]]) -> None:
        """Write the lines of ``trace`` that are new, one step a line; they are on disk when this returns."""
        for step, line in enumerate(trace[self._lines :], start=self._lines):
            at = self._began + line["seconds"]
            for key in ("objective", "bound", "gap", "price", "neurons"):
                if math.isfinite(line[key]):
                    side = rounding.float32_below if key == "bound" else rounding.float32_above
                    self._writer.add_scalar(f"solve/{key}", side(line[key]), step, walltime=at)
        self._lines = len(trace)
        self._writer.flush()

    def close(self) -> None:
        """Close the writer."""
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


def flip_figure(flipped: Bool[np.ndarray, "n m"], epoch: int) -> Figure:
    """:func:`flip_picture` with axes, and a scale that says what its colours are."""
    n, m = flipped.shape
    figure, axes = style.figure(6.4, 4.8)
    axes.grid(False)
    image = axes.imshow(
        flip_picture(flipped), cmap=style.COLOUR_MAP, vmin=0, vmax=1, aspect="auto", extent=(0, m, n, 0),
        interpolation="nearest",
    )  # fmt: skip
    axes.set(xlabel=f"the {m} neurons, most flipped first", ylabel=f"the {n} samples, most flipped first")
    style.title(
        axes, f"epoch {epoch}: {flipped.mean():.1%} of all (sample, neuron) activations are not as at the start"
    )
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.5, 1], label="share of a pixel's activations that flipped")
    bar.ax.set_yticklabels(["0: as at the start", "half", "1: flipped"])
    return figure


def confusion(found: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"], classes: int) -> Int[np.ndarray, "C C"]:
    """How many samples of each class (row) are taken for each class (column)."""
    return np.bincount(true * classes + found, minlength=classes * classes).reshape(classes, classes)


def confusion_figure(counts: Int[np.ndarray, "C C"], labels: Mapping[str, str], epoch: int) -> Figure:
    """The confusion matrix: colours are shares of a row, numbers are samples (up to 20 classes)."""
    figure, axes = style.figure(6.4, 5.2)
    axes.grid(False)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=style.COLOUR_MAP, vmin=0, vmax=1)
    classes = len(counts)
    if classes <= NAMED_CLASSES:
        names = [labels.get(str(k), str(k))[:16] for k in range(classes)]
        axes.set_xticks(range(classes), names, rotation=45, ha="right")
        axes.set_yticks(range(classes), names)
        for i, j in np.argwhere(counts > 0):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=7)
    axes.set(xlabel="taken for", ylabel="is")
    right = float(np.trace(counts)) / max(1, int(counts.sum()))
    style.title(axes, f"epoch {epoch}: {right:.1%} of the samples trained on are taken for their class")
    figure.colorbar(image, ax=axes, label="share of the class")
    return figure


def drawn(figure: Figure) -> UInt8[np.ndarray, "height width 3"]:
    """A figure as an image."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def log_certificate(
    run: RunFolder,
    verdict: str,
    estimates: Sequence[Mapping[str, Any]],
    facts: Sequence[Sequence[str]] = (),
    *,
    step: int,
) -> None:
    """Write a certificate into the run's TensorBoard entries: three scalars, its text, the ladder's picture.

    The entries stand one step after the network's epoch ``step``, in a file of their own, so that certifying again
    withdraws the earlier certificate and nothing else.

    Parameters
    ----------
    estimates : records with keys label, quantity, relation, value, status and meaning, in the order to list them in.
    facts : what stands beside the ladder: lines of (what, value, status, meaning).
    """
    step += 1
    writer = open_writer(run, step, CERTIFICATE)
    for tag, value in _scalars(estimates).items():
        writer.add_scalar(tag, value, step)
    cells = [(r["label"], printing.estimate(r, 6), r["status"], r["meaning"]) for r in estimates]
    parts = [verdict, _markdown(("estimate", "value", "known as", "meaning"), cells)]
    if facts:
        parts.append(_markdown(("beside the ladder", "value", "known as", "meaning"), facts))
    writer.add_text("certificate/verdict", "\n\n".join(parts), step)
    if run.ladder_file.is_file():
        writer.add_image("certificate/ladder", imread(run.ladder_file), step, dataformats="HWC")
    writer.close()


def _scalars(estimates: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    proved = [r for r in estimates if r["status"] == "proved"]
    bound = max((r["value"] for r in proved if (r["quantity"], r["relation"]) == ("p*", ">=")), default=None)
    own = max((r["value"] for r in proved if (r["quantity"], r["relation"]) == ("p̃(S(θ))", ">=")), default=math.nan)
    objective = max((r["value"] for r in proved if r["quantity"] == "L(θ)"), default=math.nan)
    return vocabulary.certificate_scalars(objective, bound, own)


def open_writer(run: RunFolder, step: int, suffix: str = "") -> SummaryWriter:
    """A writer into the run folder itself, which withdraws all earlier events at or past ``step``.

    An earlier certificate's file goes altogether: it is out of date, and not all readers withdraw texts.
    """
    for file in run.path.glob(f"{EVENTS}*{CERTIFICATE}"):
        file.unlink()
    _let_writers_fail_quietly()
    earlier = [int(file.name.removeprefix(EVENTS).split(".")[0]) for file in run.path.glob(f"{EVENTS}*")]
    if not earlier:
        return SummaryWriter(str(run.path), filename_suffix=suffix)
    # readers take a folder's files in the order of their names, which begin with the second of their making
    time.sleep(max(0.0, max(earlier) + 1 - time.time()))
    return SummaryWriter(str(run.path), purge_step=step, filename_suffix=suffix)


@functools.cache
def _let_writers_fail_quietly() -> None:
    """Print no traceback of TensorBoard's writing thread on a full disk: its next call raises the same OSError here."""
    earlier = threading.excepthook

    def hook(failure: Any) -> None:
        of_tensorboard = type(failure.thread).__module__.startswith("tensorboard.")
        if not (of_tensorboard and issubclass(failure.exc_type, OSError)):
            earlier(failure)

    threading.excepthook = hook


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
