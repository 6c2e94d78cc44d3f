"""Down and up at once: refinement lowers a network's L while bounds on p* rise, until they are close enough."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float

from reluopt import printing
from reluopt.bounds import LowerBound, Start, race
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.interrupts import exit_code
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.rigor import rounding
from reluopt.search.records import Refined
from reluopt.search.refinement import refinements
from reluopt.threads import one_thread_if_small

#: The bound waits for a network whose prices are below this, or for this share of the budget.
READY_PRICE, READY_SHARE = 1.5, 0.1
#: A race of bounds gets this share of what is left; then the next one starts from what is known by then. Seconds that
#: are not worth a race of their own.
RACE_SHARE, SHORT = 0.5, 5.0
#: Seconds between looks at the bound while the network waits.
LOOK = 0.05


@dataclass(frozen=True)
class Progress:
    """One line of the race: seconds, L, bound, gap = L/bound − 1 (``inf`` without a bound), price/β, neurons."""

    seconds: float
    objective: float
    bound: float
    gap: float
    price: float
    neurons: int


@dataclass(frozen=True, eq=False)
class Solved:
    """A network with a proof of how good it is.

    Attributes
    ----------
    network : the best one found. ``objective`` : a proved upper bound on its L.
    bound : the best proved lower bound on p*, with its evidence; None where none was found in time.
    gap : objective/bound − 1, rounded up: L is at most so much above the optimum of every width.
    status : "gap" (it is at most what was asked for), "budget" (the time is over), or "exhausted" (no dearer neuron
        was found and the bounds are at their ends).
    refined : the last iterate of the refinement.
    trace : the way there.
    """

    network: TwoLayerReLU
    objective: float
    bound: LowerBound | None
    gap: float
    status: str
    seconds: float
    refined: Refined
    trace: tuple[Progress, ...] = field(repr=False)


class SolveInterrupted(KeyboardInterrupt):
    """Solving was interrupted; ``solved`` holds what was found and proved by then (status "interrupted")."""

    def __init__(self, solved: Solved, stop: KeyboardInterrupt) -> None:
        super().__init__("Interrupted: what was found and proved by then stands.")
        self.solved, self.signum = solved, exit_code(stop) - 128


def solve_problem(
    problem: Problem,
    *,
    gap: float = 0.05,
    budget: float = 120.0,
    network: TwoLayerReLU | None = None,
    seed: int = 0,
    tolerance: float = 1e-4,
    callback: Callable[[Progress], object] | None = None,
    device: str | torch.device = "cpu",
) -> Solved:
    """Refine a network and bound p* side by side, in two threads, until L/bound − 1 ≤ ``gap`` is proved.

    The bounds start from the network and its z, pricing from the bounds' moment factors.

    Parameters
    ----------
    budget : seconds, after which what was found and proved by then is returned.
    network : where to start; from nothing unless given. ``seed``, ``tolerance`` : see ``refine``.
    callback : called with every new line of the trace.
    device : where the bounds are computed.

    Raises
    ------
    ConfigError : a gap or a budget that is not positive. DataError : a network for data of another width.
    SolveInterrupted : a KeyboardInterrupt, with what was found by then.
    """
    problem.require_one_output("'solve'")
    for name, value in (("gap", gap), ("budget", budget)):
        if not value > 0:
            raise ConfigError(f"The {name} is {value}.", "Give a positive number.")
    clock = Clock(budget)
    side = _Bounding(problem, clock, gap, device)
    iterates = refinements(problem, network, clock=clock, tolerance=tolerance, seed=seed, near=side.directions)
    story = _Story(problem, gap, side, callback, clock)
    stopped: KeyboardInterrupt | None = None
    with one_thread_if_small(256.0 * problem.X.size):
        side.thread.start()
        try:
            for iterate in iterates:
                story.tell(iterate)
                side.offer(iterate)
                if story.closed or iterate.status == "time":
                    break
            while not (story.closed or side.ended or clock.over):
                side.news.wait(min(LOOK, clock.left))
                story.look()
        except KeyboardInterrupt as stop:
            stopped = stop
        finally:
            late = clock.over
            clock.stop()
            stopped = side.join() or stopped
    story.look()
    side.reraise()
    solved = story.end(
        "interrupted" if stopped is not None else "gap" if story.closed else "budget" if late else "exhausted"
    )
    if stopped is not None:
        raise SolveInterrupted(solved, stopped) from stopped
    return solved


class _Bounding:
    """The thread of the bounds, and what the two sides tell each other."""

    def __init__(self, problem: Problem, clock: Clock, gap: float, device: str | torch.device) -> None:
        self.problem, self.clock, self.gap, self.device = problem, clock, gap, device
        self.iterate: Refined | None = None
        self.best: LowerBound | None = None
        self.moments: LowerBound | None = None
        self.failed: BaseException | None = None
        self.ready, self.news = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, name="bounds", daemon=True)

    def offer(self, iterate: Refined) -> None:
        """A better network to start from."""
        self.iterate = iterate
        early = iterate.price > READY_PRICE and iterate.status == "running"
        if not early or self.clock.spent > READY_SHARE * (self.clock.spent + self.clock.left):
            self.ready.set()

    def directions(self) -> Float[np.ndarray, "k d"] | None:
        """The second moments of neurons that the bound found, as starts of pricing."""
        factors = None if self.moments is None else self.moments.factors
        return None if factors is None else factors[:, :, 1:].reshape(-1, factors.shape[2] - 1)

    @property
    def ended(self) -> bool:
        """Whether no more bounds will come."""
        return not self.thread.is_alive()

    def join(self) -> KeyboardInterrupt | None:
        """Wait until the step at hand is done; an interruption meanwhile is given back, a second one is raised."""
        self.ready.set()
        try:
            self.thread.join()
        except KeyboardInterrupt as stop:
            self.thread.join()
            return stop
        return None

    def reraise(self) -> None:
        """What went wrong there is an error here."""
        if self.failed is not None:
            raise self.failed

    def _run(self) -> None:
        try:
            self.ready.wait()
            while not self.clock.over and self._one_race():
                pass
        except BaseException as error:
            self.failed = error
        finally:
            self.news.set()

    def _one_race(self) -> bool:
        """Whether another race makes sense after this one: it had not the time, or there is a better network."""
        iterate = self.iterate
        assert iterate is not None
        start = Start(network=iterate.network.weights(), moments=self.moments, z=iterate.z)
        share = self.clock.part(RACE_SHARE) if SHORT < self.clock.left < math.inf else self.clock.part()
        for found in race(self.problem, start, share, stop_at=iterate.objective / (1.0 + self.gap), device=self.device):
            if found.factors is not None:
                self.moments = found
            if self.best is None or found.value > self.best.value:
                self.best = found
                self.news.set()
            if self.clock.over:
                return False
        return share.over or self.iterate is not iterate


class _Story:
    """The trace, and whether the gap is closed with proof."""

    def __init__(
        self,
        problem: Problem,
        gap: float,
        side: _Bounding,
        callback: Callable[[Progress], object] | None,
        clock: Clock,
    ) -> None:
        self.problem, self.gap, self.side, self.callback, self.clock = problem, gap, side, callback, clock
        self.trace: list[Progress] = []
        self.iterate: Refined | None = None
        self.closed = False

    def tell(self, iterate: Refined | None = None) -> None:
        """One more line, of a new iterate or a new bound."""
        self.side.news.clear()
        self.iterate = iterate = iterate or self.iterate
        assert iterate is not None
        lower = -math.inf if self.side.best is None else self.side.best.value
        excess = float(printing.excess(iterate.objective, lower))
        line = Progress(self.clock.spent, iterate.objective, lower, excess, iterate.price, iterate.neurons)
        self.trace.append(line)
        if excess <= self.gap:
            self.closed = printing.excess(self.problem.objective_upper(*iterate.network.weights()), lower) <= self.gap
        if self.callback is not None:
            self.callback(line)

    def look(self) -> None:
        """A line where the bound is news."""
        best = self.side.best
        if best is not None and self.trace and best.value > self.trace[-1].bound:
            self.tell()

    def end(self, status: str) -> Solved:
        """The record."""
        iterate, bound = self.iterate, self.side.best
        if iterate is None:  # interrupted before the first iterate
            iterate = next(refinements(self.problem, clock=Clock(0.0)))
        upper = self.problem.objective_upper(*iterate.network.weights())
        excess = math.inf if bound is None else printing.excess(upper, bound.value)
        gap = rounding.round_up(excess) if isinstance(excess, Fraction) else excess
        return Solved(iterate.network, upper, bound, gap, status, self.clock.spent, iterate, tuple(self.trace))
