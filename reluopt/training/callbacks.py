"""What happens beside the training loop: records, metrics, checkpoints, drift, stopping, a progress bar.

A callback is an object with methods named after events; all events have an empty default. They run in the order in
which the trainer holds them, so a callback that adds scalars to a record stands before those that write them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reluopt.patterns.drift import DriftRecorder
from reluopt.pooling import Pooling
from reluopt.progress import Bar
from reluopt.runs import RunFolder
from reluopt.training.checkpoint import fingerprint, save_checkpoint
from reluopt.training.state import TrainState

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Record:
    """The network after ``epoch`` epochs.

    Attributes
    ----------
    scalars : numbers under their TensorBoard tags: ``train/objective``, ``train/loss`` (Σ κℓ),
        ``train/R2`` or ``train/accuracy``,
        ``train/stationarity_residual`` (‖∇L‖ with ReLU'(0) = 0), ``train/learning_rate``; callbacks add theirs.
    relative_residual : ‖∇L‖·‖θ‖/L, the share of L that first-order moves of the size of the weights can change.
    preactivations : X Uᵀ (n, m), from the training step itself where it is a full batch.
    """

    epoch: int
    preactivations: Tensor
    relative_residual: float
    scalars: dict[str, float] = field(default_factory=dict)


class Callback:
    """Base with empty events. ``state``/``load_state`` carry what must survive a resume.

    Where ``optional`` is true, an OSError in an event (a full disk) withdraws the callback with a warning and training
    goes on without it.
    """

    optional = False

    def on_start(self, state: TrainState) -> None:
        """Before the first epoch (of this process; ``state.resumed`` tells)."""

    def on_epoch(self, state: TrainState) -> None:
        """At the start of every epoch and at the end of training, before the record of ``state.epoch``."""

    def on_record(self, state: TrainState, record: Record) -> None:
        """At a record. ``state.stop(reason)`` ends training here."""

    def on_end(self, state: TrainState) -> None:
        """After training: ``state.stopped_because`` says why it ended (also when interrupted or failed)."""

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that go into checkpoints."""
        return {}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up the arrays of a checkpoint."""


class RecordDrift(Callback):
    """Adds the ``patterns/...`` scalars to every record."""

    def __init__(self, recorder: DriftRecorder) -> None:
        self.recorder = recorder

    def on_record(self, state: TrainState, record: Record) -> None:
        """Take up the patterns of the record."""
        drift = self.recorder.update(record.preactivations, state.network.U, state.network.alpha)
        record.scalars.update(drift.scalars())

    def state(self) -> dict[str, np.ndarray]:
        """The patterns at the start and at the last record."""
        return self.recorder.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Compare with the patterns of the checkpoint from now on."""
        self.recorder.load_state(state)


class Validate(Callback):
    """Adds ``test/loss`` (the mean ℓ) and ``test/R2`` or ``test/accuracy`` of held-out samples to every record.

    Parameters
    ----------
    X, y : (k, d), (k,) or (k, C) the held-out samples, prepared as those that are trained on.
    pooling : of the rows of X, where these are patches.
    """

    def __init__(self, X: Any, y: Any, pooling: Pooling | None = None) -> None:
        self.X, self.y, self.pooling = torch.as_tensor(X), torch.as_tensor(y), pooling

    def on_record(self, state: TrainState, record: Record) -> None:
        """Evaluate the network on the held-out samples."""
        X, y, loss = self.X.to(state.network.U), self.y.to(state.network.U), state.problem.loss
        with torch.no_grad():
            f = state.network(X)
            f = f if self.pooling is None else self.pooling.forward(f)
            name, score = loss.score(f, y)
            record.scalars["test/loss"] = float(loss.value(f, y).sum()) / len(y)
            record.scalars[f"test/{name}"] = score


class WriteMetrics(Callback):
    """One line of ``metrics.jsonl`` a record."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_start(self, state: TrainState) -> None:
        """Drop what an interrupted process wrote past the checkpoint, and say so if records before it are gone."""
        kept = self.run.keep_metrics_before(state.epoch)
        due = len(range(0, state.epoch, state.config.epochs_between_records))
        if kept < due:
            logger.warning(
                "'%s' has %d of the %d records before epoch %d; training goes on, and the others stay missing.",
                self.run.metrics_file, kept, due, state.epoch,
            )  # fmt: skip

    def on_record(self, state: TrainState, record: Record) -> None:
        """Append the record."""
        self.run.append_metrics({"epoch": record.epoch, **record.scalars})


class SaveCheckpoints(Callback):
    """``checkpoints/initial.safetensors`` at the start, ``latest.safetensors`` every so many epochs and at the end."""

    def __init__(self, run: RunFolder, every: int) -> None:
        self.run, self.every = run, every

    def on_start(self, state: TrainState) -> None:
        """Keep the initial weights, exactly: drift and S_kept are measured against them."""
        self.data = fingerprint(state.X, state.y, state.weights, state.problem.pooling)
        self._resumed_at = state.epoch
        if not state.resumed:
            save_checkpoint(self.run.initial_checkpoint, state, self.data)

    def on_epoch(self, state: TrainState) -> None:
        """Save where one is due."""
        if state.epoch % self.every == 0 and state.epoch > self._resumed_at:
            save_checkpoint(self.run.latest_checkpoint, state, self.data)

    def on_end(self, state: TrainState) -> None:
        """Save a finished run, and one that the user interrupted between two epochs; not one that failed."""
        if state.stopped_because is not None or state.interrupted:
            save_checkpoint(self.run.latest_checkpoint, state, self.data)


class ProgressBar(Callback):
    """A bar on standard error: on a terminal, in Jupyter; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def on_start(self, state: TrainState) -> None:
        """Show the bar."""
        self._bar = Bar("training", state.config.epochs, state.epoch)
        self._bar.start()

    def on_epoch(self, state: TrainState) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(state.epoch)

    def on_record(self, state: TrainState, record: Record) -> None:
        """Say how it goes."""
        if self._bar is not None:
            text = f"L = {record.scalars['train/objective']:.6g}, residual {record.relative_residual:.1e}"
            self._bar.update(record.epoch, text)

    def on_end(self, state: TrainState) -> None:
        """Leave the last state of the bar on the screen."""
        if self._bar is not None:
            self._bar.stop()
