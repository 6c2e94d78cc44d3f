"""The side of `solve` that goes up: races of bounds in a thread, each from what refinement found by then."""

from __future__ import annotations

import math
import threading

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds import LowerBound, Start, race
from reluopt.clock import Clock
from reluopt.problem import Problem
from reluopt.search.records import Refined

#: The bound waits for a network whose prices are below this, or for this share of the budget.
READY_PRICE, READY_SHARE = 1.5, 0.1
#: A race of bounds gets this share of what is left; then the next one starts from what is known by then. Seconds that
#: are not worth a race of their own.
RACE_SHARE, SHORT = 0.5, 5.0
#: Where the search ended with a network that is better by no more than this than the one a race began with, another
#: race would build the same again: that one gets all that is left.
MUCH_BETTER, ENDED = 1e-3, ("settled", "inexact")


class Bounding:
    """The thread of the bounds, and what the two sides tell each other."""

    def __init__(
        self, problem: Problem, clock: Clock, gap: float, device: str | torch.device, best: LowerBound | None = None
    ) -> None:
        self.problem, self.clock, self.gap, self.device, self.best = problem, clock, gap, device, best
        self.iterate: Refined | None = None
        self.racing: tuple[Refined, Clock] | None = None
        self.moments: LowerBound | None = None
        self.dearer: Float[np.ndarray, "k d"] | None = None
        self.new_dearer: Float[np.ndarray, "k d"] | None = None
        self.failed: BaseException | None = None
        self.ready, self.news = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, name="bounds", daemon=True)

    def offer(self, iterate: Refined) -> None:
        """A better network to start from."""
        self.iterate = iterate
        self._let_it_end()
        early = iterate.price > READY_PRICE and iterate.status == "running"
        if not early or self.clock.spent > READY_SHARE * (self.clock.spent + self.clock.left):
            self.ready.set()

    def directions(self) -> Float[np.ndarray, "k d"] | None:
        """Neurons that the bounds found, as starts of pricing: second moments, and those dearer than β."""
        found = [] if self.moments is None or self.moments.factors is None else [self.moments.factors]
        parts = [factors[:, :, -self.problem.d :].reshape(-1, self.problem.d) for factors in found]
        parts += [] if self.dearer is None else [self.dearer]
        return np.vstack(parts) if parts else None

    def finds_dearer(self, tolerance: float) -> bool:
        """Whether a bound has found, since this was last asked, a neuron dearer than β(1 + tolerance) at the last z."""
        new, self.new_dearer = self.new_dearer, None
        if new is None or self.iterate is None:
            return False
        prices = np.abs(self.iterate.z.T @ np.maximum(self.problem.X @ new.T, 0.0))
        sizes = np.linalg.norm(self.problem.decayed(new), axis=1) if self.problem.biases.first_free else 1.0
        return bool((prices > self.problem.beta * (1.0 + tolerance) * sizes).any())

    @property
    def ended(self) -> bool:
        """Whether no more bounds will come, because the thread is done or was never started."""
        return not self.thread.is_alive()

    def join(self, *, patient: bool) -> KeyboardInterrupt | None:
        """Wait until the step at hand is done; if ``patient``, an interruption is given back, else it is raised."""
        self.ready.set()
        if self.thread.ident is None:
            return None
        try:
            self.thread.join()
        except KeyboardInterrupt as stop:
            if not patient:
                raise
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

    def _let_it_end(self) -> None:
        """The race at hand gets all that is left if the next one would begin where it did."""
        now, racing = self.iterate, self.racing
        if now is not None and racing is not None and now.status in ENDED:
            begun, share = racing
            if begun.objective <= (1.0 + MUCH_BETTER) * now.objective:
                share.extend()

    def _one_race(self) -> bool:
        """Whether another race makes sense after this one: it had not the time, or there is a better network."""
        iterate = self.iterate
        assert iterate is not None
        U, alpha, *_ = iterate.network.weights()
        start = Start(network=(U, alpha), moments=self.moments, z=iterate.z)
        share = self.clock.part(RACE_SHARE) if SHORT < self.clock.left < math.inf else self.clock.part()
        self.racing = iterate, share
        self._let_it_end()
        for found in race(self.problem, start, share, stop_at=iterate.objective / (1.0 + self.gap), device=self.device):
            if found.factors is not None:
                self.moments = found
            if found.dearer is not None:
                self.dearer = self.new_dearer = found.dearer
                self.news.set()
            if self.best is None or found.value > self.best.value:
                self.best = found
                self.news.set()
            if self.clock.over:
                return False
        return share.over or self.iterate is not iterate
