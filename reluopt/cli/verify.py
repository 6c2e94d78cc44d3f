"""`reluopt verify`: let the independent checker read a certificate, and hold a run's record against what is proved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from reluopt.certificate import checker
from reluopt.cli.output import console
from reluopt.errors import CertificateError, ReluoptError
from reluopt.workflows.verification import verify_certificate

#: A certificate or data file larger than this is not read, unless the user says otherwise.
MAX_GIGABYTES = 8.0


def verify(
    certificate: Annotated[Path, typer.Argument(help="A run folder that was certified, or a certificate file.")],
    data: Annotated[
        Path | None, typer.Option(help="An .npz file with X and y (see 'reluopt data --save'); a run knows its own.")
    ] = None,
    max_gigabytes: Annotated[float, typer.Option(min=0, help="Larger files are not read.")] = MAX_GIGABYTES,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only a refusal; the exit code tells.")] = False,
) -> None:
    """Check a certificate: every claim is derived again from the data and the evidence, with rounding accounted for.

    For a run folder also: the certificate is about the run's own data, loss, β and weights, and certificate.json (its
    lower bounds, objective and verdict) says no more than what is proved. Nothing is written.

    The checker needs none of the rest: 'python -m reluopt.certificate.checker' runs it alone.
    Exit code 0: every claim is proved; 1: refused, with the reason; 2: the check could not be made.

    [bold]Examples[/]

      reluopt verify runs/breast_cancer-001

      reluopt data breast_cancer --save data.npz && reluopt verify certificate.safetensors --data data.npz
    """
    try:
        found = verify_certificate(certificate, data, int(max_gigabytes * 2**30))
    except checker.Refused as reason:
        _say("bold red", "refused:", str(reason))
        raise typer.Exit(1) from reason
    except checker.CannotCheck as reason:
        raise CertificateError(
            f"{reason}.", "Make the data file with: reluopt data DATASET --save data.npz"
        ) from reason
    except (ReluoptError, KeyboardInterrupt):
        raise
    except Exception as error:  # exit code 1 means refused, so nothing else may end with it
        what = f"The check could not be made ({type(error).__name__}: {checker.shown(str(error))})."
        raise CertificateError(what, "Check that the files are those that reluopt wrote.") from error
    lines = [("about:", found.subject), *(("proved:", sentence) for sentence in found.proved)]
    lines += [] if found.record is None else [("record:", found.record)]
    for word, text in () if quiet else lines:
        _say("bold green", word, text)


def _say(style: str, word: str, text: str) -> None:
    """One line; text of a file is never markup, and letters that the terminal lacks are written as escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    plain = text.encode(encoding, "backslashreplace").decode(encoding)
    console.print(Text.assemble((word, style), " ", plain), soft_wrap=True)
