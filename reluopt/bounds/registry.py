"""All bounds by their names, and the race that decides which of them gets the clock. A new bound is one line here."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from reluopt.bounds.affine_slopes import AffineSlopes
from reluopt.bounds.all_cells import AllCells
from reluopt.bounds.branch_and_bound import BranchAndBound, DoublyNonnegative
from reluopt.bounds.clique import Cliques
from reluopt.bounds.fixed_hyperplanes import FixedHyperplanes
from reluopt.bounds.hyperplanes import Hyperplanes
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.output_moments import OutputMoments
from reluopt.bounds.protocol import Bound, Start, best_of
from reluopt.bounds.second_moments import SecondMoments
from reluopt.bounds.small_rank import SmallRank
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
        FixedHyperplanes(),
        BranchAndBound(),
        Cliques(),
        DoublyNonnegative(),
    )
}
#: The share of the clock that quick bounds may take together where another bound follows.
QUICK = 0.3
#: The share of what is left that each of several bounds gets before what it promises is believed.
TRIAL = 0.04
#: One that is final runs where what it foretells is at most this part of what is left; before it each other one is
#: tried for this part of that, as it may do.
AFFORDABLE, BEFORE_FINAL = 0.5, 0.2
#: Of the way to a goal a promise is believed this part; what plans first shows what twice its last run is worth, if so
#: many times that are left.
BELIEVED, WORTH_A_LOOK = 0.99, 4.0
#: One that plans stands still where its last run gained less than this of its distance to the goal, or a tenth of this
#: of its value.
STILL = 0.01


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

    The quick bounds run first. Of all others that suit each is tried for a share of the clock; from then on the one
    goes on of which the course so far promises the most at the end of the clock, while the others pause. Where one
    that is final (p* itself) suits and can be afforded it has all that is left after tries that are shorter. What is
    yielded need not be better than what was before.

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
    yield from course.finished(slow)


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
        #: whether the race is over, and whether anything is proved
        self.reached, self.proved = False, False

    def run(self, bound: Bound, clock: Clock) -> Iterator[LowerBound]:
        """One bound from what is known."""
        for found in bound.run(self.problem, self.start, clock, self.device):
            self.start, self.proved = self.start.after(found), True
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

    def finished(self, bounds: list[Bound]) -> Iterator[LowerBound]:
        """A contest of those that are not final, or short tries of them and then the final one, if there is time.

        Where nothing else has proved anything the final one runs in any case.
        """
        final = next((bound for bound in bounds if bound.final), None)
        others = [bound for bound in bounds if bound is not final]
        if final is None or self.reached or (self.proved and self.clock.over):
            yield from self.contest(others)
            return
        seconds = final.foretold(self.problem) if others and not self.clock.over else 0.0
        if seconds <= AFFORDABLE * self.clock.left:
            yield from self.contest(others, tries=BEFORE_FINAL * seconds)
        if seconds > AFFORDABLE * self.clock.left:
            yield from self.contest(others)
        if not self.reached and (seconds <= AFFORDABLE * self.clock.left or not self.proved):
            yield from self.run(final, self.clock.part())

    def contest(self, bounds: list[Bound], *, tries: float | None = None) -> Iterator[LowerBound]:
        """A short try of each, then always a turn of what promises the most; what ended has no more to give.

        ``tries`` : so many seconds for each try, and nothing after them.
        """
        trial = TRIAL * self.clock.left if tries is None else tries
        going = [_Contestant(self, bound) for bound in bounds]
        while going and not (self.reached or self.clock.over):
            untried = next((one for one in going if one.seconds < trial), None)
            if untried is None and tries is not None:
                return
            if untried is not None and (tries is not None or len(going) > 1):
                yield from untried.turn(max(0.5 * trial, min(2.0 * untried.seconds, trial)))
            else:
                left = self.clock.left
                best = max(going, key=lambda one: one.promise(left))
                look = 2.0 * best.seconds if len(going) > 1 else math.inf
                yield from best.turn(look if WORTH_A_LOOK * look < left else math.inf)
            going = [one for one in going if not one.ended]


class _Contestant:
    """One bound of a contest, and what it had proved after how many seconds of its own.

    A search pauses at whatever it yields. One that plans for its clock (``Bound.plans``) does not: every turn of it is
    a new run, which tells what so many seconds are worth.
    """

    def __init__(self, course: _Course, bound: Bound) -> None:
        self.course, self.bound, self.ended = course, bound, False
        #: of its own, all of them; and (seconds, the best value by then)
        self.seconds, self.history = 0.0, list[tuple[float, float]]()
        self._last = course.start.moments
        self._search: tuple[Iterator[LowerBound], Clock] | None = None

    def turn(self, most: float = math.inf) -> Iterator[LowerBound]:
        """Until it yields, or a whole run of ``most`` seconds of one that plans."""
        if self.bound.plans:
            yield from self._new_run(most)
            return
        if self._search is None:
            clock = self.course.clock.part()
            self._search = self.course.run(self.bound, clock), clock
        else:
            self._search[1].go_on()
        search, clock = self._search
        found = next(search, None)
        self.seconds, self.ended = clock.spent, found is None
        clock.pause()
        if found is not None:
            self._remember(found)
            if found is not self._last:  # else it only lets itself be paused
                self._last = found
                yield found

    def _new_run(self, most: float) -> Iterator[LowerBound]:
        """With all that is left it is the last one."""
        self.seconds, self.ended = min(most, self.course.clock.left), most == math.inf
        for found in self.course.run(self.bound, self.course.clock.part(most=most)):
            self._remember(found)
            yield found

    def _remember(self, found: LowerBound) -> None:
        self.history.append((self.seconds, max(found.value, self.history[-1][1] if self.history else -math.inf)))

    def promise(self, left: float) -> float:
        """Its value after T seconds of its own if it goes on as in about the last half of its t seconds.

        Whenever time doubles the distance to a goal shrinks by the same factor, or the value rises by the same. T is
        t + left, or left where it begins anew; then three runs tell how what a doubling is worth declines.
        """
        if not self.history:
            return -math.inf
        t, value, goal = self.seconds, self.history[-1][1], self.course.stop_at
        begun, before = self._at(0.5 * t)
        whole = left if self.bound.plans else t + left
        if self._still(begun, before):
            return -math.inf
        if not 0.0 < begun < t or whole <= t or not before < value < goal:
            return value
        doublings = math.log(whole / t) / math.log(t / begun)
        if self.bound.plans and (earlier := self._at(0.5 * begun))[0] < begun:
            kept = min(1.0, _gain(before, value, goal) / max(_gain(earlier[1], before, goal), 1e-300))
            doublings = doublings if kept == 1.0 else kept * (1.0 - kept**doublings) / (1.0 - kept)
        gain = doublings * _gain(before, value, goal)
        return value + gain if goal == math.inf else goal - max(math.exp(-gain), 1.0 - BELIEVED) * (goal - value)

    def _still(self, begun: float, before: float) -> bool:
        """Whether a new run of one that plans would prove what the last one has, as that gained nothing.

        Its two tries may be too short for it to prove anything: they do not tell.
        """
        value, goal = self.history[-1][1], self.course.stop_at
        looked = self.bound.plans and len({seconds for seconds, _ in self.history}) > 2
        least = STILL if goal < math.inf else 0.1 * STILL * abs(value)
        return looked and value < goal and begun < self.seconds and _gain(before, value, goal) < least

    def _at(self, seconds: float) -> tuple[float, float]:
        """(seconds, value) by then, or the first."""
        return self.history[max(0, bisect_right(self.history, (seconds * (1 + 1e-9), math.inf)) - 1)]


def _gain(before: float, value: float, goal: float) -> float:
    """Of the value, or of the logarithm of its distance to a goal."""
    return value - before if goal == math.inf else math.log(max(goal - before, 1e-300) / (goal - value))


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
    """The best bound of a race: all cells where there is time, else whatever promises the most after a short try.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    time_limit : seconds.
    stop_at, device, start : see ``race``.

    Raises
    ------
    DataError, ConfigError : see ``Problem``.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    return best_of(race(problem, start, Clock(time_limit), stop_at=stop_at, device=device))
