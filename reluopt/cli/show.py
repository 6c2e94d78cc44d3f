"""What the commands print: tables and sentences from plain records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reluopt import printing
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.estimates import Estimate, Quantity, Stationarity
from reluopt.cli.output import console, next_steps, quoted, styled
from reluopt.runs import RunFolder
from reluopt.training import TrainResult

#: How a value is known, and its style; "theory" is what a theorem states, under its hypotheses.
_STYLES = {"proved": "bold blue", "measured": "yellow", "unknown": "dim", "theory": "dim"}

#: (what, value, how it is known, meaning)
Fact = tuple[str, str, str, str]


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
        next_steps(("watch", f"tensorboard --logdir {place}"), ("then", f"reluopt certify {place}"))


def show_certificate(certificate: Certificate, run: RunFolder | None) -> None:
    """The ladder as a table, the facts beside it, the verdict, and where the files are (or will be) if in a run."""
    console.print(_ladder_table(certificate))
    console.print(_facts_table(certificate))
    for note in certificate.notes:
        console.print(f"note: {note}")
    console.print(Panel(certificate.verdict, title="verdict", border_style="green"))
    if run is None:
        return
    next_steps(
        ("check the proof", f"reluopt verify {quoted(run.path)}"),
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


def fact_lines(certificate: Certificate) -> list[Fact]:
    """The facts beside the ladder, a line each."""
    own = _stationarity_lines(certificate.stationarity)
    return [*own, *_context_lines(certificate), *_drift_lines(certificate.drift)]


def _stationarity_lines(own: Stationarity) -> list[Fact]:
    cap = " (their cap was met)" if own.kink_cap_met else ""
    sets = (
        ("active patterns", own.active),
        (f"with both sides of kinks{cap}", own.with_kinks),
        ("with those of inactive neurons", own.with_inactive),
    )
    lines = [
        (
            f"L(θ) − d_S(z), {found.patterns} patterns", _gap(found.gap, found.relative_gap), "proved",
            f"improvement left over these patterns: {what}",
        )
        for what, found in sets
    ]  # fmt: skip
    solved = _gap(own.gap_after_program, own.relative_gap_after_program)
    residual = f"{own.clarke_residual:.3e}, {own.clarke_residual_relative:.1e} of β‖θ‖"
    counts = f"{own.active_neurons}, {own.kinks}"
    return [
        *lines,
        ("the same, with the program", solved, "proved", f"active patterns, program: {own.program_status}"),
        ("stationarity residual", residual, "measured", "‖∇L‖, least over the slopes allowed at kinks (Clarke)"),
        ("active neurons, kinks", counts, "measured", "neurons that contribute; their samples at x·u = 0"),
    ]


def _gap(gap: float, relative: float) -> str:
    """What is proved to be left to gain, at most."""
    return f"{printing.above(gap, 4)}, {printing.above(relative, 2)} of L"


def _context_lines(certificate: Certificate) -> list[Fact]:
    theory, pricing = certificate.theory, certificate.pricing
    price = f"{printing.nearest(pricing.largest_price_over_beta, 7)} β"
    fraction = printing.nearest(pricing.beta_over_beta_max_estimate, 4)
    speaks = not math.isnan(theory.instance_factor) or math.isnan(theory.kappa)
    about = "KP Thm 3.8's worst-case factor for this X" if speaks else "KP Thm 3.8: squared loss, no sample weights"
    factor = printing.nearest(theory.instance_factor, 4) if speaks else "–"
    return [
        ("largest price found", price, "measured", "above β, adding that neuron lowers L"),
        ("β / β_max", fraction, "measured", "β_max by local search, a lower estimate"),
        ("√log(2n)", f"{theory.sqrt_log_2n:.3f}", "theory", "growth of the factor in KP Thm 2.1 and 2.5"),
        ("2√2·√κ", factor, "theory", about),
    ]


def _drift_lines(drift: Mapping[str, float] | None) -> list[Fact]:
    if not drift:
        return []
    kept, entries = drift["patterns/preserved_from_init"], drift["patterns/entries_preserved"]
    holds = "holds" if kept >= 0.5 else "fails"
    return [
        ("patterns preserved", f"{100 * kept:.1f} %", "measured", f"since the start; (A2) asks for half: {holds}"),
        ("entries preserved", f"{100 * entries:.1f} %", "measured", "(sample, neuron) activations as at the start"),
    ]


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
