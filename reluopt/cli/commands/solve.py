"""`reluopt solve` and `reluopt refine`: a network without training, or from a trained one, and a proof beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.cli.problem_options import DATASET, Beta, BetaFraction, ClassWeight, FirstBias, Loss, OutputBias
from reluopt.data.settings import DataConfig
from reluopt.search.config import SolveConfig

TABLES = {"data": DataConfig, "solve": SolveConfig}


@with_settings(**TABLES)
def solve_command(
    dataset: Annotated[str | None, typer.Argument(help=DATASET)] = None,
    beta: Beta = None,
    beta_fraction: BetaFraction = None,
    loss: Loss = None,
    output_bias: OutputBias = None,
    first_bias: FirstBias = None,
    class_weight: ClassWeight = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make (default runs/DATASET-NNN).")] = None,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with tables \[data] and \[solve].")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run; --gap and --budget may be given.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the run that is in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the run folder.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Find a network by column generation and bound the optimum beside it, until their gap is proved to be small.

    [bold]Examples[/]

      reluopt solve breast_cancer --gap 0.05 --budget 60

      reluopt solve table.csv --target price --beta-fraction 0.01 --out runs/price

      reluopt solve --resume runs/price --budget 600
    """
    from reluopt.cli import solve as work

    chosen = {
        "beta": beta, "beta_fraction": beta_fraction, "loss": loss, "output_bias": output_bias,
        "first_bias": first_bias, "class_weight": class_weight,
    }  # fmt: skip
    work.solve_command(dataset, chosen, out, config, resume, replace, quiet, given)


@with_settings(solve=SolveConfig)
def refine_command(
    run: Annotated[Path, typer.Argument(help="A run folder with the network to start from.")],
    out: Annotated[Path | None, typer.Option(help="The run folder to make (default runs/DATASET-NNN).")] = None,
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with a table \[solve].")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the run that is in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the run folder.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Go below the network of a run, and bound the optimum beside it; the result is a run of its own.

    [bold]Example[/]

      reluopt refine runs/diabetes-001 --budget 30 --out runs/diabetes-refined
    """
    from reluopt.cli import solve as work

    work.refine_command(run, out, config, replace, quiet, given)
