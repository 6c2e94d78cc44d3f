"""`reluopt verify`: let the independent checker read a certificate, and hold a run's record against what is proved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: A certificate or data file larger than this is not read, unless the user says otherwise.
MAX_GIGABYTES = 8.0


def verify_command(
    certificate: Annotated[Path, typer.Argument(help="A run folder that was certified, or a certificate file.")],
    data: Annotated[
        Path | None, typer.Option(help="An .npz file with X and y (see 'reluopt data --save'); a run knows its own.")
    ] = None,
    max_gigabytes: Annotated[float, typer.Option(min=0, help="Larger files are not read.")] = MAX_GIGABYTES,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only a refusal; the exit code tells.")] = False,
) -> None:
    """Check a certificate: every claim is derived again from the data and the evidence, with rounding accounted for.

    For a run folder also: the certificate is about the run's own data, loss, β and weights, and certificate.json (its
    lower bounds, objective, and the verdict on p*) says no more than what is proved. Estimates over the network's own
    patterns and prices of neurons have no evidence on file and are not checked. Nothing is written.

    The checker needs none of the rest: 'python -m reluopt.certificate.checker' runs it alone.
    Exit code 0: every claim is proved; 1: refused, with the reason; 2: the check could not be made.

    [bold]Examples[/]

      reluopt verify runs/breast_cancer-001

      reluopt data breast_cancer --save data.npz && reluopt verify certificate.safetensors --data data.npz
    """
    from reluopt.cli import verify as work

    work.verify_command(certificate, data, max_gigabytes, quiet)
