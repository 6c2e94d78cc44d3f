"""What the commands print: tables and sentences from plain records."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reluopt import printing
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.estimates import Estimate, Quantity
from reluopt.certificate.facts import fact_lines
from reluopt.certificate.file import is_checkable
from reluopt.certificate.record import read_record, what_differs
from reluopt.cli.output import console, next_steps, quoted, styled
from reluopt.errors import ReluoptError
from reluopt.runs import RunFolder
from reluopt.training import TrainResult

#: How a value is known, and its style; "theory" is what a theorem states, under its hypotheses.
_STYLES = {"proved": "bold blue", "measured": "yellow", "unknown": "dim", "theory": "dim"}


def show_training(result: TrainResult, run: RunFolder | None) -> None:
    """How training ended, and the next commands; without a run, how far it had come."""
    how = f" ({result.stopped_because})" if result.stopped_because else " so far"
    console.print(
        f"trained {result.epochs} epochs{how}: "
        f"objective {printing.nearest(result.objective, 8)}, ‖∇L‖ {result.stationarity_residual:.2e}",
        soft_wrap=True,
    )
    if result.scores:
        shown = (f"{tag.replace('/', ' ')} {printing.nearest(value, 4)}" for tag, value in result.scores.items())
        console.print(", ".join(shown), soft_wrap=True)
    if run is not None:
        place = quoted(run.path)
        with suppress(ReluoptError, OSError):  # one that cannot be read is no matter of training
            if run.certificate_file.is_file() and (remark := outdated(read_record(run.certificate_file)[0], run)):
                console.print(remark, soft_wrap=True)
        next_steps(("watch", f"tensorboard --logdir {place}"), ("then", f"reluopt certify {place}"))


def outdated(certificate: Certificate, run: RunFolder) -> str | None:
    """A sentence where the certificate in a run is not of what the run is now."""
    other = what_differs(certificate, run)
    if other is None:
        return None
    again = f"reluopt certify {quoted(run.path)}"
    return f"The certificate in '{run.path}' is of {other} than the run has now. Certify it again: {again}"


def show_certificate(certificate: Certificate) -> None:
    """The ladder as a table, the facts beside it, the verdict."""
    console.print(_ladder_table(certificate))
    console.print(_facts_table(certificate))
    for note in certificate.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(Panel(certificate.verdict, title="verdict", border_style="green"))


def show_places(certificate: Certificate, run: RunFolder) -> None:
    """Where the files of a run's certificate are, and how its proof is checked."""
    proof = [("check the proof", f"reluopt verify {quoted(run.path)}")]
    next_steps(
        *(proof if is_checkable(certificate.settings["loss"]) else ()),
        ("certificate", str(run.certificate_file)),
        ("picture", str(run.ladder_file)),
        ("watch", f"tensorboard --logdir {quoted(run.path)}"),
    )


def _ladder_table(certificate: Certificate) -> Table:
    data = certificate.data
    title = f"The ladder of {data.get('name', 'the network')} (n = {data['n']}, d = {data['d']})"
    table = Table(title=title, title_justify="left", show_lines=False)
    table.add_column("estimate")
    table.add_column("value", justify="right")
    table.add_column("known as")
    table.add_column("meaning")
    for estimate in certificate.estimates:
        if estimate.quantity is Quantity.OPTIMUM:
            _add(table, estimate)
    table.add_row(styled(("p*", "bold")), styled(("?", "bold")), "", "the global optimum over all widths is in between")
    for estimate in certificate.estimates:
        if estimate.quantity is not Quantity.OPTIMUM:
            _add(table, estimate)
    return table


def _add(table: Table, estimate: Estimate) -> None:
    status = Text(estimate.status, _STYLES[estimate.status])
    table.add_row(estimate.label, estimate.text(), status, estimate.meaning)


def _facts_table(certificate: Certificate) -> Table:
    table = Table(title="Beside the ladder", title_justify="left")
    for heading in ("fact", "value", "known as", "meaning"):
        table.add_column(heading)
    for what, value, kind, meaning in fact_lines(certificate):
        table.add_row(what, value, Text(kind, _STYLES[kind]), meaning)
    return table


def show_data(description: Mapping[str, Any], beta_max: tuple[float, float], train_command: str) -> None:
    """A data set's description, one line a quantity."""
    table = Table(title=f"{description['name']}", title_justify="left", show_header=False)
    for key, value in description.items():
        if key in ("name", "fingerprint") or value is None:
            continue
        text = printing.nearest(value) if isinstance(value, float) else str(value)
        if isinstance(value, Mapping):
            text = ", ".join(f"{label}: {count}" for label, count in value.items())
        table.add_row(key.replace("_", " "), text)
    table.add_row("β_max, by local search (at least)", printing.below(beta_max[0]))
    table.add_row("β_max, proved (at most)", printing.above(beta_max[1]))
    console.print(table)
    console.print(f"fingerprint (sha256 of X and y): {description['fingerprint']}", soft_wrap=True)
    next_steps(("next", train_command))
