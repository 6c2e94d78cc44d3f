"""`reluopt train`: train a network on a data set, log its pattern drift, leave a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt import printing
from reluopt.bounds import beta_max_upper
from reluopt.cli.columns import load_aloud
from reluopt.cli.options import read_toml, settle, with_settings
from reluopt.cli.output import console, tell
from reluopt.cli.show import show_training
from reluopt.config import short
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.data.config import BUILT_IN
from reluopt.errors import CheckpointError, ConfigError, DataError
from reluopt.pricing import beta_max_estimate
from reluopt.progress import working
from reluopt.runs import RunFolder
from reluopt.tracking.tensorboard import TensorBoard
from reluopt.training import TrainConfig, Trainer
from reluopt.training.checkpoint import require_as_trained

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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the run folder.")] = False,
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
    train_config.torch_device()
    data = load_aloud(data_config)
    with working("searching β_max", quiet=quiet):
        beta_max = beta_max_estimate(data.X, data.y)
    beta = train_config.resolve_beta(beta_max)
    run = RunFolder(out or next_folder(data.name))
    trainer = _trainer(run, data, train_config, beta, quiet)
    run.require_free(overwrite=replace, need=trainer.disk_space)
    if not quiet:
        show_problem(data, beta, beta_max)
    tables = {
        "data": data_config.to_mapping(),
        "train": train_config.to_mapping(),
        "run": {**where_it_started(run), "beta": beta, "beta_max_estimate": beta_max, "fingerprint": data.fingerprint},
    }
    with run.locked():
        run.make(tables, overwrite=replace)
        try:
            _fit(trainer, run, quiet, resume=False)
        except Exception:
            if trainer.state.epoch == 0 and trainer.result is None:
                run.clear()  # it has not begun: the corrected command finds nothing in its way
            raise


def _resume(path: Path, quiet: bool) -> None:
    run = RunFolder.open(path)
    data, train_config, beta, beta_max = read_run(run)
    if not quiet:
        show_problem(data, beta, beta_max)
    _fit(_trainer(run, data, train_config, beta, quiet), run, quiet, resume=True)


def _trainer(run: RunFolder, data: Dataset, config: TrainConfig, beta: float, quiet: bool) -> Trainer:
    network = config.make_network(data.d)
    callbacks = [TensorBoard(run, hparams={"data.dataset": data.name})]
    return Trainer(network, data.X, data.y, beta, config, callbacks=callbacks, run=run, progress=not quiet)


def _fit(trainer: Trainer, run: RunFolder, quiet: bool, *, resume: bool) -> None:
    """Train; what was reached is printed also where it ends early."""
    try:
        result = trainer.fit(resume=resume)
    except BaseException:
        if trainer.result is not None and not quiet:
            show_training(trainer.result, None)
        raise
    if quiet:
        console.print(str(run.path), soft_wrap=True)
    else:
        show_training(result, run)


def show_problem(data: Dataset, beta: float, beta_max: float) -> None:
    """One line on the data and β; a second one where β is so large that there is nothing to train."""
    console.print(
        f"{data.name}: n = {data.n}, d = {data.d}, β = {printing.nearest(beta)} = "
        f"{printing.nearest(beta / beta_max, 4)} β_max (β_max ≈ {printing.nearest(beta_max)}, by local search)",
        soft_wrap=True,
    )
    if beta >= beta_max:
        proved = beta >= beta_max_upper(data.X, data.y)
        how = "is proved" if proved else "as far as a local search sees β_max"
        tell(f"β ≥ β_max: the optimum is the zero network ({how}). Choose a smaller --beta or --beta-fraction.")


# -- the record of a run ---------------------------------------------------------------------------------------------


def where_it_started(run: RunFolder) -> dict[str, str]:
    """The folder from which relative paths of the data are seen: as it is, and from the run (if both are moved)."""
    here = Path.cwd()
    return {"started_in": str(here), "started_from_run": os.path.relpath(here, run.path)}


def read_run(run: RunFolder) -> tuple[Dataset, TrainConfig, float, float]:
    """The data set, the training settings, β and the estimate of β_max of a run folder.

    Raises
    ------
    CheckpointError : a folder without these, data that changed since, settings that are not those of the training.
    """
    tables = run.config()
    facts = tables.get("run", {})
    beta, beta_max = (_positive(run, facts, name) for name in ("beta", "beta_max_estimate"))
    config = DataConfig.from_mapping(tables.get("data", {}), f"[data] of '{run.config_file}'")
    data = _load(run, config, facts)
    if data.fingerprint != facts.get("fingerprint"):
        raise CheckpointError(
            f"The data of '{run.path}' are not those it was trained on (another sha256 of X and y).",
            "Put the original file and the settings in [data] back, or train a new run.",
        )
    train = TrainConfig.from_mapping(tables.get("train", {}), f"[train] of '{run.config_file}'")
    if run.latest_checkpoint.is_file():
        require_as_trained(run, data.X, data.y, beta, train.to_mapping() if "train" in tables else {})
    return data, train, beta, beta_max


def _positive(run: RunFolder, facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise CheckpointError(
            f"'{run.config_file}' has {name} = {short(value)} in [run], which is no positive number.",
            "Put back what training wrote there, or train a new run.",
        )
    return float(value)


def _load(run: RunFolder, config: DataConfig, facts: Mapping[str, Any]) -> Dataset:
    """The run's data; a relative path is looked for where the training was started, then from here."""
    if config.dataset in BUILT_IN or Path(config.dataset).expanduser().is_absolute():
        return load_dataset(config)
    started = [facts.get("started_in"), facts.get("started_from_run")]
    places = [run.path / text for text in started if isinstance(text, str)] + [Path()]
    for place in places:
        if (place / config.dataset).exists():
            return load_dataset(config.replace(dataset=str(place / config.dataset)))
    looked = ", ".join(f"'{os.path.normpath(place.absolute())}'" for place in places)
    raise DataError(
        f"The data '{config.dataset}' of '{run.config_file}' are not there; looked for in {looked}.",
        "Put the file where it was when the run was trained, or write its full path under [data] of that file.",
    )


def next_folder(name: str) -> Path:
    """runs/NAME-001, or the next free number."""
    number = 1
    while (Path("runs") / f"{name}-{number:03d}").exists():
        number += 1
    return Path("runs") / f"{name}-{number:03d}"
