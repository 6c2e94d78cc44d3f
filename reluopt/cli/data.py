"""`reluopt data`: look at a data set before training on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from reluopt.bounds import beta_max_upper
from reluopt.cli.options import as_options, read_toml, settle, with_settings
from reluopt.cli.show import console, show_data
from reluopt.cli.train import TABLES as TRAIN_TABLES
from reluopt.data import DataConfig, describe, load_dataset
from reluopt.search.pricing import beta_max_estimate

TABLES = {"data": DataConfig}


@with_settings(**TABLES)
def data(
    dataset: Annotated[str, typer.Argument(help="A built-in name, a .csv or .npz file, or a folder of IDX files.")],
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with a table \[data].")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the prepared X and y to this .npz file.")] = None,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Describe a data set after preprocessing: shape, rank, norms, targets, and a bracket of β_max.

    [bold]Examples[/]

      reluopt data diabetes

      reluopt data table.csv --target price --scaling unit_rows

      reluopt data planted --n 200 --d 20 --teacher-width 8
    """
    file = read_toml(config, TRAIN_TABLES)
    given["data"]["dataset"] = dataset
    settings = settle(DataConfig, "data", file["data"], given["data"], str(config or "the command line"))
    loaded = load_dataset(settings)
    with console.status("searching β_max ..."):
        beta_max = (beta_max_estimate(loaded.X, loaded.y), beta_max_upper(loaded.X, loaded.y))
    if save is not None:
        np.savez(save, X=loaded.X, y=loaded.y)
        console.print(f"X and y are in {save}", highlight=False)
    again = " ".join(["reluopt train", shlex.quote(dataset), *as_options(given["data"], leave=("dataset",))])
    show_data(describe(loaded).to_mapping(), beta_max, again)
