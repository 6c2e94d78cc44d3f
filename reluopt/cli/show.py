"""What the commands print: tables and sentences from plain records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reluopt import printing
from reluopt.certificate.ladder import Certificate, Kind, Rung
from reluopt.cli.output import console, next_steps, quoted, styled
from reluopt.runs import RunFolder
from reluopt.training import TrainResult

_STYLES = {Kind.PROVED: "bold blue", Kind.MEASURED: "yellow", Kind.THEORY: "dim"}


def show_training(result: TrainResult, run: RunFolder | None) -> None:
    """How training ended, and the next commands; without a run, how far it had come."""
    how = f" ({result.stopped_because})" if result.stopped_because else " so far"
    console.print(
        f"trained {result.epochs} epochs{how}: "
        f"objective {printing.nearest(result.objective, 8)}, ‖∇L‖ {result.stationarity_residual:.2e}",
        soft_wrap=True,
    )
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
    table.add_column("rung")
    table.add_column("value", justify="right")
    table.add_column("kind")
    table.add_column("meaning")
    below = [r for r in certificate.rungs if r.side == "below"]
    own = [r for r in certificate.rungs if r.side == "above"]
    for rung in below:
        _add(table, rung)
    table.add_row(styled(("p*", "bold")), styled(("?", "bold")), "", "the global optimum over all widths is in between")
    for rung in own:
        _add(table, rung)
    return table


def _add(table: Table, rung: Rung) -> None:
    table.add_row(rung.label, rung.text(), Text(rung.kind, _STYLES[rung.kind]), rung.meaning)


def _facts_table(certificate: Certificate) -> Table:
    table = Table(title="Beside the ladder", title_justify="left")
    for heading in ("fact", "value", "kind", "meaning"):
        table.add_column(heading)
    for what, value, kind, meaning in fact_lines(certificate.facts):
        table.add_row(what, value, Text(kind, _STYLES[kind]), meaning)
    return table


def fact_lines(facts: Mapping[str, Any]) -> list[tuple[str, str, Kind, str]]:
    """The facts beside the ladder as (what, value, kind, meaning)."""
    return [*_stationarity_lines(facts["stationarity"]), *_context_lines(facts), *_drift_lines(facts.get("drift"))]


def _stationarity_lines(own: Mapping[str, Any]) -> list[tuple[str, str, Kind, str]]:
    gaps = own["gap_to_own_patterns"]
    cap = " (their cap was met)" if own["kink_cap_met"] else ""
    sets = (("active patterns", "active"), ("with both sides of kinks" + cap, "with_kinks"))
    lines = [
        (
            f"L(θ) − d_S(z), {gaps[key]['patterns']} patterns",
            _gap(gaps[key]["gap"], gaps[key]["relative_gap"]),
            Kind.PROVED,
            f"improvement left over these patterns: {what}",
        )
        for what, key in (*sets, ("with those of inactive neurons", "with_inactive"))
    ]
    solved = _gap(own["gap_after_program"], own["relative_gap_after_program"])
    residual = f"{own['clarke_residual']:.3e}, {own['clarke_residual_relative']:.1e} of β‖θ‖"
    counts = f"{own['active_neurons']}, {own['kinks']}"
    return [
        *lines,
        ("the same, with the program", solved, Kind.PROVED, f"active patterns, program: {own['program_status']}"),
        ("stationarity residual", residual, Kind.MEASURED, "‖∇L‖, least over the slopes allowed at kinks (Clarke)"),
        ("active neurons, kinks", counts, Kind.MEASURED, "neurons that contribute; their samples at x·u = 0"),
    ]


def _gap(gap: float, relative: float) -> str:
    """What is proved to be left to gain, at most."""
    return f"{printing.above(gap, 4)}, {printing.above(relative, 2)} of L"


def _context_lines(facts: Mapping[str, Any]) -> list[tuple[str, str, Kind, str]]:
    theory, pricing = facts["theory"], facts["pricing"]
    price = f"{printing.nearest(pricing['largest_price_over_beta'], 7)} β"
    fraction = printing.nearest(pricing["beta_over_beta_max_estimate"], 4)
    factor = printing.nearest(theory["instance_factor"], 4)
    return [
        ("largest price found", price, Kind.MEASURED, "above β, adding that neuron lowers L"),
        ("β / β_max", fraction, Kind.MEASURED, "β_max by local search, a lower estimate"),
        ("√log(2n)", f"{theory['sqrt_log_2n']:.3f}", Kind.THEORY, "growth of the factor in KP Thm 2.1 and 2.5"),
        ("2√2·√κ", factor, Kind.THEORY, "KP Thm 3.8's worst-case factor for this X"),
    ]


def _drift_lines(drift: Mapping[str, float] | None) -> list[tuple[str, str, Kind, str]]:
    if not drift:
        return []
    kept, entries = drift["patterns/preserved_from_init"], drift["patterns/entries_preserved"]
    holds = "holds" if kept >= 0.5 else "fails"
    return [
        ("patterns preserved", f"{100 * kept:.1f} %", Kind.MEASURED, f"since the start; (A2) asks for half: {holds}"),
        ("entries preserved", f"{100 * entries:.1f} %", Kind.MEASURED, "(sample, neuron) activations as at the start"),
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
