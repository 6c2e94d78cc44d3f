"""Is a loss from outside what it says it is? What is proved rests on its conjugate, so a wrong one is refused.

Points and slopes are multiples of 1/4, and their pairs are all tried: that finds wrong signs, factors and domains. It
is no proof that a conjugate is right everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np

from reluopt.errors import ConfigError
from reluopt.losses.protocol import Loss

#: How far numbers in float64 may be from what they should be, relative to 1 + their size.
TOLERANCE = 1e-8
POINTS = np.arange(-12, 13) / 4.0


def check_loss(loss: Loss) -> None:
    """Hold the methods of a loss of one output against each other.

    - Young's inequality ℓ(f) ≥ D(z) − zf for all f and z, in exact arithmetic, with equality at z = −ℓ'(f);
    - ``gradient`` and ``prox`` are those of ``value``, which is convex;
    - ``value_exact`` and ``dual_exact`` are on the safe side of ``value`` and ``dual``, and near them;
    - ``rescaled`` keeps the values.

    A method that raises NotImplementedError is left aside.

    Raises
    ------
    ConfigError : the first that does not hold, with the numbers where it does not.
    """
    if loss.couples:
        return
    try:
        for target in (-1.0, 1.0) if loss.classes else (-1.0, 0.0, 1.25):
            for check in (_exact, _slopes, _prox, _scale):
                with suppress(NotImplementedError):  # what needs that method will say so
                    check(loss, np.full(len(POINTS), target))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"The {loss.name} loss broke while it was tried: {type(error).__name__}: {error}.",
            "Its methods take arrays of numpy and of torch, and Fractions where they are exact.",
        ) from error


def _refuse(loss: Loss, what: str, **where: Any) -> None:
    places = ", ".join(f"{name} = {float(value):g}" for name, value in where.items())
    raise ConfigError(f"The {loss.name} loss is not consistent: {what}, at {places}.", "Mend its methods.")


def _hold(loss: Loss, what: str, excess: np.ndarray, size: np.ndarray, y: np.ndarray) -> None:
    """Refuse if one of ``excess`` (by f) is above what rounding makes of numbers of that size."""
    bad = ~(excess <= TOLERANCE * (1.0 + np.abs(size)))
    if bad.any():
        at = int(np.flatnonzero(bad.reshape(len(POINTS), -1).any(axis=1))[0])
        _refuse(loss, what, f=POINTS[at], y=y[0])


def _slopes(loss: Loss, y: np.ndarray) -> None:
    value, slope = loss.value(POINTS, y), loss.gradient(POINTS, y)
    lines = value[:, None] + slope[:, None] * (POINTS - POINTS[:, None])
    _hold(loss, "gradient is not the slope of a convex value", lines - value, lines, y)
    young = loss.dual(-slope, y) + slope * POINTS
    _hold(loss, "D(−gradient) is not value + f·gradient's conjugate", np.abs(value - young), value, y)


def _prox(loss: Loss, y: np.ndarray) -> None:
    for step in (0.25, 2.0):
        p = loss.prox(POINTS, y, step)
        lines = loss.value(p, y)[:, None] + ((POINTS - p) / step)[:, None] * (POINTS - p[:, None])
        _hold(loss, f"prox with step {step} does not minimise", lines - loss.value(POINTS, y), lines, y)


def _scale(loss: Loss, y: np.ndarray) -> None:
    if loss.classes:
        return
    other, factor = loss.rescaled(2.0)
    value = loss.value(2.0 * POINTS, 2.0 * y)
    _hold(loss, "rescaled(2) changes the values", np.abs(value - factor * other.value(POINTS, y)), value, y)


def _exact(loss: Loss, y: np.ndarray) -> None:
    target = Fraction(float(y[0]))
    low, high = (float(end[0]) for end in loss.domain(y))
    slopes = {float(z) for z in np.clip(POINTS, low, high)}
    values = {f: loss.value_exact(Fraction(f), target) for f in POINTS.tolist()}
    for f, exact in values.items():
        _near(loss, "value_exact is below value, or far from it", exact, loss.value, f, y, least=True)
    for z in slopes:
        dual = loss.dual_exact(Fraction(z), target)
        if dual is None:
            _refuse(loss, "dual_exact is None inside of the domain", z=z, y=y[0])
            return
        _near(loss, "dual_exact is above dual, or far from it", dual, loss.dual, z, y, least=False)
        for f, exact in values.items():
            if exact < dual - Fraction(z) * Fraction(f):
                _refuse(loss, "dual_exact is above the conjugate, ℓ(f) < D(z) − zf", f=f, z=z, y=y[0])


def _near(
    loss: Loss, what: str, exact: Fraction, method: Callable[..., Any], at: float, y: np.ndarray, *, least: bool
) -> None:
    found = float(method(np.array([at]), y[:1])[0])
    room = TOLERANCE * (1.0 + abs(found))
    off = float(exact) - found if least else found - float(exact)
    if not -room <= off <= room:
        _refuse(loss, what, **{"f" if least else "z": at}, y=y[0])
