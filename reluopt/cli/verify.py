"""`reluopt verify`: let the independent checker read a certificate, and hold a run's record against what is proved."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from rich.text import Text

from reluopt.certificate import checker
from reluopt.cli.output import console
from reluopt.cli.scripting import command_result
from reluopt.errors import CertificateError, ReluoptError
from reluopt.workflows.verification import verify_certificate


def verify_command(certificate: Path, data: Path | None, max_gigabytes: float, quiet: bool) -> None:
    """Do what `reluopt verify` says."""
    try:
        found = verify_certificate(certificate, data, int(max_gigabytes * 2**30))
    except checker.Refused as reason:
        command_result({"verified": False, "reason": str(reason)})
        _say("bold red", "refused:", str(reason))
        raise typer.Exit(1) from reason
    except checker.CannotCheck as reason:
        raise CertificateError(
            f"{reason}.",
            "Make the data file with: reluopt data DATASET --save data.npz; --max-gigabytes allows larger ones.",
        ) from reason
    except (ReluoptError, KeyboardInterrupt):
        raise
    except Exception as error:  # exit code 1 means refused, so nothing else may end with it
        what = f"The check could not be made ({type(error).__name__}: {checker.shown(str(error))})."
        raise CertificateError(what, "Check that the files are those that reluopt wrote.") from error
    command_result({"verified": True, "subject": found.subject, "proved": list(found.proved), "record": found.record})
    lines = [("about:", found.subject), *(("proved:", sentence) for sentence in found.proved)]
    lines += [] if found.record is None else [("record:", found.record)]
    for word, text in () if quiet else lines:
        _say("bold green", word, text)


def _say(style: str, word: str, text: str) -> None:
    """One line; text of a file is never markup, and letters that the terminal lacks are written as escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    plain = text.encode(encoding, "backslashreplace").decode(encoding)
    console.print(Text.assemble((word, style), " ", plain), soft_wrap=True)
