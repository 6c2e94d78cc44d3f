r"""Section 4 of SPEC.md: the losses ℓ(f, y), and their dual objectives, in exact rational arithmetic.

The logistic loss needs exp and ln. Those of ``decimal`` are rounded correctly, so the next number above is an upper
bound of the true one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from .refusal import require

_NEAREST = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999)
_UP = Context(prec=40, rounding=ROUND_CEILING, Emin=-999_999, Emax=999_999)

#: The parameter of each loss, if it has one.
PARAMETERS = {
    "squared": None,
    "huber": "delta",
    "absolute": None,
    "quantile": "tau",
    "hinge": None,
    "squared_hinge": None,
    "logistic": None,
    "cross_entropy": None,
}
#: Losses whose targets are −1 and 1.
OF_CLASSES = ("hinge", "squared_hinge", "logistic")


@dataclass(frozen=True)
class Loss:
    """A loss by its name, with its parameter (0 where it has none)."""

    name: str
    parameter: Fraction

    def value(self, f: Fraction, y: Fraction) -> Fraction:
        """≥ ℓ(f, y); equal but for the logistic loss."""
        return _VALUES[self.name](f, y, self.parameter)

    def dual(self, v: Fraction, y: Fraction, weight: Fraction) -> Fraction:
        """≤ −κ ℓ*(−v/κ) with κ = ``weight``, equal but for the logistic loss; refuses a v outside of the domain."""
        if weight == 0:
            require(v == 0, "z is not 0 for a sample of weight 0")
            return Fraction(0)
        return _DUALS[self.name](v, y, weight, self.parameter)

    def dual_row(self, v: Sequence[Fraction], y: Sequence[Fraction], weight: Fraction) -> Fraction:
        """The same of all outputs of a sample."""
        if self.name == "cross_entropy" and weight > 0:
            return _dual_cross_entropy(v, y, weight)
        if self.name == "cross_entropy":
            require(not any(v), "z is not 0 for a sample of weight 0")
            return Fraction(0)
        return sum((self.dual(a, b, weight) for a, b in zip(v, y, strict=True)), Fraction(0))


# -- values ------------------------------------------------------------------------------------------------------------


def _squared(f: Fraction, y: Fraction, _: Fraction) -> Fraction:
    return (f - y) ** 2 / 2


def _huber(f: Fraction, y: Fraction, delta: Fraction) -> Fraction:
    r = abs(f - y)
    return r * r / 2 if r <= delta else delta * r - delta * delta / 2


def _absolute(f: Fraction, y: Fraction, _: Fraction) -> Fraction:
    return abs(f - y)


def _quantile(f: Fraction, y: Fraction, tau: Fraction) -> Fraction:
    return max(tau * (y - f), (1 - tau) * (f - y))


def _hinge(f: Fraction, y: Fraction, _: Fraction) -> Fraction:
    return max(Fraction(0), 1 - y * f)


def _squared_hinge(f: Fraction, y: Fraction, _: Fraction) -> Fraction:
    return max(Fraction(0), 1 - y * f) ** 2 / 2


def _logistic(f: Fraction, y: Fraction, _: Fraction) -> Fraction:
    return softplus_above(-y * f)


def softplus_above(a: Fraction) -> Fraction:
    """≥ ln(1 + e^a)."""
    if a > 0:
        return a + softplus_above(-a)
    # ln(1 + e^a) rises with a, so −200 may stand for what is below
    power = _NEAREST.exp(_decimal_above(max(a, Fraction(-200)))).next_plus(_NEAREST)
    return Fraction(min(power, _NEAREST.ln(_UP.add(Decimal(1), power)).next_plus(_NEAREST)))


def cross_entropy_above(low: Sequence[Fraction], high: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
    """≥ ln Σ_k e^{f_k − f_c} for all low ≤ f ≤ high, c the class: it rises with every f_k but f_c."""
    c = list(y).index(Fraction(1))
    margins = [Fraction(0) if k == c else f - low[c] for k, f in enumerate(high)]
    most, total = max(margins), Decimal(0)
    for margin in margins:
        power = _NEAREST.exp(_decimal_above(max(margin - most, Fraction(-200)))).next_plus(_NEAREST)
        total = _UP.add(total, power)
    return most + Fraction(_NEAREST.ln(total).next_plus(_NEAREST))


# -- dual objectives ---------------------------------------------------------------------------------------------------


def _dual_squared(v: Fraction, y: Fraction, weight: Fraction, _: Fraction) -> Fraction:
    return y * v - v * v / (2 * weight)


def _dual_huber(v: Fraction, y: Fraction, weight: Fraction, delta: Fraction) -> Fraction:
    _inside(abs(v) <= delta * weight)
    return _dual_squared(v, y, weight, delta)


def _dual_absolute(v: Fraction, y: Fraction, weight: Fraction, _: Fraction) -> Fraction:
    _inside(abs(v) <= weight)
    return y * v


def _dual_quantile(v: Fraction, y: Fraction, weight: Fraction, tau: Fraction) -> Fraction:
    _inside((tau - 1) * weight <= v <= tau * weight)
    return y * v


def _dual_hinge(v: Fraction, y: Fraction, weight: Fraction, _: Fraction) -> Fraction:
    _inside(0 <= y * v <= weight)
    return y * v


def _dual_squared_hinge(v: Fraction, y: Fraction, weight: Fraction, _: Fraction) -> Fraction:
    _inside(y * v >= 0)
    return y * v - v * v / (2 * weight)


def _dual_logistic(v: Fraction, y: Fraction, weight: Fraction, _: Fraction) -> Fraction:
    p = y * v
    _inside(0 <= p <= weight)
    return p * minus_ln_below(p / weight) + (weight - p) * minus_ln_below(1 - p / weight)


def _dual_cross_entropy(v: Sequence[Fraction], y: Sequence[Fraction], weight: Fraction) -> Fraction:
    shares = [weight * b - a for a, b in zip(v, y, strict=True)]
    _inside(min(shares) >= 0 and sum(v, Fraction(0)) == 0)
    return sum((p * minus_ln_below(p / weight) for p in shares), Fraction(0))


def minus_ln_below(p: Fraction) -> Fraction:
    """≤ −ln p, for 0 ≤ p ≤ 1; 0 for p = 0, where it is multiplied by 0."""
    above = _decimal_above(p)
    if p == 0 or above >= 1:  # ln 1 = 0 is exact: the number next to it has a million places, and takes as long
        return Fraction(0)
    return max(Fraction(0), -Fraction(_NEAREST.ln(above).next_plus(_NEAREST)))


def _decimal_above(value: Fraction) -> Decimal:
    """The smallest decimal number of 40 digits that is ≥ value."""
    return _UP.divide(Decimal(value.numerator), Decimal(value.denominator))


def _inside(condition: bool) -> None:
    require(condition, "tz is outside of the domain of the dual objective")


_VALUES: dict[str, Callable[[Fraction, Fraction, Fraction], Fraction]] = {
    "squared": _squared,
    "huber": _huber,
    "absolute": _absolute,
    "quantile": _quantile,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
    "logistic": _logistic,
}
_DUALS: dict[str, Callable[[Fraction, Fraction, Fraction, Fraction], Fraction]] = {
    "squared": _dual_squared,
    "huber": _dual_huber,
    "absolute": _dual_absolute,
    "quantile": _dual_quantile,
    "hinge": _dual_hinge,
    "squared_hinge": _dual_squared_hinge,
    "logistic": _dual_logistic,
}
