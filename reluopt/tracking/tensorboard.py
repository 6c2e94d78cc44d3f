"""TensorBoard: a training run as scalars, pictures and settings, in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from reluopt.losses.protocol import is_one_hot
from reluopt.patterns.drift import DriftRecorder
from reluopt.runs import RunFolder
from reluopt.tracking import hparams as vocabulary
from reluopt.tracking.pictures import confusion, confusion_figure, drawn, flip_figure
from reluopt.tracking.writer import open_writer
from reluopt.training.callbacks import Callback, Record, RecordDrift
from reluopt.training.state import TrainState

#: Pictures of the flipped entries a run makes, beside the one at its end.
PICTURES = 5


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
                f = state.problem.pooled(state.network.outputs_of(record.preactivations).detach())
                counts = confusion(f.argmax(1).cpu().numpy(), state.y.argmax(1).cpu().numpy(), f.shape[1])
                picture = drawn(confusion_figure(counts, self.labels, record.epoch))
                self._writer.add_image("train/confusion", picture, record.epoch, dataformats="HWC")

    def on_end(self, state: TrainState) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()


def _picture_due(state: TrainState) -> bool:
    """At the end, and PICTURES times before: whenever a record passes a further share of the epochs."""
    if state.stopped_because is not None:
        return True
    epochs, before = state.config.epochs, state.epoch - state.config.epochs_between_records
    return PICTURES * state.epoch // epochs != PICTURES * before // epochs


def _recorder(state: TrainState) -> DriftRecorder:
    return next(callback.recorder for callback in state.callbacks if isinstance(callback, RecordDrift))
