"""Bounds from outside of the package: given as arguments, or announced by installed packages.

A package announces one by an entry point of the group ``reluopt.bounds`` that loads a :class:`~reluopt.bounds.Bound`
(an object, or a class without arguments)::

    [project.entry-points."reluopt.bounds"]
    mine = "my_package:MyBound"

What such a bound yields is not believed: its evidence is proved again here, with rounding accounted for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from importlib.metadata import entry_points

from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.protocol import Bound, Start
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.problem import Problem

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


def proved_again(bound: Bound, problem: Problem, start: Start, clock: Clock) -> Iterator[LowerBound]:
    """What a bound finds, each with the value that its evidence proves here, under the bound's own name."""
    for found in bound.run(problem, start, clock, "cpu"):
        yield prove(problem, found.evidence, method=bound.name, started=time.perf_counter())
        if clock.over:
            return
