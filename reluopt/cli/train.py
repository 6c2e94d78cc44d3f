"""`reluopt train`: train a network on a data set, log its pattern drift, leave a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt import printing
from reluopt.cli.columns import load_aloud
from reluopt.cli.options import read_toml, settle, with_settings
from reluopt.cli.show import console, show_training
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.errors import CheckpointError, ConfigError
from reluopt.runs import RunFolder
from reluopt.search.pricing import beta_max_estimate
from reluopt.tracking.tensorboard import TensorBoard
from reluopt.training import TrainConfig, Trainer, TrainResult

TABLES = {"data": DataConfig, "train": TrainConfig}


@with_settings(**TABLES)
def train(
    dataset: Annotated[
        str | None, typer.Argument(help="A built-in name, a .csv or .npz file, or a folder of IDX files.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make (default runs/DATASET-NNN).")] = None,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with tables \[data] and \[train].")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run folder, bit for bit.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the run that is in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Train a two-layer ReLU network with weight decay and watch its activation patterns drift.

    Options win over --config, which wins over the defaults. β is --beta, or --beta-fraction of β_max (0.1 by default).

    [bold]Examples[/]

      reluopt train breast_cancer

      reluopt train diabetes --width 200 --beta-fraction 0.01 --out runs/diabetes

      reluopt train table.csv --target price --epochs 3000

      reluopt train --resume runs/diabetes
    """
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
    data = load_aloud(data_config)
    beta_max = beta_max_estimate(data.X, data.y)
    beta = train_config.resolve_beta(beta_max)
    tables = {
        "data": data_config.to_mapping(),
        "train": train_config.to_mapping(),
        "run": {"beta": beta, "beta_max_estimate": beta_max, "fingerprint": data.fingerprint},
    }
    run = RunFolder.create(out or next_folder(data.name), tables, overwrite=replace)
    _fit(run, data, train_config, beta, beta_max, quiet, resume=False)


def _resume(path: Path, quiet: bool) -> None:
    run = RunFolder.open(path)
    data, train_config, beta, beta_max = read_run(run)
    _fit(run, data, train_config, beta, beta_max, quiet, resume=True)


def read_run(run: RunFolder) -> tuple[Dataset, TrainConfig, float, float]:
    """The data set, the training settings, β and the estimate of β_max of a run folder.

    Raises
    ------
    CheckpointError : a folder without these, or data that changed since.
    """
    tables = run.config()
    try:
        facts = tables["run"]
        beta, beta_max, fingerprint = facts["beta"], facts["beta_max_estimate"], facts["fingerprint"]
    except KeyError as error:
        raise CheckpointError(
            f"'{run.config_file}' lacks {error}.", "Give a folder that 'reluopt train' wrote."
        ) from error
    data = load_dataset(DataConfig.from_mapping(tables.get("data", {}), f"[data] of {run.config_file}"))
    if data.fingerprint != fingerprint:
        raise CheckpointError(
            f"The data of '{run.path}' are not those it was trained on (another sha256 of X and y).",
            "Put the original file back, or train a new run.",
        )
    return data, TrainConfig.from_mapping(tables.get("train", {}), f"[train] of {run.config_file}"), beta, beta_max


def _fit(
    run: RunFolder, data: Dataset, config: TrainConfig, beta: float, beta_max: float, quiet: bool, *, resume: bool
) -> TrainResult:
    console.print(
        f"[bold]{data.name}[/]: n = {data.n}, d = {data.d}, β = {printing.nearest(beta)} = "
        f"{printing.nearest(beta / beta_max, 4)} β_max (β_max ≈ {printing.nearest(beta_max)}, by local search)",
        highlight=False,
    )
    network = config.make_network(data.d)
    callbacks = [TensorBoard(run, hparams={"data.dataset": data.name})]
    trainer = Trainer(network, data.X, data.y, beta, config, callbacks=callbacks, run=run, progress=not quiet)
    try:
        result = trainer.fit(resume=resume)
    except KeyboardInterrupt as stop:  # typer would end without the trainer's message
        console.print(str(stop), highlight=False, soft_wrap=True)
        raise typer.Exit(130) from stop
    show_training(result, run)
    return result


def next_folder(name: str) -> Path:
    """runs/NAME-001, or the next free number."""
    number = 1
    while (Path("runs") / f"{name}-{number:03d}").exists():
        number += 1
    return Path("runs") / f"{name}-{number:03d}"
