"""`reluopt data`: look at a data set before training on it."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.text import Text

from reluopt import printing
from reluopt.beta_max import SEARCH_SECONDS, beta_max_estimate
from reluopt.bounds import beta_max_upper
from reluopt.cli.columns import columns_table, load_aloud
from reluopt.cli.commands.train import TABLES as TRAIN_TABLES
from reluopt.cli.options import as_options, read_toml, settle
from reluopt.cli.output import console
from reluopt.cli.scripting import command_result
from reluopt.cli.show import show_data
from reluopt.clock import Clock
from reluopt.data import DataConfig, describe
from reluopt.errors import DataError
from reluopt.problem import Problem
from reluopt.progress import working
from reluopt.workflows.preparation import for_loss
from reluopt.writing import write_atomically

#: Seconds for the proved bound of β_max; it is proved whenever it stops, only less tight.
BOUND_SECONDS = 10.0


def data_command(
    dataset: str,
    config: Path | None,
    save: Path | None,
    replace: bool,
    loss: str,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt data` says."""
    file = read_toml(config, TRAIN_TABLES)
    given["data"]["dataset"] = dataset
    settings = settle(DataConfig, "data", file["data"], given["data"], str(config or "the command line"))
    place = None if save is None else _place(save, replace)
    loaded = load_aloud(for_loss(settings, loss))
    X, pooling = loaded.pooled
    problem = Problem(X, loaded.y, loss, pooling=pooling)
    if place is not None:
        _save(problem, place)
    with working("searching β_max", quiet=quiet):
        beta_max = (
            beta_max_estimate(problem, clock=Clock(SEARCH_SECONDS)),
            beta_max_upper(problem, time_limit=BOUND_SECONDS),
        )
    described = describe(loaded).to_mapping()
    command_result({**described, "beta_max": {"at_least": beta_max[0], "at_most": beta_max[1]}, "saved": place})
    if quiet:
        low, high = printing.below(beta_max[0]), printing.above(beta_max[1])
        console.print(f"{loaded.name}: n = {loaded.n}, d = {loaded.d}, {low} ≤ β_max ≤ {high}", soft_wrap=True)
        return
    if (table := columns_table(loaded)) is not None:
        console.print(table)
    again = " ".join(["reluopt train", shlex.quote(dataset), *as_options(given["data"], leave=("dataset",))])
    if loss != "squared":
        again += f" --loss {shlex.quote(loss)}"
    if config is not None:
        again += f" --config {shlex.quote(str(config))}"
    show_data(described, beta_max, again)


def _place(save: Path, replace: bool) -> Path:
    """The file to write, as numpy would name it; asks before a file is replaced.

    Raises
    ------
    DataError : a folder that is not there or a file that is, without a terminal to ask on.
    """
    if save.is_dir():
        raise DataError(f"'{save}' is a folder.", "Give --save the name of a file.")
    place = save if save.name.endswith(".npz") else save.with_name(f"{save.name}.npz")
    if not place.parent.is_dir():
        raise DataError(f"There is no folder '{place.parent}' to save in.", "Make it, or name another place.")
    if place.is_dir():
        raise DataError(f"'{place}' is a folder.", "Give --save the name of a file.")
    if place.exists() and not replace:
        if not _can_ask():
            raise DataError(f"The file '{place}' is there already.", "Say --replace, or name another file.")
        if not typer.confirm(f"Replace '{place}'?"):
            raise typer.Exit(2)
    return place


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _save(problem: Problem, place: Path) -> None:
    """Write X and y whole or not at all, and name the file.

    Raises
    ------
    DataError : a full disk, a folder that may not be written.
    """
    content = io.BytesIO()
    np.savez(content, X=problem.X, y=problem.targets)
    try:
        write_atomically(place, content.getvalue())
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"'{place}' cannot be written ({reason}).", "Free some space, or name another place.") from None
    said = f"X and y are in {place}"
    if problem.pooling is not None:
        said = f"The distinct patches X and y are in {place}, for verify --data (training takes the images)"
    console.print(Text(said), soft_wrap=True)
