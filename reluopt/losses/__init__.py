"""The losses, one file each; :class:`Loss` says what one must offer. A new loss is one file and one line here.

Installed packages bring their own by entry points of the group ``reluopt.losses`` (``reluopt/plugins.py``).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math

from reluopt import plugins
from reluopt.errors import ConfigError
from reluopt.losses.checking import check_loss
from reluopt.losses.cross_entropy import CrossEntropy
from reluopt.losses.hinge import Hinge, SquaredHinge
from reluopt.losses.huber import Huber
from reluopt.losses.logistic import Logistic
from reluopt.losses.protocol import Loss
from reluopt.losses.quantile import Absolute, Quantile
from reluopt.losses.squared import Squared

#: Every loss of one output by its name; of several outputs it is the sum.
LOSSES: dict[str, type[Loss]] = {
    loss.name: loss for loss in (Squared, Huber, Absolute, Quantile, Hinge, SquaredHinge, Logistic)
}
#: Losses that couple the outputs of a sample.
COUPLED: dict[str, type[Loss]] = {CrossEntropy.name: CrossEntropy}

logger = logging.getLogger(__name__)

#: What each parameter must satisfy.
_LIMITS = {"delta": (lambda v: 0.0 < v < 1e100, "above 0"), "tau": (lambda v: 0.0 < v < 1.0, "between 0 and 1")}


def make_loss(spec: str | Loss) -> Loss:
    """The loss of that name, with its parameter behind a colon: "squared", "huber:1.5", "quantile:0.9".

    Raises
    ------
    ConfigError : a name that does not exist, or a parameter outside of what is allowed; a loss of another package that
        cannot be loaded, is none, or is not consistent (:func:`check_loss`).
    """
    if isinstance(spec, Loss):
        return spec if type(spec).__module__.startswith("reluopt.losses.") else _checked(spec)
    name, _, parameter = str(spec).strip().lower().replace("-", "_").partition(":")
    kind = {**LOSSES, **COUPLED}.get(name) or _announced(name)
    if kind is None:
        known = [*LOSSES, *COUPLED, *plugins.announced(plugins.LOSSES)]
        raise ConfigError(f"There is no loss '{spec}'.", f"Choose one of: {', '.join(known)}.")
    fields = [f.name for f in dataclasses.fields(kind)]
    if not parameter:
        return make_loss(kind())
    if not fields:
        raise ConfigError(f"The {name} loss takes no parameter, '{spec}' gives one.", f"Write '{name}'.")
    allowed, words = _LIMITS.get(fields[0], (math.isfinite, "that is finite"))
    try:
        value = float(parameter)
    except ValueError:
        value = float("nan")
    if not allowed(value):
        raise ConfigError(f"The parameter of '{spec}' is not a number {words}.", f"Write for example '{name}:0.5'.")
    return make_loss(kind(**{fields[0]: value}))


@functools.lru_cache(maxsize=64)
def _checked(loss: Loss) -> Loss:
    """A loss from outside, which must not be taken for one of ours: of these the checker proves what it proves."""
    if {**LOSSES, **COUPLED}.get(loss.name, type(loss)) is not type(loss):
        raise ConfigError(
            f"A loss of another package is named '{loss.name}', as one of reluopt is.", "Give it another name."
        )
    check_loss(loss)
    _say_what_proofs_rest_on(loss.name)
    return loss


@functools.cache
def _say_what_proofs_rest_on(name: str) -> None:
    """Once a loss: its parameters change with the scale of the data."""
    logger.warning(
        "The independent checker does not know the %s loss: what is called proved is so if its conjugate is right.",
        name,
    )


def _announced(name: str) -> type[Loss] | None:
    """The loss that an installed package announces under a name, if one does."""
    try:
        kind = plugins.load(plugins.LOSSES, name)
    except KeyError:
        return None
    if not (isinstance(kind, type) and issubclass(kind, Loss) and kind.name == name):
        raise ConfigError(
            f"What another package announces as the loss '{name}' is none.",
            f"Announce a class derived from reluopt.losses.Loss with name = '{name}'.",
        )
    return kind


__all__ = [
    "COUPLED",
    "LOSSES",
    "Absolute",
    "CrossEntropy",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "Quantile",
    "Squared",
    "SquaredHinge",
    "check_loss",
    "make_loss",
]
