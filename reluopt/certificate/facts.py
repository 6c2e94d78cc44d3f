"""What stands beside the ladder, as lines for people: stationarity, price, the theory's factors, drift."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reluopt import printing
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.estimates import Stationarity

#: (what, value, how it is known, meaning); known is "proved", "measured", or "theory" for what a theorem states.
Fact = tuple[str, str, str, str]


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
    known = not math.isnan(pricing.largest_price_over_beta)
    price = f"{printing.nearest(pricing.largest_price_over_beta, 7)} β" if known else "–"
    escape = "above β, adding that neuron lowers L" if known else "shows nothing at the kinks of a loss"
    fraction = printing.nearest(pricing.beta_over_beta_max_estimate, 4)
    speaks = not math.isnan(theory.instance_factor) or math.isnan(theory.kappa)
    about = "KP Thm 3.8's worst-case factor for this X" if speaks else "KP Thm 3.8: squared loss, no sample weights"
    factor = printing.nearest(theory.instance_factor, 4) if speaks else "–"
    return [
        ("largest price found", price, "measured", escape),
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
