"""The `reluopt` command and its subcommands. How they end, and with which exit code, is in ``exit_codes.py``."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import typer

import reluopt
from reluopt.cli.exit_codes import StoppableGroup, end

#: Each command: where its function is, and the first words of its help.
COMMANDS = {
    "train": (
        "reluopt.cli.commands.train:train_command",
        "Train a two-layer ReLU network with weight decay and watch its activation patterns drift.",
    ),
    "certify": (
        "reluopt.cli.commands.certify:certify_command",
        "Certify the network of a run: print the ladder, write certificate.json and ladder.png, log to TensorBoard.",
    ),
    "verify": (
        "reluopt.cli.commands.verify:verify_command",
        "Check a certificate: every claim is derived again from the data and the evidence, "
        "with rounding accounted for.",
    ),
    "data": (
        "reluopt.cli.commands.data:data_command",
        "Describe a data set after preprocessing: what became of each column, shape, rank, norms, a bracket of β_max.",
    ),
    "relax": (
        "reluopt.cli.commands.relax:relax_command",
        "Find a network without training: sample patterns, solve the convex relaxation, map it back, prune "
        "(KP Thm 2.3).",
    ),
    "solve": (
        "reluopt.cli.commands.solve:solve_command",
        "Find a network by column generation and bound the optimum beside it, until their gap is proved to be small.",
    ),
    "refine": (
        "reluopt.cli.commands.solve:refine_command",
        "Go below the network of a run, and bound the optimum beside it; the result is a run of its own.",
    ),
    "path": (
        "reluopt.cli.commands.path:path_command",
        "Solve along β, each network from the one before, with a proved bound at every β; held-out samples choose β.",
    ),
    "predict": (
        "reluopt.cli.commands.predict:predict_command",
        "Predict new samples with the network of a run: numbers or labels as they stand in the data, and the score.",
    ),
    "report": (
        "reluopt.cli.commands.report:report_command",
        "Write runs as one HTML page that needs nothing else: verdict, ladder, descent, drift, neurons, data, a check.",
    ),
    "show": (
        "reluopt.cli.commands.report:show_command",
        "Print the ladder of a run again, or a table that compares several runs. Nothing is computed or written.",
    ),
    "theory": (
        "reluopt.cli.commands.theory:theory_command",
        "Compute the paper's quantities for a data set, theorem by theorem: hypothesis, value, number.",
    ),
    "doctor": (
        "reluopt.cli.commands.doctor:doctor_command",
        "Say what this installation consists of: versions, processor, threads, linear algebra, GPU, and what is wrong.",
    ),
    "sweep": (
        "reluopt.cli.commands.sweep:sweep_command",
        "Train and certify a network at every point of a grid: one row each in OUT/rows.parquet.",
    ),
}


class LazyGroup(StoppableGroup):
    """Imports a command's module when the command is called: torch and CVXPY take seconds, ``--help`` does not."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the real command in place of the entry that only had its name and first words."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest


def load_command(name: str) -> Any:
    """The command of a name, with its options."""
    module, _, function = COMMANDS[name][0].partition(":")
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    command = getattr(importlib.import_module(module), function)
    alone.command(name)(importlib.import_module("reluopt.cli.scripting").with_json(name, command))
    return typer.main.get_command(alone)


app = typer.Typer(
    name="reluopt",
    cls=LazyGroup,
    no_args_is_help=True,
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
    version: bool | None = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Set up logging for every command."""
    from rich.logging import RichHandler

    from reluopt.progress import stderr_console

    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=stderr_console(), show_path=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)


def run() -> None:
    """Entry point."""
    end(app)
