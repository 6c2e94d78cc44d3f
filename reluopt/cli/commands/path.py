"""`reluopt path`: networks along β, each with a proved bound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.cli.problem_options import ClassWeight, Dataset, FirstBias, Loss, OutputBias
from reluopt.data.settings import DataConfig
from reluopt.search.config import PathConfig

TABLES = {"data": DataConfig, "path": PathConfig}


@with_settings(**TABLES)
def path_command(
    dataset: Dataset,
    loss: Loss = None,
    output_bias: OutputBias = None,
    first_bias: FirstBias = None,
    class_weight: ClassWeight = None,
    out: Annotated[Path | None, typer.Option(help="The folder to make (default runs/DATASET-path).")] = None,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with tables \[data] and \[path].")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the folder.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Solve along β, each network from the one before, with a proved bound at every β; held-out samples choose β.

    OUT has a run for every β as soon as it is solved, path.json, and path.png: L, bound, neurons, test loss against β.

    [bold]Examples[/]

      reluopt path diabetes --test-fraction 0.3 --budget 60

      reluopt path table.csv --target price --fractions 0.3,0.1,0.03 --gap 0.2
    """
    from reluopt.cli import path as work

    chosen = {"loss": loss, "output_bias": output_bias, "first_bias": first_bias, "class_weight": class_weight}
    work.path_command(dataset, chosen, out, config, quiet, given)
