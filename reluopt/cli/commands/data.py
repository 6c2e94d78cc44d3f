"""`reluopt data`: look at a data set before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.cli.problem_options import Dataset
from reluopt.data.settings import DataConfig

TABLES = {"data": DataConfig}


@with_settings(**TABLES)
def data_command(
    dataset: Dataset,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with a table \[data].")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the prepared X and y to this .npz file.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file of --save without asking.")] = False,
    loss: Annotated[str, typer.Option(help="The loss whose β_max is looked for, as in 'reluopt train'.")] = "squared",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print one line: the bracket of β_max.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Describe a data set after preprocessing: what became of each column, shape, rank, norms, a bracket of β_max.

    [bold]Examples[/]

      reluopt data diabetes

      reluopt data table.csv --target price --drop name --missing drop-rows

      reluopt data iris.data --no-header --target last --positive Iris-setosa

      reluopt data planted --n 200 --d 20 --teacher-width 8

      reluopt data breast_cancer --loss logistic
    """
    from reluopt.cli import data as work

    work.data_command(dataset, config, save, replace, loss, quiet, given)
