"""All bounds by their names, and the race that decides which of them gets the clock. A new bound is one line here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from reluopt.bounds.affine_slopes import AffineSlopes
from reluopt.bounds.all_cells import AllCells
from reluopt.bounds.branch_and_bound import BranchAndBound, DoublyNonnegative
from reluopt.bounds.clique import Cliques
from reluopt.bounds.hyperplanes import Hyperplanes
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.output_moments import OutputMoments
from reluopt.bounds.protocol import Bound, Start, best_of
from reluopt.bounds.second_moments import SecondMoments
from reluopt.bounds.simplicial import SmallRank
from reluopt.bounds.spectral_norm import SpectralNorm
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.losses import Loss
from reluopt.problem import Problem, as_problem

#: Every bound by its name, in the order in which a race tries them: quick ones, then the tightest first.
BOUNDS: dict[str, Bound] = {
    bound.name: bound
    for bound in (
        SpectralNorm(),
        SecondMoments(),
        AffineSlopes(),
        OutputMoments(),
        AllCells(),
        SmallRank(),
        Hyperplanes(),
        BranchAndBound(),
        Cliques(),
        DoublyNonnegative(),
    )
}
#: The share of the clock that quick bounds may take together where another bound follows.
QUICK = 0.3
#: The share of what is left that each of several bounds gets before the best of them gets the rest.
TRIAL = 0.08


def race(
    problem: Problem,
    start: Start | None = None,
    clock: Clock | None = None,
    *,
    stop_at: float = math.inf,
    device: str | torch.device = "cpu",
    names: Iterable[str] | None = None,
    quick: bool = True,
) -> Iterator[LowerBound]:
    """Proved bounds of one problem as they are found, each bound starting from what those before it brought.

    The quick bounds run first, then one that is final (p* itself) if it suits. Of all others that suit each is tried
    for a share of the clock, and the rest is for the one that has proved the most by then; when it ends before the
    clock, the next one goes on. What is yielded need not be better than what was before.

    Parameters
    ----------
    start : what is known already. ``clock`` : 60 s where there is none.
    stop_at : no bound is searched any further once one reaches this value (the objective of a network, say).
    device : where everything but the proofs is computed.
    names : run these bounds, whether they suit or not, in this order; quick ones have their share of the clock, the
        others share the rest equally.
    quick : without names: whether the quick ones run.

    Raises
    ------
    ConfigError : a name that is not in ``BOUNDS``, or one of a bound that does not take the problem.
    """
    course = _Course(problem, start or Start(), clock or Clock(60.0), stop_at, device)
    if names is not None:
        yield from course.shared(_named(problem, names))
        return
    suitable = [bound for bound in BOUNDS.values() if bound.takes(problem) and bound.suits(problem)]
    slow = [bound for bound in suitable if not bound.quick]
    if quick:
        yield from course.shared([bound for bound in suitable if bound.quick], last=not slow)
    final = next((bound for bound in slow if bound.final), None)
    if final is not None:
        yield from course.run(final, course.clock.part())
        return
    yield from course.contest(slow)


def _named(problem: Problem, names: Iterable[str]) -> list[Bound]:
    wanted = list(names)
    for name in wanted:
        if name not in BOUNDS:
            raise ConfigError(f"There is no bound '{name}'.", f"Choose from: {', '.join(BOUNDS)}.")
        BOUNDS[name].require(problem)
    return [BOUNDS[name] for name in wanted]


class _Course:
    """What the bounds of one race share: the problem, the clock, and all that was found so far."""

    def __init__(
        self, problem: Problem, start: Start, clock: Clock, stop_at: float, device: str | torch.device
    ) -> None:
        self.problem, self.start, self.clock, self.stop_at, self.device = problem, start, clock, stop_at, device
        #: the best value of each bound, and whether the race is over
        self.values, self.reached = dict[str, float](), False

    def run(self, bound: Bound, clock: Clock) -> Iterator[LowerBound]:
        """One bound from what is known."""
        for found in bound.run(self.problem, self.start, clock, self.device):
            self.start = self.start.after(found)
            self.values[bound.name] = max(self.values.get(bound.name, -math.inf), found.value)
            self.reached = found.value >= self.stop_at
            yield found
            if self.reached:
                return

    def shared(self, bounds: list[Bound], *, last: bool = True) -> Iterator[LowerBound]:
        """One after another; quick ones have their share each, the others what is left in equal parts."""
        for number, bound in enumerate(bounds):
            slower = sum(not other.quick for other in bounds[number:]) + (not last)
            if self.reached or (self.clock.over and not (bound.quick or bound.final)):
                continue
            yield from self.run(bound, self.clock.part(1.0 if not slower else QUICK if bound.quick else 1.0 / slower))

    def contest(self, bounds: list[Bound]) -> Iterator[LowerBound]:
        """A short try of each, the rest for the best of them; what ends by itself has no more to give.

        The first one, which is usually the best, plans for all of the time and only pauses; the others try in short.
        """
        while bounds and not (self.reached or self.clock.over):
            share = self.clock.part(TRIAL).left if len(bounds) > 1 else math.inf
            first, trial = self.run(bounds[0], self.clock.part()), self.clock.part(most=share)
            going = []
            for found in first:
                yield found
                if trial.over:
                    going = bounds[:1]
                    break
            for bound in bounds[1:]:
                if not (self.reached or self.clock.over):
                    trial = self.clock.part(most=share)
                    yield from self.run(bound, trial)
                    going += [bound] if trial.over else []
            if going and not (self.reached or self.clock.over):
                leader = max(going, key=lambda bound: self.values.get(bound.name, -math.inf))
                yield from first if leader is bounds[0] else self.run(leader, self.clock.part())
                going.remove(leader)
            bounds = going


def tightened(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    device: str | torch.device = "cpu",
    start: Start | None = None,
) -> LowerBound:
    """The best bound of a race: all cells where they are few, else whatever proves the most in a short try.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    time_limit : seconds (all cells take what they need, a few).
    stop_at, device, start : see ``race``.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    return best_of(race(problem, start, Clock(time_limit), stop_at=stop_at, device=device))
