"""`reluopt relax`: the polynomial-time algorithm (KP Thm 2.3), saved as a run that `certify` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.data.settings import DataConfig
from reluopt.search.config import RelaxConfig

TABLES = {"data": DataConfig, "relax": RelaxConfig}


@with_settings(**TABLES)
def relax_command(
    dataset: Annotated[str, typer.Argument(help="A built-in name, a table, an .npz file, or a folder of IDX files.")],
    beta: Annotated[float | None, typer.Option(help="Weight decay β, as an absolute number.")] = None,
    beta_fraction: Annotated[float | None, typer.Option(help="β as a fraction of β_max (default 0.1).")] = None,
    loss: Annotated[
        str | None, typer.Option(help=r"The loss, as in 'reluopt train' \[default: squared].", show_default=False)
    ] = None,
    output_bias: Annotated[
        str | None, typer.Option(help="An output intercept: free of weight decay, or decayed, as in 'reluopt train'.")
    ] = None,
    first_bias: Annotated[
        str | None, typer.Option(help="free: first-layer biases are not decayed, as in 'reluopt train'.")
    ] = None,
    class_weight: Annotated[str | None, typer.Option(help="Sample weights by class: balanced.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make (default runs/DATASET-NNN).")] = None,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with tables \[data] and \[relax].")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the run that is in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the run folder.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Find a network without training: sample patterns, solve the convex relaxation, map it back, prune (KP Thm 2.3).

    [bold]Examples[/]

      reluopt relax diabetes --patterns 100

      reluopt relax table.csv --target price --patterns 300 --time-limit 60 --out runs/price-relaxed
    """
    from reluopt.cli import relax as work

    chosen = {
        "beta": beta, "beta_fraction": beta_fraction, "loss": loss, "output_bias": output_bias,
        "first_bias": first_bias, "class_weight": class_weight,
    }  # fmt: skip
    work.relax_command(dataset, chosen, out, config, replace, quiet, given)
