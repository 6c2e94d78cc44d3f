"""`reluopt train`: train a network on a data set, log its pattern drift, leave a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.bounds import beta_max_upper
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.train import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, tell
from reluopt.cli.scripting import result as said
from reluopt.cli.searched import train_new, train_on
from reluopt.cli.show import show_training
from reluopt.data import DataConfig, Dataset
from reluopt.errors import ConfigError
from reluopt.problem import Problem
from reluopt.progress import working
from reluopt.runs import RunFolder
from reluopt.tracking.tensorboard import TensorBoard
from reluopt.training import TrainConfig, Trainer
from reluopt.training.callbacks import Validate
from reluopt.workflows.prepare import for_loss, prepare
from reluopt.workflows.runs import RunRecord, next_folder, read_run, where_it_started


def train(
    dataset: str | None,
    out: Path | None,
    config: Path | None,
    resume: Path | None,
    replace: bool,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt train` says."""
    if resume is not None:
        clash = [name for name, value in (("DATASET", dataset), ("--out", out), ("--config", config)) if value]
        clash += [f"--{name.replace('_', '-')}" for table in given.values() for name in table]
        if clash:
            raise ConfigError(
                f"--resume was given with {', '.join(clash)}.", "Give --resume alone: a run keeps its settings."
            )
        _resume(resume, quiet)
        return
    file = read_toml(config, TABLES)
    if dataset is not None:
        given["data"]["dataset"] = dataset
    where = str(config or "the command line")
    data_config = settle(DataConfig, "data", file["data"], given["data"], where)
    # the two ways to give β exclude each other, so one on the command line replaces the other in the file
    if given["train"].keys() & {"beta", "beta_fraction"}:
        file["train"] = {k: v for k, v in file["train"].items() if k not in ("beta", "beta_fraction")}
    train_config = settle(TrainConfig, "train", file["train"], given["train"], where)
    if "dataset" not in {**file["data"], **given["data"]}:
        raise ConfigError("No data set was named.", "Try: reluopt train breast_cancer")
    _start(data_config, train_config, out, replace, quiet)


def _start(data_config: DataConfig, train_config: TrainConfig, out: Path | None, replace: bool, quiet: bool) -> None:
    train_config.torch_device()
    data_config = for_loss(data_config, train_config.loss)
    with working("reading the data and searching β_max", quiet=quiet):
        prepared = prepare(data_config, train_config, load_aloud)
    data, problem = prepared.data, prepared.problem
    run = RunFolder(out or next_folder(data.name))
    trainer = None if train_config.optimizer == "solve" else _trainer(run, data, problem, train_config, quiet)
    run.require_free(overwrite=replace, need=2**20 if trainer is None else trainer.disk_space)
    if not quiet:
        show_problem(data, problem, prepared.beta_max)
    facts = {"beta": problem.beta, "beta_max_estimate": prepared.beta_max, "fingerprint": data.fingerprint}
    tables = {
        "data": data_config.to_mapping(),
        "train": train_config.to_mapping(),
        "run": {**where_it_started(run), **facts},
    }
    if trainer is None:
        train_new(run, tables, RunRecord(data, train_config, problem, prepared.beta_max), replace, quiet)
        return
    with run.locked():
        run.make(tables, overwrite=replace, preparation=data.preparation)
        try:
            _fit(trainer, run, quiet, resume=False)
        except Exception:
            if trainer.state.epoch == 0 and trainer.result is None:
                run.clear()  # it has not begun: the corrected command finds nothing in its way
            raise


def _resume(path: Path, quiet: bool) -> None:
    run = RunFolder.open(path)
    record = read_run(run)
    if not quiet:
        show_problem(record.data, record.problem, record.beta_max)
    if record.train.optimizer == "solve":
        train_on(run, record, quiet)
        return
    _fit(_trainer(run, record.data, record.problem, record.train, quiet), run, quiet, resume=True)


def _trainer(run: RunFolder, data: Dataset, problem: Problem, config: TrainConfig, quiet: bool) -> Trainer:
    network = config.make_network(data.d, problem.outputs)
    tested = [] if data.test_y is None else [Validate(data.test_X, problem.loss.encoded(data.test_y))]
    callbacks = [*tested, TensorBoard(run, hparams={"data.dataset": data.name}, labels=data.labels)]
    return Trainer(network, problem, config=config, callbacks=callbacks, run=run, progress=not quiet)


def _fit(trainer: Trainer, run: RunFolder, quiet: bool, *, resume: bool) -> None:
    """Train; what was reached is printed also where it ends early."""
    try:
        result = trainer.fit(resume=resume)
    except BaseException:
        if trainer.result is not None and not quiet:
            show_training(trainer.result, None)
        raise
    said({
        "run": run.path, "epochs": result.epochs, "objective": result.objective, "scores": result.scores,
        "stationarity_residual": result.stationarity_residual, "stopped_because": result.stopped_because,
    })  # fmt: skip
    if quiet:
        console.print(str(run.path), soft_wrap=True)
    else:
        show_training(result, run)


def show_problem(data: Dataset, problem: Problem, beta_max: float) -> None:
    """One line on the data and β; a second one where β is so large that there is nothing to train."""
    beta = problem.beta
    outputs = f"{problem.outputs} outputs, " if problem.outputs > 1 else ""
    loss = "" if problem.loss.name == "squared" else f"{problem.loss.spec} loss, "
    console.print(
        f"{data.name}: n = {data.n}, d = {data.d}, {outputs}{loss}β = {printing.nearest(beta)} = "
        f"{printing.nearest(beta / beta_max, 4)} β_max (β_max ≈ {printing.nearest(beta_max)}, by local search)",
        soft_wrap=True,
    )
    if beta >= beta_max:
        proved = beta >= beta_max_upper(problem, time_limit=10.0)
        how = "is proved" if proved else "as far as a local search sees β_max"
        tell(f"β ≥ β_max: the optimum is the zero network ({how}). Choose a smaller --beta or --beta-fraction.")
