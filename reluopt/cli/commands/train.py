"""`reluopt train`: train a network on a data set, log its pattern drift, leave a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.cli.problem_options import DATASET
from reluopt.data.settings import DataConfig
from reluopt.training.config import TrainConfig

TABLES = {"data": DataConfig, "train": TrainConfig}


@with_settings(**TABLES)
def train_command(
    dataset: Annotated[str | None, typer.Argument(help=DATASET)] = None,
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
    from reluopt.cli import train as work

    work.train_command(dataset, out, config, resume, replace, quiet, given)
