"""The verdict: two or three sentences that say what the ladder means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from reluopt import printing
from reluopt.certificate.certificate import best_lower_bound
from reluopt.certificate.estimates import VECTOR, Biases, Estimate, Pricing, Quantity, Relation

#: A model's own objective is only called above a bound if it is so by more than its rounding in float64.
SLACK = 1e-9


def verdict(estimates: Sequence[Estimate], pricing: Pricing, biases: Biases | None) -> str:
    """Plain words on stationarity (own patterns), on the global optimum (any width), and on a known way down."""
    objective = _value(estimates, Quantity.OBJECTIVE, Relation.AT_MOST)
    own_dual = _value(estimates, Quantity.OWN, Relation.AT_LEAST)
    own = None if biases is None else biases.none_decayed
    loose = any(e.method == VECTOR for e in estimates if e.quantity is Quantity.OWN)
    words = [_stationarity(objective, own_dual, loose), _global(objective, estimates, own), _escape(pricing)]
    return " ".join(words).strip()


def _value(estimates: Sequence[Estimate], quantity: Quantity, relation: Relation) -> float:
    return next(e.value for e in estimates if e.quantity is quantity and e.relation is relation)


def _stationarity(objective: float, own_dual: float, loose: bool) -> str:
    if not (math.isfinite(objective) and math.isfinite(own_dual)):
        return "Whether the network is optimal over its own activation patterns is unknown."
    excess = 1 - Fraction(own_dual) / Fraction(objective) if objective > 0 else Fraction(0)
    most = printing.percent_above(excess)
    if excess <= 0.01:
        return (
            f"Proved: with its own activation patterns the network cannot be improved by more than {most}; "
            "it is a stationary point for practical purposes."
        )
    if loose:
        return (
            f"With its own activation patterns the network may still be improved by up to {most}, as far as a bound "
            "on the cones of the patterns can tell."
        )
    return (
        f"With its own activation patterns the network may still be improved by up to {most}: "
        "train longer, or with a smaller final learning rate."
    )


def _global(objective: float, estimates: Sequence[Estimate], own: float | None) -> str:
    bound = best_lower_bound(estimates)
    if bound is None or bound.value <= 0:
        return "No useful lower bound on the global optimum is known."
    least, here = printing.below(bound.value), printing.above(objective)
    within = f"within {printing.percent_above(printing.excess(objective, bound.value))} of the global optimum"
    if own is None or own > bound.value * (1 + SLACK):
        return f"Proved: no network of any width has an objective below {least}, so this one ({here}) is {within}."
    return (
        f"Proved for the objective L, which charges biases like weights: no network of any width has L < {least}, so "
        f"this one (L = {here}) is {within} of L. The model's own objective is another one: it is as low as "
        f"{printing.nearest(own)} where biases are not decayed, and this bound says nothing of it."
    )


def _escape(pricing: Pricing) -> str:
    price = pricing.largest_price_over_beta
    if price > 1.001:
        much = printing.nearest(price, decimals=3)
        return f"A new neuron of price {much} β would lower the objective further: a wider network can do better."
    return ""
