"""Numbers as they may be shown: a proved bound is rounded to the side on which it stays true.

A lower bound is printed rounded down, an upper bound and what is "within" rounded up, a measured value to the nearest.
The rounding is that of exact decimal arithmetic on the exact binary64 value, so no printed bound is ever stronger than
the number that was proved, at any size; every text is short, whatever the number.
"""

from __future__ import annotations

import decimal
import math
import shlex
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

#: What stands for a bound that says nothing (NaN, or infinite on its own side).
UNKNOWN = "unknown"

#: Percentages of so many digits before the point are written as powers of ten.
_LONG = 6

Number = float | int | Fraction


def below(value: Number, digits: int = 6, *, decimals: int | None = None) -> str:
    """A lower bound: the largest decimal of ``digits`` significant digits (or ``decimals`` after the point) ≤ value."""
    return _text(value, digits, decimals, ROUND_FLOOR)


def above(value: Number, digits: int = 6, *, decimals: int | None = None) -> str:
    """An upper bound: the smallest decimal of ``digits`` significant digits (or ``decimals`` after the point) ≥ value.

    A gap, a ratio over a lower bound and anything said to be "at most" or "within" is an upper bound.
    """
    return _text(value, digits, decimals, ROUND_CEILING)


def nearest(value: Number, digits: int = 6, *, decimals: int | None = None) -> str:
    """A measured value, to ``digits`` significant digits (or ``decimals`` after the point)."""
    return _text(value, digits, decimals, ROUND_HALF_EVEN)


def percent_above(fraction: Number, digits: int = 2) -> str:
    """A fraction that is an upper bound as a percentage of ``digits`` digits, as "0.24 %"; zero or less is "0 %"."""
    if not isinstance(fraction, int | Fraction) and not math.isfinite(fraction):
        return UNKNOWN
    share = _rounded(max(_exact(fraction), Fraction(0)) * 100, digits, None, ROUND_CEILING)
    return f"{_written(share, -6, _LONG)} %"


def excess(upper: float, lower: float) -> Fraction | float:
    """upper/lower − 1 without rounding, for :func:`percent_above`; infinite where the lower bound is not positive."""
    if not (math.isfinite(upper) and math.isfinite(lower)) or lower <= 0:
        return math.inf
    return Fraction(float(upper)) / Fraction(float(lower)) - 1


def estimate(record: Mapping[str, Any], digits: int = 8) -> str:
    """The value of an estimate (a record with value, relation and status), rounded as its relation and status ask."""
    value = math.nan if record["value"] is None else record["value"]
    if record["status"] != "proved":
        return UNKNOWN if math.isnan(value) else nearest(value, digits)
    return below(value, digits) if record["relation"] == ">=" else above(value, digits)


def quoted(path: Path | str) -> str:
    """A path as a shell takes it, ready to be copied into a command line."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _text(value: Number, digits: int, decimals: int | None, rounding: str) -> str:
    if not isinstance(value, int | Fraction) and not math.isfinite(value):
        measured = rounding == ROUND_HALF_EVEN and not math.isnan(value)
        return ("∞" if value > 0 else "−∞") if measured else UNKNOWN
    exact = _exact(value)
    if decimals is not None and abs(exact) < 10**_LONG:
        return f"{_rounded(exact, digits, decimals, rounding):f}"
    return _written(_rounded(exact, digits, None, rounding), -5, digits)


def _exact(value: Number) -> Fraction:
    return Fraction(value) if isinstance(value, int | Fraction) else Fraction(float(value))


def _rounded(exact: Fraction, digits: int, decimals: int | None, rounding: str) -> Decimal:
    """The decimal on the asked side: ``decimals`` after the point, or ``digits`` significant ones."""
    if decimals is not None:
        scaled = exact * 10**decimals
        whole = math.floor(scaled) if rounding == ROUND_FLOOR else math.ceil(scaled)
        return Decimal(round(scaled) if rounding == ROUND_HALF_EVEN else whole).scaleb(-decimals)
    context = decimal.Context(
        prec=digits, rounding=rounding, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.InvalidOperation]
    )
    return context.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _written(number: Decimal, smallest: int, largest: int) -> str:
    """Without needless zeros; as a power of ten unless smallest <= exponent < largest."""
    if number == 0:
        return "0"
    sign, digits, _ = number.as_tuple()
    power = number.adjusted()
    kept = "".join(map(str, digits)).rstrip("0")
    if smallest < power < largest:
        plain = Decimal((sign, tuple(map(int, kept)), power - len(kept) + 1))
        return f"{plain:f}"
    mantissa = kept[0] + (f".{kept[1:]}" if len(kept) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{power:+03d}"
