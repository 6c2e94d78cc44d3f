"""The `reluopt` command: its subcommands, its error messages, its exit codes.

Exit codes: 0 good; 1 the run or the certificate failed; 2 bad usage or bad input (a message, no traceback);
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import typer
from typer.core import TyperGroup

import reluopt
from reluopt.errors import ReluoptError, TrainingError

#: Each command: where its function is, and the first words of its help.
COMMANDS = {
    "train": (
        "reluopt.cli.train:train",
        "Train a two-layer ReLU network with weight decay and watch its activation patterns drift.",
    ),
    "certify": (
        "reluopt.cli.certify:certify",
        "Certify the network of a run: print the ladder, write certificate.json and ladder.png, log to TensorBoard.",
    ),
    "verify": (
        "reluopt.cli.verify:verify",
        "Check a certificate: every claim is derived again from the data and the evidence, "
        "with rounding accounted for.",
    ),
    "data": (
        "reluopt.cli.data:data",
        "Describe a data set after preprocessing: what became of each column, shape, rank, norms, a bracket of β_max.",
    ),
    "relax": (
        "reluopt.cli.relax:relax_command",
        "Find a network without training: sample patterns, solve the convex relaxation, map it back, prune "
        "(KP Thm 2.3).",
    ),
    "theory": (
        "reluopt.cli.theory:theory",
        "Compute the paper's quantities for a data set, theorem by theorem: hypothesis, value, number.",
    ),
    "sweep": (
        "reluopt.cli.sweep:sweep",
        "Train and certify a network at every point of a grid: one row each in OUT/rows.parquet.",
    ),
}


class LazyGroup(TyperGroup):
    """Imports a command's module when the command is called: torch and CVXPY take seconds, ``--help`` does not."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the real command in place of the entry that only had its name and first words."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest


def load_command(name: str) -> Any:
    """The command of a name, with its options."""
    module, _, function = COMMANDS[name][0].partition(":")
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    alone.command(name)(getattr(importlib.import_module(module), function))
    return typer.main.get_command(alone)


app = typer.Typer(
    name="reluopt",
    cls=LazyGroup,
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
for _name, (_, _words) in COMMANDS.items():
    app.command(_name, help=_words)(lambda: None)


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
    from rich.console import Console
    from rich.logging import RichHandler

    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_path=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)


def run() -> None:
    """Entry point: run the command, turn reluopt's errors into one message and an exit code."""
    try:
        app()
    except ReluoptError as error:
        from rich.console import Console

        Console(stderr=True).print(f"[bold red]error:[/] {_escaped(error.problem)}", highlight=False, soft_wrap=True)
        Console(stderr=True).print(f"[bold]  -> [/]{_escaped(error.remedy)}", highlight=False, soft_wrap=True)
        sys.exit(1 if isinstance(error, TrainingError) else 2)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
