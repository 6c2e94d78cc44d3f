"""Logarithms and exponentials of rational numbers, from above: ``decimal`` rounds both correctly."""

from __future__ import annotations

import decimal
from fractions import Fraction

#: Significant digits: one unit in the last place bounds what is rounded correctly.
DIGITS = 34

#: Numbers below 10^−400 are rounded to neighbours that bound them, so that no fraction grows long.
_UP = decimal.Context(prec=DIGITS, rounding=decimal.ROUND_CEILING, Emin=-400, Emax=400000)
_NEAREST = decimal.Context(prec=DIGITS, rounding=decimal.ROUND_HALF_EVEN, Emin=-400, Emax=400000)


def above(x: Fraction) -> decimal.Decimal:
    """A number of DIGITS digits ≥ x."""
    return _UP.divide(decimal.Decimal(x.numerator), decimal.Decimal(x.denominator))


def log_above(x: Fraction) -> Fraction:
    """≥ log x for x > 0: ``Decimal.ln`` rounds to nearest correctly, so the next number up bounds it."""
    if x == 1:
        return Fraction(0)
    return Fraction(_NEAREST.next_plus(_NEAREST.ln(above(x))))


def exp_above(x: Fraction) -> Fraction:
    """≥ e^x for x ≤ 0: ``Decimal.exp`` rounds to nearest correctly; below e^−1000 a bound of that size will do."""
    return Fraction(_NEAREST.next_plus(_NEAREST.exp(max(above(x), decimal.Decimal(-1000)))))
