"""The settings of the clique bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CliqueSettings:
    """What the search for cliques goes by; the defaults were best over the instances of ``experiments/certificates``.

    Attributes
    ----------
    smallest, largest, entries : samples of a clique at the start; cliques double up to ``largest``, or until all
        multipliers are ``entries`` numbers.
    penalty, iterations : in units of ‖multipliers‖/‖products‖, and of L-BFGS between two updates of the multipliers.
    last_penalty, last_iterations : for the last update, which must be accurate, for then its multipliers are nearly
        feasible.
    slow : cliques double when an update changes the primal value by less than this fraction.
    updates : and only if there is time for so many updates of the present cost before the last one.
    first, last : shares of the time for the moment bound, and until polishing. ``least`` : the share of the latter that
        is searched before the last update at least.
    again, gain : where more than this share of the time is left after all that, and the bound rose by more than this
        fraction, what is left is used in the same way.
    enough : multipliers are good enough when the level is this close to β/2.
    edge : how far from the edge of its range a slope of Theorem A is smoothed, in units of the moments.
    idle : ν of a sample whose row is zero, in units of |z|: whatever it is, it costs |z|/4ν and nothing else.
    ball : whether there are products with the ball, with one output. ``directions`` : u is seen through at most so many
        in them.
    envelopes : steps of the Moreau envelope of a loss with kinks: at first, at last; it falls by ``falls`` an update.
    """

    smallest: int = 32
    largest: int = 640
    entries: int = 2 * 10**7
    penalty: float = 80.0
    iterations: int = 60
    last_penalty: float = 20.0
    last_iterations: int = 300
    slow: float = 3e-3
    updates: int = 12
    first: float = 0.2
    last: float = 0.65
    least: float = 0.77
    again: float = 0.15
    gain: float = 1e-5
    enough: float = 1.0001
    edge: float = 0.01
    idle: float = 1e12
    envelopes: tuple[float, float] = (0.3, 0.05)
    falls: float = 0.7
    ball: bool = True
    directions: int = 64
