"""`reluopt path`: networks along β, each with a proved bound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.data.settings import DataConfig
from reluopt.search.config import PathConfig

TABLES = {"data": DataConfig, "path": PathConfig}


@with_settings(**TABLES)
def path_command(
    dataset: Annotated[str, typer.Argument(help="A built-in name, a table, an .npz file, or a folder of IDX files.")],
    loss: Annotated[str, typer.Option(help="The loss, as in 'reluopt train'.")] = "squared",
    output_bias: Annotated[
        str | None, typer.Option(help="An output intercept: free of weight decay, or decayed, as in 'reluopt train'.")
    ] = None,
    first_bias: Annotated[
        str | None, typer.Option(help="free: first-layer biases are not decayed, as in 'reluopt train'.")
    ] = None,
    class_weight: Annotated[str | None, typer.Option(help="Sample weights by class: balanced.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to make (default runs/DATASET-path).")] = None,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with tables \[data] and \[path].")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the folder.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Solve along β, each network from the one before, with a proved bound at every β; held-out samples choose β.

    OUT has a run for every β, path.json, and path.png: L, bound, neurons and test loss against β.

    [bold]Examples[/]

      reluopt path diabetes --test-fraction 0.3 --budget 60

      reluopt path table.csv --target price --fractions 0.3,0.1,0.03 --gap 0.2
    """
    from reluopt.cli import path as work

    chosen = {"loss": loss, "output_bias": output_bias, "first_bias": first_bias, "class_weight": class_weight}
    work.path_command(dataset, chosen, out, config, quiet, given)
