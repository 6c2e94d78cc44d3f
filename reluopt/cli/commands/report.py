"""`reluopt report` and `reluopt show`: runs as a page, and as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report_command(
    runs: Annotated[list[Path], typer.Argument(help="One run folder, or up to six to compare.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file that is in --out.")] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Let the independent checker read each proof for the page.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Write runs as one HTML page that needs nothing else: verdict, ladder, descent, drift, neurons, data, a check.

    A certificate that the checker refuses is shown as refused, without its numbers; the exit code is then 1.

    [bold]Examples[/]

      reluopt report runs/diabetes-001 --out page.html

      reluopt report runs/diabetes-001 runs/diabetes-refined --out compared.html
    """
    from reluopt.cli import report as work

    work.report_command(runs, out, replace, check, quiet)


def show_command(
    runs: Annotated[list[Path], typer.Argument(help="One run folder, or several to compare.")],
) -> None:
    """Print the ladder of a run again, or a table that compares several runs. Nothing is computed or written.

    [bold]Examples[/]

      reluopt show runs/diabetes-001

      reluopt show runs/diabetes-*
    """
    from reluopt.cli import report as work

    work.show_command(runs)
