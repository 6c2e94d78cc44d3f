"""`reluopt certify`: how far the network of a run is from the optimum, with proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.certificate.config import CertifyConfig
from reluopt.cli.options import with_settings

TABLES = {"certify": CertifyConfig}


@with_settings(**TABLES)
def certify_command(
    run: Annotated[Path, typer.Argument(help="A run folder that 'reluopt train' wrote.")],
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with a table \[certify].")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the verdict.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Certify the network of a run: print the ladder, write certificate.json and ladder.png, log to TensorBoard.

    First come proofs that need no solver, then bounds, then convex programs within --time-budget; all of it within
    --time-limit. Whenever the time ends, or on Ctrl-C, what was proved by then stands.

    [bold]Examples[/]

      reluopt certify runs/breast_cancer-001

      reluopt certify runs/digits-001 --time-budget 300 --gaussian-patterns 0
    """
    from reluopt.cli import certify as work

    work.certify_command(run, config, quiet, given)
