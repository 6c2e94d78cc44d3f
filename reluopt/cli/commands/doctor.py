"""`reluopt doctor`: what this installation consists of, for reports of trouble."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor_command(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.")] = False,
) -> None:
    """Say what this installation consists of: versions, processor, threads, linear algebra, GPU, and what is wrong.

    Exit code 1 where a package is missing or older than reluopt needs.
    """
    from reluopt.cli import doctor as work

    work.doctor_command(quiet)
