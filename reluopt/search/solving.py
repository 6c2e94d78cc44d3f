"""Down and up at once: refinement lowers a network's L while bounds on p* rise, until they are close enough."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from reluopt import printing
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.machine import usable_device
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem, as_problem
from reluopt.rigor import rounding
from reluopt.search.bounding import Bounding
from reluopt.search.records import Earlier, Progress, Refined, Solved, SolveInterrupted
from reluopt.search.refinement import refinements
from reluopt.threads import one_thread_if_small

#: Seconds between looks at the bound while the network waits.
LOOK = 0.05
#: ``keep`` is called again after so many seconds, and after so many times what it took.
KEEP_SECONDS, KEEP_SHARE = 5.0, 20.0


def solve_problem(
    problem: Any,
    *,
    gap: float = 0.05,
    budget: float = 120.0,
    network: TwoLayerReLU | None = None,
    seed: int = 0,
    tolerance: float = 1e-4,
    callback: Callable[[Progress], object] | None = None,
    keep: Callable[[Solved], object] | None = None,
    earlier: Earlier | None = None,
    clock: Clock | None = None,
    device: str | torch.device = "cpu",
    bounds: bool = True,
    most_rounds: int = 1000,
) -> Solved:
    """Refine a network and bound p* side by side, in two threads, until L/bound − 1 ≤ ``gap`` is proved.

    The bounds start from the network and its z, pricing from the bounds' moment factors.

    Parameters
    ----------
    problem : a :class:`~reluopt.Problem`.
    budget : seconds, after which what was found and proved by then is returned.
    network : where to start; from nothing unless given. ``seed``, ``tolerance`` : see ``refine``.
    callback : called with every new line of the trace.
    keep : called now and then with what is known (status "running"), so that it can be written down.
    earlier : an earlier session of the same problem, which goes on with its ``network`` and its bound; what it spent
        is part of the budget.
    clock : ends the search in the place of a clock of ``budget`` seconds that starts now.
    device : where the bounds are computed. ``bounds`` : False looks for a network alone, in one thread.
    most_rounds : of refinement.

    Raises
    ------
    ConfigError : a gap or a budget that is not positive, a device that cannot be used.
    DataError : a network for data of another width.
    SolveInterrupted : a KeyboardInterrupt, with what was found by then.
    """
    problem = as_problem(problem)
    for name, value in (("gap", gap), ("budget", budget)):
        if not value > 0:
            raise ConfigError(f"The {name} is {value}.", "Give a positive number.")
    usable_device(str(device))
    before = 0.0 if earlier is None else earlier.seconds
    clock = clock or Clock(max(0.0, budget - before))
    side = Bounding(problem, clock, gap, device, None if earlier is None else earlier.bound)
    down = partial(
        refinements, problem, clock=clock, tolerance=tolerance, near=side.directions, most_rounds=most_rounds
    )
    story = _Story(problem, gap, side, clock, callback, keep, earlier)
    stopped: KeyboardInterrupt | None = None
    with one_thread_if_small(256.0 * problem.X.size):
        try:
            if bounds:
                side.thread.start()
            going = True
            while going:
                going = False
                for iterate in down(network, seed=seed):
                    story.tell(iterate)
                    side.offer(iterate)
                    if story.closed or iterate.status == "time":
                        break
                while not (going or story.closed or side.ended or clock.over):
                    side.news.wait(min(LOOK, clock.left))
                    story.look()
                    # where a bound prices exactly it may find what the search did not
                    going = iterate.status in ("settled", "inexact") and side.finds_dearer(tolerance)
                    network, seed = iterate.network, seed + 1
        except KeyboardInterrupt as stop:
            stopped = stop
        finally:
            late = clock.over
            clock.stop()
            stopped = side.join(patient=stopped is None) or stopped
    story.look()
    side.reraise()
    solved = story.end(
        "interrupted" if stopped is not None else "gap" if story.closed else "budget" if late else "exhausted"
    )
    if stopped is not None:
        raise SolveInterrupted(solved, stopped) from stopped
    return solved


class _Story:
    """The trace, and whether the gap is closed with proof."""

    def __init__(
        self,
        problem: Problem,
        gap: float,
        side: Bounding,
        clock: Clock,
        callback: Callable[[Progress], object] | None,
        keep: Callable[[Solved], object] | None,
        earlier: Earlier | None,
    ) -> None:
        self.problem, self.gap, self.side, self.clock = problem, gap, side, clock
        self.callback, self.keep = callback, keep
        self.trace: list[Progress] = [] if earlier is None else list(earlier.trace)
        self.before = 0.0 if earlier is None else earlier.seconds
        self.iterate: Refined | None = None
        self.closed = False
        self.next_keep, self.unkept = -math.inf, False

    @property
    def seconds(self) -> float:
        """Of all sessions."""
        return self.before + self.clock.spent

    def tell(self, iterate: Refined | None = None) -> None:
        """One more line, of a new iterate or a new bound."""
        self.side.news.clear()
        self.iterate = iterate = iterate or self.iterate
        assert iterate is not None
        lower = -math.inf if self.side.best is None else self.side.best.value
        excess = float(printing.excess(iterate.objective, lower))
        line = Progress(self.seconds, iterate.objective, lower, excess, iterate.price, iterate.neurons)
        self.trace.append(line)
        if excess <= self.gap:
            self.closed = printing.excess(self.problem.objective_upper(*iterate.network.weights()), lower) <= self.gap
        if self.callback is not None:
            self.callback(line)
        self._keep()

    def _keep(self) -> None:
        self.unkept = self.keep is not None and time.monotonic() < self.next_keep
        if self.keep is None or self.unkept:
            return
        started = time.monotonic()
        self.keep(self.end("running"))
        ended = time.monotonic()
        self.next_keep = ended + max(KEEP_SECONDS, KEEP_SHARE * (ended - started))

    def look(self) -> None:
        """A line where the bound is news; what came too soon after the last time is kept when its time has come."""
        best = self.side.best
        if best is not None and self.iterate is not None and best.value > self.trace[-1].bound:
            self.tell()
        elif self.unkept:
            self._keep()

    def end(self, status: str) -> Solved:
        """The record."""
        iterate, bound = self.iterate, self.side.best
        if iterate is None:  # interrupted before the first iterate
            iterate = next(refinements(self.problem, clock=Clock(0.0)))
        upper = self.problem.objective_upper(*iterate.network.weights())
        excess = math.inf if bound is None else printing.excess(upper, bound.value)
        gap = rounding.round_up(excess) if isinstance(excess, Fraction) else excess
        return Solved(iterate.network, upper, bound, gap, status, self.seconds, iterate, tuple(self.trace))
