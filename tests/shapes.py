"""Types and shapes of the package's functions, checked by beartype: the first calls of each function in each test.

A search calls its inner functions thousands of times with arrays of one shape, and a check costs more than such a call.
``make thorough`` checks every call.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import beartype
from counts import tries
from jaxtyping import install_import_hook

#: Checks of a function in one test; a call has two, of what goes in and of what comes out.
MOST = tries(100, sys.maxsize)

_strict = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))  # as in PEP 484, an int is a float
_checks: Counter[tuple[str, str]] = Counter()
_silenced: list[Any] = []


def install() -> None:
    """Check what is imported from the package from now on."""
    install_import_hook("reluopt", "shapes.checked")


def start() -> None:
    """Check the calls of every function anew: a test begins."""
    _checks.clear()
    while _silenced:
        del _silenced.pop().__no_type_check__


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that jaxtyping calls to check arguments and results, until it was called often enough."""
    strict, place = _strict(function), (function.__module__, function.__qualname__)

    @functools.wraps(function)
    def counted(*args: Any, **options: Any) -> Any:
        _checks[place] += 1
        if _checks[place] == MOST:
            _silence(*place)
        return strict(*args, **options)

    return counted


def _silence(module: str, qualname: str) -> None:
    """Tell jaxtyping to call the function of this name as it is, if it can be found (not one inside of a function)."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    found = getattr(found, "fget", None) or getattr(found, "func", None) or getattr(found, "__func__", None) or found
    while inspect.isfunction(found):
        found.__no_type_check__ = True  # type: ignore[attr-defined]
        _silenced.append(found)
        found = getattr(found, "__wrapped__", None)
