"""What installed packages announce by entry points: losses and solvers by name; bounds are in ``bounds/plugins.py``.

A package announces one in its ``pyproject.toml``, under the name that users will give::

    [project.entry-points."reluopt.losses"]
    doubled = "my_package:Doubled"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from reluopt.errors import ConfigError

#: The groups: a class derived from ``reluopt.losses.Loss``; what makes a ``reluopt.solvers.Solver``.
LOSSES, SOLVERS = "reluopt.losses", "reluopt.solvers"


def announced(group: str) -> list[str]:
    """The names that installed packages announce in a group; nothing of theirs is loaded."""
    return sorted({entry.name for entry in entry_points(group=group)})


def load(group: str, name: str) -> Any:
    """What is announced under a name.

    Raises
    ------
    ConfigError : it is announced, and cannot be loaded. KeyError : nobody announces it.
    """
    for entry in entry_points(group=group, name=name):
        try:
            return entry.load()
        except Exception as error:
            raise ConfigError(
                f"'{name}' of another package cannot be loaded: {type(error).__name__}: {error}.",
                f"Mend or remove the package that announces '{entry.value}'.",
            ) from error
    raise KeyError(name)
