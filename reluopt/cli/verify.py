"""`reluopt verify`: let the independent checker read a certificate file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from reluopt.certificate import checker
from reluopt.cli.show import console
from reluopt.cli.train import read_run
from reluopt.errors import CertificateError
from reluopt.runs import RunFolder


def verify(
    certificate: Annotated[Path, typer.Argument(help="A run folder that was certified, or a certificate file.")],
    data: Annotated[
        Path | None, typer.Option(help="An .npz file with X and y (see 'reluopt data --save'); a run knows its own.")
    ] = None,
) -> None:
    """Check a certificate: every claim is derived again from the data and the evidence, with rounding accounted for.

    The checker is one file that needs none of the rest: 'python -m reluopt.certificate.checker' runs it alone.
    Exit code 0: every claim is proved; 1: refused, with the reason; 2: the check could not be made.

    [bold]Examples[/]

      reluopt verify runs/breast_cancer-001

      reluopt data breast_cancer --save data.npz && reluopt verify certificate.safetensors --data data.npz
    """
    path = certificate
    if certificate.is_dir():
        folder = RunFolder.open(certificate)
        path = folder.proof_file
    if not path.is_file():
        raise CertificateError(f"There is no certificate '{path}'.", f"Make one: reluopt certify {certificate}")
    if data is None and not certificate.is_dir():
        raise CertificateError("A certificate file needs its data.", "Give --data data.npz, or name the run folder.")
    try:
        X, y = checker.read_data(data) if data is not None else _data_of(certificate)
    except checker.CannotCheck as error:
        raise CertificateError(f"{error}.", "Make the file with: reluopt data DATASET --save data.npz") from error
    try:
        verdict = checker.check(checker.read_certificate(path), X, y)
    except checker.Refused as reason:
        console.print(f"[bold red]refused:[/] {reason}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from reason
    for name, value in verdict.claims.items():
        console.print(f"[bold green]proved:[/] {checker.WORDS[name]} {value!r}", highlight=False, soft_wrap=True)


def _data_of(run: Path) -> tuple[np.ndarray, np.ndarray]:
    dataset, *_ = read_run(RunFolder.open(run))
    return dataset.X, dataset.y
