"""`reluopt certify`: how far the network of a run is from the optimum, with proof."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from reluopt.certificate.config import CertifyConfig
from reluopt.cli.commands.certify import TABLES
from reluopt.cli.commands.train import TABLES as TRAIN_TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, tell
from reluopt.cli.scripting import command_result
from reluopt.cli.show import show_certificate, show_places
from reluopt.errors import CertificateError
from reluopt.interrupts import Interrupted, exit_code
from reluopt.progress import working
from reluopt.runs import RunFolder
from reluopt.workflows.certification import certify_run, keep_certificate, read_trained


def certify_command(run: Path, config: Path | None, quiet: bool, given: dict[str, dict[str, Any]]) -> None:
    """Do what `reluopt certify` says."""
    file = read_toml(config, {**TRAIN_TABLES, **TABLES})
    settings = settle(CertifyConfig, "certify", file["certify"], given["certify"], str(config or "the command line"))
    folder = RunFolder.open(run)
    with _writing(folder) as writable:
        trained = read_trained(folder)
        with working("certifying", quiet=quiet) as say:
            certificate, stop = certify_run(trained, settings, say=say)
        command_result({"run": folder.path, "saved": False, "certificate": json.loads(certificate.to_json())})
        if quiet:
            console.print(certificate.verdict, soft_wrap=True)
        else:
            show_certificate(certificate)
        if writable:
            keep_certificate(trained, certificate)
            command_result({"saved": True})
            if not quiet:
                show_places(certificate, folder)
    if stop is not None:
        raise Interrupted("Interrupted: the certificate holds what was proved by then.", exit_code(stop) - 128)
    if not writable:
        raise CertificateError(
            f"The certificate was not saved: '{folder.path}' cannot be written.",
            "Allow writing there, or certify a copy of the folder.",
        )
    if certificate.lower_bound <= 0:
        raise typer.Exit(1)


@contextmanager
def _writing(folder: RunFolder) -> Iterator[bool]:
    """The lock on the run, and whether it can be written; one that only can be read is certified all the same."""
    if not os.access(folder.path, os.W_OK):
        tell(f"'{folder.path}' cannot be written: the certificate will only be printed.")
        yield False
        return
    with folder.locked():
        yield True
