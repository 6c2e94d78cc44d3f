"""What a bound is to reluopt: a name, settings, the problems that it suits, and a search of which each step proves."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.lower_bound import LowerBound
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.problem import Problem

#: U (m, d) and α (m,) of a network.
Network = tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "m ..."]]


@dataclass(frozen=True, eq=False)
class Start:
    """All that is known when a search starts; whoever knows more hands it on.

    Attributes
    ----------
    network : (U, α) of a good network.
    moments : the moment bound of this problem, with its factors.
    z : (n,) or (n, C) a dual point, −κℓ'(f) of a good fit.
    """

    network: Network | None = None
    moments: LowerBound | None = None
    z: Float[np.ndarray, "n ..."] | None = None

    def after(self, bound: LowerBound) -> Start:
        """This start with what a bound of the same problem brings."""
        z = bound.scale * bound.z
        return replace(self, moments=self.moments if bound.factors is None else bound, z=z if z.any() else self.z)


@dataclass(frozen=True)
class Bound(ABC):
    """A way to bound p* from below. Settings of a bound are fields of its class, with defaults.

    A new bound is one file with one class derived from this, and its line in ``reluopt/bounds/registry.py``.
    """

    #: What users call it.
    name: ClassVar[str]
    #: Whether it takes so little time that it always runs first.
    quick: ClassVar[bool] = False
    #: Whether its bound is p* itself, if time does not end first: nothing is tighter.
    final: ClassVar[bool] = False
    #: Whether its search can do a problem with an output intercept. Free first-layer biases it must say itself.
    intercepts: ClassVar[bool] = False
    #: Whether it plans for all of its clock and proves little before: it gains nothing by going on after a pause.
    plans: ClassVar[bool] = False
    #: Seconds that pay so well that a certificate spends them even where it is to be fast; 0 of most.
    brisk: ClassVar[float] = 0.0

    def suits(self, problem: Problem) -> bool:
        """Whether this bound may be of use at this size: a race tries all that are. Any problem may be tried."""
        return True

    def foretold(self, problem: Problem) -> float:
        """About how many seconds a bound takes that proves nothing before its end."""
        return 0.0

    def takes(self, problem: Problem) -> bool:
        """Whether it can do this problem at all: one output, no pooled rows, no biases, unless it says otherwise."""
        biases = problem.biases
        plain = problem.outputs == 1 and problem.pooling is None
        return plain and (not biases or (self.intercepts and not biases.first_free))

    def require(self, problem: Problem) -> None:
        """Refuse a problem that this bound does not take.

        Raises
        ------
        ConfigError : it has several outputs, or one only, or biases that the bound cannot do.
        """
        if not self.takes(problem):
            problem.require_unpooled(f"The {self.name} bound")
            own = f" and {problem.biases.words}" if problem.biases else ""
            raise ConfigError(
                f"The {self.name} bound is not one of problems with {problem.outputs} output"
                f"{'s' if problem.outputs > 1 else ''}{own}.",
                "Take 'tightened', which chooses among those that are.",
            )

    @abstractmethod
    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """Proved bounds, one after another, each as soon as there is one that is better; at least one.

        The last one may come again: a race decides at whatever is yielded who goes on, and pauses the others there.

        Parameters
        ----------
        clock : when to stop. The search may be left at any bound it yields.
        device : where everything but the proof is computed.
        """

    def best(
        self,
        problem: Problem,
        start: Start | None = None,
        clock: Clock | None = None,
        *,
        stop_at: float = math.inf,
        device: str | torch.device = "cpu",
    ) -> LowerBound:
        """The best bound until the clock (60 s where there is none) is over, or until one reaches ``stop_at``.

        Raises
        ------
        ConfigError : a problem that this bound does not take.
        """
        self.require(problem)
        return best_of(self.run(problem, start or Start(), clock or Clock(60.0), device), stop_at)


def best_of(found: Iterable[LowerBound], stop_at: float = math.inf) -> LowerBound:
    """The bound of the largest value among those found until one reaches ``stop_at``; of equals the last."""
    best: LowerBound | None = None
    for bound in found:
        best = bound if best is None or bound.value >= best.value else best
        if best.value >= stop_at:
            break
    assert best is not None
    return best
