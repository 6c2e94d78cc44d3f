"""One network on one problem, and the one clock of its certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.stationary_point import NeuronPatterns, neuron_patterns
from reluopt.clock import Clock
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.relaxed import RelaxedProgram

T = TypeVar("T")


@dataclass
class Case:
    """What every part of a certificate looks at.

    Attributes
    ----------
    U (m, d), alpha (m,), intercept : the network's weights, as exact float64; the intercept is 0 where it has none.
    clock : of the whole certificate. ``say`` : receives a line on each step.
    notes : what was left out or cut short. ``solving`` : seconds spent on programs so far.
    stopped : the interrupt, once there was one.
    """

    problem: Problem
    U: Float[np.ndarray, "m d"]
    alpha: Float[np.ndarray, "m ..."]
    config: CertifyConfig
    clock: Clock
    say: Callable[[str], None]
    intercept: Float[np.ndarray, ...] | float = 0.0
    notes: list[str] = field(default_factory=list)
    solving: float = 0.0
    stopped: KeyboardInterrupt | None = None

    def unless_stopped(self, step: Callable[[], T], otherwise: T) -> T:
        """What the step gives; ``otherwise`` where it is interrupted, or an earlier one was."""
        if self.stopped is not None:
            return otherwise
        try:
            return step()
        except KeyboardInterrupt as stop:
            self.stop(stop)
            return otherwise

    def stop(self, stop: KeyboardInterrupt) -> None:
        """Do no more than what is left to be put together."""
        self.stopped = stop
        self.clock.stop()
        self.notes.append("It was interrupted: what was proved by then stands, the rest is missing.")

    @cached_property
    def z(self) -> Float[np.ndarray, "n ..."]:
        """The dual point −κ∂ℓ/∂f of the network's own fit; with free biases settled, after the best intercept."""
        f = self.problem.predict(self.U, self.alpha)
        return self.problem.balanced_dual_point(f) if self.problem.biases else self.problem.dual_point(f)

    @cached_property
    def sets(self) -> NeuronPatterns:
        """The pattern sets of the network."""
        tolerance, cap = self.config.kink_tolerance, self.config.kink_cap
        return neuron_patterns(self.problem.X, self.U, self.alpha, kink_tolerance=tolerance, kink_cap=cap)

    def program(self, patterns: PatternSet) -> RelaxedProgram:
        """The relaxed program of the problem over these patterns."""
        return RelaxedProgram(self.problem, patterns)
