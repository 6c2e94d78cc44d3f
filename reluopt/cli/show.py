"""What the commands print: tables and sentences from plain records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from reluopt.certificate.ladder import Certificate, Kind, Rung
from reluopt.runs import RunFolder
from reluopt.training import TrainResult

console = Console()

_STYLES = {Kind.PROVED: "bold blue", Kind.MEASURED: "yellow", Kind.THEORY: "dim"}


def show_training(result: TrainResult, run: RunFolder) -> None:
    """How training ended, and the next commands."""
    console.print(
        f"trained {result.epochs} epochs ({result.stopped_because}): objective {result.objective:.8g}, "
        f"‖∇L‖ {result.stationarity_residual:.2e}",
        highlight=False,
    )
    next_steps(("watch", f"tensorboard --logdir {run.path}"), ("then", f"reluopt certify {run.path}"))


def next_steps(*steps: tuple[str, str]) -> None:
    """Name the next commands, one a line, unwrapped so that they can be copied."""
    for what, command in steps:
        console.print(f"  {what}: [bold]{command}[/]", highlight=False, soft_wrap=True)


def show_certificate(certificate: Certificate, run: RunFolder) -> None:
    """The ladder as a table, the facts beside it, the verdict, and where the files are."""
    console.print(_ladder_table(certificate))
    console.print(_facts_table(certificate))
    for note in certificate.notes:
        console.print(f"note: {note}", highlight=False)
    console.print(Panel(certificate.verdict, title="verdict", border_style="green"))
    next_steps(
        ("certificate", str(run.certificate_file)),
        ("picture", str(run.ladder_file)),
        ("watch", f"tensorboard --logdir {run.path}"),
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
    table.add_row("[bold]p*[/]", "[bold]?[/]", "", "the global optimum over all widths, somewhere in between")
    for rung in own:
        _add(table, rung)
    return table


def _add(table: Table, rung: Rung) -> None:
    value = f"{rung.value:.8g}" if math.isfinite(rung.value) else "unknown"
    table.add_row(rung.label, value, f"[{_STYLES[rung.kind]}]{rung.kind}[/]", rung.meaning)


def _facts_table(certificate: Certificate) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in fact_lines(certificate.facts):
        table.add_row(name, value)
    return table


def fact_lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts beside the ladder as (what, value) in words."""
    own = facts["stationarity"]
    gaps, theory, pricing = own["gap_to_own_patterns"], facts["theory"], facts["pricing"]
    lines = [
        (f"L(θ) − d_S(z), {what} ({gap['patterns']})", f"{gap['gap']:.3e}  ({gap['relative_gap']:.2e} of L, proved)")
        for what, gap in (
            ("active patterns", gaps["active"]),
            ("and both sides of kinks", gaps["with_kinks"]),
            ("and inactive neurons", gaps["with_inactive"]),
        )
    ]
    lines += [
        (
            "Clarke stationarity residual",
            f"{own['clarke_residual']:.3e}  ({own['clarke_residual_relative']:.1e} of β‖θ‖)",
        ),
        (
            "active neurons, kinks",
            f"{own['active_neurons']}, {own['kinks']}{' (cap met)' if own['kink_cap_met'] else ''}",
        ),
        ("largest price / β", f"{pricing['largest_price_over_beta']:.6f}  (above 1: a new neuron lowers L)"),
        ("β / β_max", f"{pricing['beta_over_beta_max_estimate']:.4g}  (β_max by local search)"),
        ("√log(2n) (KP Thm 2.1, 2.5)", f"{theory['sqrt_log_2n']:.3f}"),
        ("instance factor 2√2·√κ (KP Thm 3.8)", f"{theory['instance_factor']:.4g}"),
    ]
    drift = facts.get("drift")
    if drift:
        kept = drift["patterns/preserved_from_init"]
        holds = "holds" if kept >= 0.5 else "fails"
        lines.append(("patterns preserved since the start", f"{100 * kept:.1f} %  (A2 asks for half: {holds})"))
        lines.append(("(sample, neuron) entries preserved", f"{100 * drift['patterns/entries_preserved']:.1f} %"))
    return lines


def show_data(description: Mapping[str, Any], beta_max: float, fingerprint: str) -> None:
    """A data set's description, one line a quantity."""
    table = Table(title=f"{description['name']}", title_justify="left", show_header=False)
    for key, value in description.items():
        if key in ("name", "fingerprint") or value is None:
            continue
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        if isinstance(value, Mapping):
            text = ", ".join(f"{label}: {count}" for label, count in value.items())
        table.add_row(key.replace("_", " "), text)
    table.add_row("β_max (local search, a lower estimate)", f"{beta_max:.6g}")
    table.add_row("fingerprint", fingerprint)
    console.print(table)
    next_steps(("next", f"reluopt train {description['name']}"))
