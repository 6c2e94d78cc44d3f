"""Training in a run folder: a new run from settings, or an earlier one that goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.runs import RunFolder
from reluopt.search.records import Progress
from reluopt.tracking.tensorboard import TensorBoard
from reluopt.training import TrainConfig, Trainer, TrainResult
from reluopt.training.callbacks import Validate
from reluopt.workflows.preparation import for_training, prepare
from reluopt.workflows.runs import RunRecord, next_run, read_run, where_it_started
from reluopt.workflows.searched_training import SearchedTraining
from reluopt.writing import require_space


@dataclass(frozen=True)
class TrainingRun:
    """A run folder, what it is about, and the trainer that is to work in it.

    Attributes
    ----------
    tables : of the config.toml of a new run; None where the folder is a run already. ``replace`` : an earlier one goes.
    """

    folder: RunFolder
    record: RunRecord
    trainer: Trainer
    tables: Mapping[str, Mapping[str, Any]] | None = None
    replace: bool = False

    @property
    def reached(self) -> TrainResult | None:
        """What was reached where :meth:`fit` ends early."""
        return self.trainer.result

    def fit(self, callback: Callable[[Progress], object] | None = None) -> TrainResult:
        """Make the run if it is new, and train. ``callback`` is for searches; the trainer has callbacks of its own.

        Raises
        ------
        CheckpointError : the folder cannot be written, or another process works there.
        TrainingError : the loss is no longer finite.
        """
        if self.tables is None:
            return self.trainer.fit(resume=True)
        with self.folder.locked():
            self.folder.make(self.tables, overwrite=self.replace, preparation=self.record.data.preparation)
            try:
                return self.trainer.fit(resume=False)
            except Exception:
                if self.trainer.state.epoch == 0 and self.trainer.result is None:
                    self.folder.clear()  # it has not begun: the corrected command finds nothing in its way
                raise


def new_training(
    data: DataConfig,
    train: TrainConfig,
    out: Path | None = None,
    *,
    replace: bool = False,
    progress: bool = False,
    load: Callable[[DataConfig], Dataset] = load_dataset,
) -> TrainingRun | SearchedTraining:
    """A run that its method ``fit`` makes and trains; nothing is written yet.

    Parameters
    ----------
    out : its folder; the next free ``runs/NAME-001`` where none is named. ``replace`` : a run in it may go.
    progress : show how the training goes. ``load`` : reads the data.

    Raises
    ------
    DataError, ConfigError : data or settings that cannot be used. CheckpointError : no run can be made in the folder.
    """
    train.torch_device()
    data = for_training(data, train)
    prepared = prepare(data, train, load)
    record = RunRecord(prepared.data, train, prepared.problem, prepared.beta_max)
    folder = RunFolder(out) if out else next_run(record.data.name)
    facts = {**where_it_started(folder), **record.facts()}
    tables = {"data": data.to_mapping(), "train": train.to_mapping(), "run": facts}
    if train.optimizer == "solve":
        folder.require_free(overwrite=replace, need=2**20)
        return SearchedTraining(folder, record, tables, replace)
    trainer = _trainer(folder, record, progress)
    folder.require_free(overwrite=replace, need=trainer.disk_space)
    return TrainingRun(folder, record, trainer, tables, replace)


def resumed_training(path: Path, *, progress: bool = False) -> TrainingRun | SearchedTraining:
    """An earlier run, that goes on where it was left.

    Raises
    ------
    CheckpointError : it is not as it was trained.
    """
    folder = RunFolder.open(path)
    folder.require_preparation()
    folder.metrics()  # a broken line is told before any work
    record = read_run(folder)
    if record.train.optimizer == "solve":
        require_space(folder.path, 2**20)
        return SearchedTraining(folder, record)
    return TrainingRun(folder, record, _trainer(folder, record, progress))


def _trainer(folder: RunFolder, record: RunRecord, progress: bool) -> Trainer:
    data, problem, config = record.data, record.problem, record.train
    network = config.make_network(problem.d, problem.outputs)
    X, pooling = data.pooled_test
    tested = [] if data.test_y is None else [Validate(X, problem.loss.encoded(data.test_y), pooling)]
    callbacks = [*tested, TensorBoard(folder, hparams={"data.dataset": data.name}, labels=data.labels)]
    return Trainer(network, problem, config=config, callbacks=callbacks, run=folder, progress=progress)
