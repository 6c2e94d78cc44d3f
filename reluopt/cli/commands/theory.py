"""`reluopt theory`: what the paper's theorems say about a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.cli.options import with_settings
from reluopt.cli.problem_options import Beta, BetaFraction, Dataset
from reluopt.data.settings import DataConfig
from reluopt.theory.config import TheoryConfig

TABLES = {"data": DataConfig, "theory": TheoryConfig}


@with_settings(**TABLES)
def theory_command(
    dataset: Dataset,
    beta: Beta = None,
    beta_fraction: BetaFraction = None,
    loss: Annotated[str, typer.Option(help="The loss, as in 'reluopt train'.")] = "squared",
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with tables \[data] and \[theory].")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the statements to this file: .csv, .tex or .json, by its name.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file of --save.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Compute the paper's quantities for a data set, theorem by theorem: hypothesis, value, number.

    The paper speaks of the squared loss; for another one each theorem says whether it holds, and if not, why.

    [bold]Examples[/]

      reluopt theory diabetes

      reluopt theory planted --n 200 --d 20 --patterns 300 --delta 0.01

      reluopt theory breast_cancer --loss logistic
    """
    from reluopt.cli import theory as work

    work.theory_command(dataset, beta, beta_fraction, loss, config, save, replace, quiet, given)
