"""How the checker says no, and how it shows text that it does not trust."""

from __future__ import annotations

import reprlib
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class Refused(Exception):
    """The certificate does not prove what it claims; the message says why."""


class CannotCheck(Exception):
    """The check could not be made (a file is missing, the data are not a data file)."""


def require(condition: Any, reason: str) -> None:
    """Refuse with the reason unless the condition holds (NaN comparisons do not)."""
    if not condition:
        raise Refused(reason)


def shown(value: Any) -> str:
    """Anything that came from outside, for a message: quoted, in ASCII, short. It can forge no line and no markup."""
    return _SHORT.repr(value).encode("ascii", "backslashreplace").decode()[:200].replace("[", "\\x5b")
