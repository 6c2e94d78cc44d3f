"""How people write numbers: what keeps a cell that means a number from being read as one, and what helps."""

from __future__ import annotations

import re
import unicodedata

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
INFINITE = r"^[+-]?(inf|infinity)$"
COMMA_NUMBER = r"^[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?$"
COMMA_THOUSANDS = r"^[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$"
DATE = (
    r"^([12][0-9]{3}[-/.][0-9]{1,2}([-/.][0-9]{1,2})?|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}"
    r"|[0-9]{1,2}[- ][A-Za-z]{3,9}[- ,]+[0-9]{2,4}|[A-Za-z]{3,9} [0-9]{1,2},? [0-9]{4})"
    r"([T ][0-9]{1,2}:[0-9]{2}.*)?$|^[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?( ?[AaPp][Mm])?$|^[0-9]{4}-?[Qq][1-4]$"
)

#: How else the signs between thousands are written: spaces that do not break a line, and the typographic apostrophe.
ALSO = {" ": "\u00a0\u202f\u2009", "'": "\u2019"}

_AMOUNT = r"[0-9.,][0-9.,' \u00a0\u202f\u2009\u2019]*"
_CURRENCY = (
    r"([A-Za-z]{0,3}[$€£¥₹₽₩₺₫₪฿₴]|USD|EUR|GBP|CHF|JPY|CNY|INR|RUB|BRL|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|TRY|KRW|MXN"
    r"|ZAR|SGD|HKD|Rs\.?|kr\.?|zł)"
)
_DIGITS = r"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)"
_UNITS = (
    r"(kg|mg|µg|μg|lbs?|oz|km|cm|mm|µm|μm|nm|mi|ft|sec|ms|min|hrs?|days?|weeks?|months?|years?|yrs?|ml|mL|cl|dl|kW|kWh|MW|mV"
    r"|mA|k?Hz|MHz|GHz|[KkMGT]i?B|kcal|kJ|[hkM]?Pa|bar|mph|km/h|m/s|ppm|ppb|dB|mol|m²|m³|m2|m3|hp|cc|mio|mn|bn)"
)

#: A number, whatever stands beside it: what it is, and what helps.
_SURE = [
    (re.compile(pattern), what, remedy)
    for pattern, what, remedy in (
        (
            r"^(?=.*_)[+-]?[0-9][0-9_]*(\.[0-9_]*)?$",
            "has an underscore, which is no part of a number",
            "Remove the underscore.",
        ),
        (
            rf"^[+-]?{_AMOUNT} ?([%‰]|°[CF]?)$|^[+-]? ?{_CURRENCY} ?[+-]?{_AMOUNT}$|^[+-]?{_AMOUNT} ?{_CURRENCY}$"
            r"|^[+-]?[0-9.,]*[0-9][.,][-–—]{1,2}$",
            "has a unit sign",
            "Remove the sign from all cells of the column.",
        ),
        (rf"^\( ?{_CURRENCY}? ?{_AMOUNT}\)$", "is in parentheses, as accountants write -1 as (1)", "Write a minus."),
        (r"^[+-]?0([xX][0-9a-fA-F]+|[bB][01]+|[oO][0-7]+)$", "is not a number in decimal digits", "Write it in those."),
        (
            rf"^[+-][+ -]+{_DIGITS}$|^± ?{_DIGITS}$",
            "is not a number with one sign right before it",
            "Correct the cell.",
        ),
        (
            DATE,
            "is a date or a time",
            "Leave the column out with --drop, or turn it into numbers (year, day, hour).",
        ),
        (f"(?i:{INFINITE})", "is infinite", "Correct the value, or drop the sample."),
    )
]

#: What may be a number or a name, as 1/2, 4 years and 5 km.
_DOUBTFUL = [
    (re.compile(pattern), what, remedy)
    for pattern, what, remedy in (
        (r"^[+-]?[0-9]+ ?/ ?[0-9]+$", "is a fraction", "Write it as a decimal number."),
        (rf"^{_DIGITS}[dD][+-]?[0-9]+$", "is not a number, unless d is its exponent", "Write e for d."),
        (
            rf"^{_DIGITS} ?{_UNITS}$|^{_DIGITS} [gmshtlLVAWJK]$|^[+-]?[0-9]+[.,][0-9]+ ?[A-Za-zµμ]$",
            "has a unit",
            "Remove the unit from all cells of the column.",
        ),
    )
]

#: Signs of numbers in other scripts, and the many minus signs.
_PLAIN = str.maketrans({
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "-"),
    "\uff0b": "+", "\uff0e": ".", "\uff0c": ",", "\u066b": ".", "\u066c": ",",
})  # fmt: skip


def is_number(cell: str) -> bool:
    """Whether a cell is a number: digits, a decimal point, an exponent; no underscores, no words."""
    return re.match(NUMBER, cell.strip()) is not None


def has_decimal_comma(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return re.match(COMMA_NUMBER, cell.strip()) is not None


def surely_number(cell: str) -> bool:
    """Whether a cell is a number in some notation (``1.5``, ``1,5``, ``1,200``, ``1_0``, ``12 %``, a date, ``inf``)."""
    return is_number(cell) or _surely(cell.strip()) is not None


def looks_numeric(cell: str) -> bool:
    """Whether a cell is surely a number, or may be one: ``5 kg`` and ``1/2``, which may be categories too."""
    return is_number(cell) or trouble(cell) is not None


def trouble(cell: str) -> tuple[str, str] | None:
    """What keeps a cell that means a number from being one, and the remedy; None if it does not mean a number."""
    return _surely(cell.strip()) or _first(cell.strip(), _DOUBTFUL)


def _surely(cell: str) -> tuple[str, str] | None:
    return _grouped(cell) or _first(cell, _SURE) or _of_other_signs(cell)


def _first(cell: str, kinds: list[tuple[re.Pattern[str], str, str]]) -> tuple[str, str] | None:
    return next(((what, remedy) for pattern, what, remedy in kinds if pattern.match(cell)), None)


def _grouped(cell: str) -> tuple[str, str] | None:
    """Of thousands and decimal commas."""
    if re.match(COMMA_THOUSANDS, cell):
        whole, half = cell.replace(",", ""), cell.replace(",", ".", 1)
        other = f" --decimal comma reads it as {half}." if cell.count(",") == 1 and "." not in cell else ""
        return "has a thousands separator", f"--thousands comma reads it as {whole}.{other}"
    if re.match(r"^[+-]?[0-9]{1,3}(\.[0-9]{3}){2,}$", cell):
        return "has a thousands separator", f"--thousands point reads it as {cell.replace('.', '')}."
    if re.match(r"^[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+$", cell):
        return "has a thousands separator and a decimal comma", "Say --thousands point --decimal comma."
    if re.match(r"^[+-]?[0-9]{1,3}([ '\u00a0\u202f\u2009\u2019][0-9]{3})+([.,][0-9]*)?$", cell):
        word = "apostrophe" if re.search("['\u2019]", cell) else "space"
        comma = " --decimal comma" if "," in cell else ""
        return "has a thousands separator", f"Say --thousands {word}{comma}, or remove it."
    if re.match(r"^[+-]?[0-9]{1,2}(,[0-9]{2})+,[0-9]{3}(\.[0-9]*)?$", cell):
        return "has commas that are not between thousands only", f"Remove them: {cell.replace(',', '')}."
    if re.match(COMMA_NUMBER, cell):
        return "has a decimal comma", "Say --decimal comma, or write decimals with a point in all columns."
    return None


def _of_other_signs(cell: str) -> tuple[str, str] | None:
    """Of numbers with another minus sign, digits of another script, or signs that are not seen."""
    if cell.isascii():
        return None
    seen = (sign for sign in cell.translate(_PLAIN) if unicodedata.category(sign) != "Cf")
    plain = "".join(str(unicodedata.decimal(sign, sign)) for sign in seen).strip()
    if plain == cell or not surely_number(plain):
        return None
    return "is not a number in the signs of ASCII", f"Write it as {plain}."
