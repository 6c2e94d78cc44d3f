"""Bounds from outside of the package: given as arguments, or announced by installed packages.

A package announces one by an entry point of the group ``reluopt.bounds`` that loads a :class:`~reluopt.bounds.Bound`
(an object, or a class without arguments)::

    [project.entry-points."reluopt.bounds"]
    mine = "my_package:MyBound"

What such a bound yields is not believed: ``certify`` proves its evidence again (``certificate/reading.py``).
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

from reluopt.bounds.protocol import Bound
from reluopt.errors import ConfigError

GROUP = "reluopt.bounds"

logger = logging.getLogger(__name__)


def installed_bounds() -> tuple[Bound, ...]:
    """The bounds that installed packages announce; one that cannot be loaded is left out with a warning."""
    found: list[Bound] = []
    for entry in entry_points(group=GROUP):
        try:
            loaded = entry.load()
            found.append(require_bound(loaded() if isinstance(loaded, type) else loaded))
        except Exception as error:
            logger.warning("The bound '%s' of another package cannot be used: %s", entry.name, error)
    return tuple(found)


def require_bound(bound: object) -> Bound:
    """The bound itself.

    Raises
    ------
    ConfigError : something else.
    """
    if not isinstance(bound, Bound):
        raise ConfigError(
            f"A {type(bound).__name__} was given as a bound.", "Give an object of a class derived from Bound."
        )
    return bound
