"""The losses, one file each; :class:`Loss` says what one must offer. A new loss is one file and one line here."""

from __future__ import annotations

import dataclasses

from reluopt.errors import ConfigError
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

#: What each parameter must satisfy.
_LIMITS = {"delta": (lambda v: 0.0 < v < 1e100, "above 0"), "tau": (lambda v: 0.0 < v < 1.0, "between 0 and 1")}


def make_loss(spec: str | Loss) -> Loss:
    """The loss of that name, with its parameter behind a colon: "squared", "huber:1.5", "quantile:0.9".

    Raises
    ------
    ConfigError : a name that does not exist, or a parameter outside of what is allowed.
    """
    if isinstance(spec, Loss):
        return spec
    name, _, parameter = str(spec).strip().lower().replace("-", "_").partition(":")
    kinds = {**LOSSES, **COUPLED}
    if name not in kinds:
        raise ConfigError(f"There is no loss '{spec}'.", f"Choose one of: {', '.join(kinds)}.")
    fields = [f.name for f in dataclasses.fields(kinds[name])]
    if not parameter:
        return kinds[name]()
    if not fields:
        raise ConfigError(f"The {name} loss takes no parameter, '{spec}' gives one.", f"Write '{name}'.")
    allowed, words = _LIMITS.get(fields[0], (lambda v: True, "finite"))
    try:
        value = float(parameter)
    except ValueError:
        value = float("nan")
    if not allowed(value):
        raise ConfigError(f"The parameter of '{spec}' is not a number {words}.", f"Write for example '{name}:0.5'.")
    return kinds[name](**{fields[0]: value})


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
    "make_loss",
]
