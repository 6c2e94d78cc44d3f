"""`reluopt train`: train a network on a data set, log its pattern drift, leave a run folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.bounds import beta_max_upper
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.train import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, tell
from reluopt.cli.scripting import command_result as said
from reluopt.cli.show import show_training
from reluopt.data import DataConfig, Dataset
from reluopt.errors import ConfigError
from reluopt.problem import Problem
from reluopt.progress import working
from reluopt.search.records import Progress
from reluopt.training import TrainConfig
from reluopt.workflows.searched_training import SearchedTraining
from reluopt.workflows.train_run import TrainingRun, new_training, resumed_training

#: Seconds between two lines of a search.
LINE_EVERY = 1.0


def train_command(
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
        _train(resumed_training(resume, progress=not quiet), quiet)
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
    with working("reading the data and searching β_max", quiet=quiet):
        training = new_training(data_config, train_config, out, replace=replace, progress=not quiet, load=load_aloud)
    _train(training, quiet)


def _train(training: TrainingRun | SearchedTraining, quiet: bool) -> None:
    """Train; what was reached is printed also where it ends early."""
    record, run = training.record, training.folder
    if not quiet:
        show_problem(record.data, record.problem, record.beta_max)
    try:
        result = training.fit(None if quiet else every(LINE_EVERY, _line))
    except BaseException:
        if training.reached is not None and not quiet:
            show_training(training.reached, None)
        raise
    said({
        "run": run.path, "epochs": result.epochs, "objective": result.objective, "scores": result.scores,
        "stationarity_residual": result.stationarity_residual, "stopped_because": result.stopped_because,
    })  # fmt: skip
    if quiet:
        console.print(str(run.path), soft_wrap=True)
    else:
        show_training(result, run)


def _line(now: Progress) -> None:
    value, price = printing.nearest(now.objective, 8), printing.nearest(now.price, decimals=5)
    tell(f"{now.seconds:8.1f} s  L = {value}, {now.neurons} neurons, largest price {price} β")


def every(seconds: float, show: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """``show``, but at most once in so many seconds of the search."""
    shown = [-math.inf]

    def line(now: Progress) -> None:
        if now.seconds - shown[0] >= seconds:
            shown[0] = now.seconds
            show(now)

    return line


def show_problem(data: Dataset, problem: Problem, beta_max: float) -> None:
    """One line on the data and β; a second one where β is so large that there is nothing to train."""
    beta = problem.beta
    outputs = "" if problem.pooling is None else f"{problem.pooling.total} distinct patches of {problem.d}, "
    outputs += f"{problem.outputs} outputs, " if problem.outputs > 1 else ""
    outputs += f"{problem.biases.words}, " if problem.biases else ""
    loss = "" if problem.loss.name == "squared" else f"{problem.loss.spec} loss, "
    console.print(
        f"{data.name}: n = {data.n}, d = {data.d}, {outputs}{loss}β = {printing.nearest(beta)} = "
        f"{printing.nearest(beta / beta_max, 4)} β_max (β_max ≈ {printing.nearest(beta_max)}, by local search)",
        soft_wrap=True,
    )
    if beta >= beta_max:
        proved = beta >= beta_max_upper(problem, time_limit=10.0)
        how = "proved" if proved else "as far as a local search sees β_max"
        tell(f"β ≥ β_max: the optimum is the zero network ({how}). Choose a smaller --beta or --beta-fraction.")
