"""The `reluopt` command: its subcommands, its error messages, its exit codes.

Exit codes: 0 good; 1 the run or the certificate failed; 2 bad usage or bad input (a message, no traceback);
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console
from rich.logging import RichHandler

import reluopt
from reluopt.cli import certify, data, relax, sweep, theory, train, verify
from reluopt.errors import ReluoptError, TrainingError

app = typer.Typer(
    name="reluopt",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Train two-layer ReLU networks with weight decay, watch their activation patterns drift, and prove how far "
        "they are from the global optimum.\n\n"
        "A first run:  [bold]reluopt train breast_cancer[/]  then  [bold]reluopt certify runs/breast_cancer-001[/]"
    ),
)
app.command("train")(train.train)
app.command("certify")(certify.certify)
app.command("verify")(verify.verify)
app.command("data")(data.data)
app.command("relax")(relax.relax_command)
app.command("theory")(theory.theory)
app.command("sweep")(sweep.sweep)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"reluopt {reluopt.__version__}")
        raise typer.Exit


@app.callback()
def main(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what the solvers do."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Set up logging for every command."""
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_path=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)


def run() -> None:
    """Entry point: run the command, turn reluopt's errors into one message and an exit code."""
    try:
        app()
    except ReluoptError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_escaped(error.problem)}", highlight=False, soft_wrap=True)
        Console(stderr=True).print(f"[bold]  -> [/]{_escaped(error.remedy)}", highlight=False, soft_wrap=True)
        sys.exit(1 if isinstance(error, TrainingError) else 2)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
