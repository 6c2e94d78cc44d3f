"""`reluopt relax`: the polynomial-time algorithm (KP Thm 2.3), saved as a run that `certify` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.cli.problem_options import Beta, BetaFraction, ClassWeight, Dataset, FirstBias, Loss, OutputBias
from reluopt.data.settings import DataConfig
from reluopt.search.config import RelaxConfig

TABLES = {"data": DataConfig, "relax": RelaxConfig}


@with_settings(**TABLES)
def relax_command(
    dataset: Dataset,
    beta: Beta = None,
    beta_fraction: BetaFraction = None,
    loss: Loss = None,
    output_bias: OutputBias = None,
    first_bias: FirstBias = None,
    class_weight: ClassWeight = None,
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
