"""The verdict: two or three sentences that say what the ladder means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reluopt.certificate.ladder import Kind, Rung


def best_lower_bound(rungs: Sequence[Rung]) -> Rung | None:
    """The largest proved lower bound on p*."""
    proved = [r for r in rungs if r.side == "below" and r.kind is Kind.PROVED and math.isfinite(r.value)]
    return max(proved, key=lambda r: r.value, default=None)


def verdict(rungs: Sequence[Rung], facts: dict[str, Any]) -> str:
    """Plain words on stationarity (own patterns), on the global optimum (any width), and on a known way down."""
    by_key = {r.key: r for r in rungs}
    objective = by_key["objective"].value
    return " ".join(
        [_stationarity(objective, by_key["own_dual"].value), _global(objective, rungs), _escape(facts)]
    ).strip()


def percent(fraction: float) -> str:
    """A fraction as a percentage with two digits, rounded up so that "within" stays true."""
    if fraction <= 0:
        return "0 %"
    power = math.floor(math.log10(100 * fraction)) - 1
    digits = math.ceil(100 * fraction / 10.0**power)
    if power < -5:
        return f"{digits / 10:.1f}e{power + 1} %"
    return f"{digits * 10.0**power:.{max(0, -power)}f} %"


def _stationarity(objective: float, own_dual: float) -> str:
    excess = (objective - own_dual) / objective if objective > 0 else 0.0
    if not math.isfinite(excess):
        return "Whether the network is optimal over its own activation patterns is unknown."
    if excess <= 0.01:
        return (
            f"Proved: with its own activation patterns the network cannot be improved by more than {percent(excess)}; "
            "it is a stationary point for practical purposes."
        )
    return (
        f"With its own activation patterns the network may still be improved by up to {percent(excess)}: "
        "train longer, or with a smaller final learning rate."
    )


def _global(objective: float, rungs: Sequence[Rung]) -> str:
    bound = best_lower_bound(rungs)
    if bound is None or bound.value <= 0:
        return "No useful lower bound on the global optimum is known."
    within = objective / bound.value - 1
    return (
        f"Proved: no network of any width has an objective below {bound.value:.6g}, so this one ({objective:.6g}) is "
        f"within {percent(within)} of the global optimum."
    )


def _escape(facts: dict[str, Any]) -> str:
    price = facts["pricing"]["largest_price_over_beta"]
    if price > 1.001:
        return f"A new neuron of price {price:.3f} β would lower the objective further: a wider network can do better."
    return ""
