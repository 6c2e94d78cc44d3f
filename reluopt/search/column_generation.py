"""The frame of the rounds of :mod:`reluopt.search.refinement`, for one output or several, in natural units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock
from reluopt.natural import NaturalUnits, Network
from reluopt.network import from_weights
from reluopt.pricing import Maximisers, Price
from reluopt.problem import Problem
from reluopt.search.records import Refined, RefineSettings

#: First smoothing of a loss with kinks, in natural units, where f is of size one; divided by SHARPER at a time.
FIRST_SMOOTHING, SHARPER = 0.1, 8.0
#: Rounds in a row that only weigh, at most: they may not reach the tolerance (rounding, or slow proximal steps). The
#: same number of rounds in which nothing moves, by more than UNMOVED in natural units, are enough too.
MOST_WEIGHINGS, UNMOVED = 5, 1e-12
#: Directions (k, d) to start from that somebody else knows, or None.
Near = Callable[[], Float[np.ndarray, "k d"] | None]


class ColumnGeneration(ABC):
    """Price, add, go down, and again. ``best`` (U, α, c) and ``value`` are the network with the least exact L so far.

    A kind of search has its own picture of the network, in natural units, from which it starts at ``start``; what it
    finds it offers with :meth:`_offer`.
    """

    def __init__(
        self,
        problem: Problem,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, "m ..."],
        intercept: Float[np.ndarray, ...],
        settings: RefineSettings,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        self.given, self.settings, self.rng, self.clock = problem, settings, rng, clock
        self.natural = NaturalUnits(problem)
        self.exact, self.units = self.natural.problem, self.natural.units
        self.smoothing = 0.0 if problem.loss.smooth else FIRST_SMOOTHING
        self.problem = _smoothed(self.exact, self.smoothing)
        inner, outer, c = self.natural.inside(U, alpha, intercept)
        merged = self.exact.merged(inner, outer) if len(outer) else (inner, outer)
        tidy = self.natural.outside(*self._tidy(merged[0], merged[1], c, self.exact))
        # balanced or not by an ulp: L must not rise
        self.best = min(tidy, (U, alpha, intercept), key=lambda network: problem.objective(*network))
        self.value = problem.objective(*self.best)
        self.weighings = self.unmoved = 0
        self.before: Float[np.ndarray, "n ..."] | None = None

    def iterates(self, tolerance: float, most_rounds: int, near: Near) -> Iterator[Refined]:
        """See :func:`reluopt.search.refinement.refinements`."""
        for rounds in range(most_rounds + 1):
            fit = self._fit()
            z, beta = self._dual_point(fit), self.problem.beta
            found = self._found(z, near, beta * (1 + tolerance))
            end, dear = None, found.value > beta * (1 + tolerance)
            if dear and self._moves(fit):
                self.weighings = 0
            elif not self._sharpen(z, tolerance):
                end = "inexact" if dear else self._end_without_dearer(z, fit, tolerance)
            status = "time" if self.clock.over else end or ("rounds" if rounds == most_rounds else "running")
            new = found.above(beta, self._most_new)
            yield self._iterate(z, found.value / beta, rounds, status, self.natural.moved_back(new.directions))
            if status != "running":
                return
            self._improve(new, found.value / beta, rounds)

    def _moves(self, fit: Float[np.ndarray, "n ..."]) -> bool:
        """Whether rounds still change f; else the neurons that are found are dear by no more than can be weighed."""
        before, self.before = self.before, fit
        still = before is not None and bool((np.abs(fit - before) <= UNMOVED * (1.0 + np.abs(fit))).all())
        self.unmoved = self.unmoved + 1 if still else 0
        return self.unmoved < MOST_WEIGHINGS

    # -- what a kind of search does ------------------------------------------------------------------------------------

    @abstractmethod
    def _fit(self) -> Float[np.ndarray, "n ..."]:
        """Outputs of the present network."""

    @property
    @abstractmethod
    def _strength(self) -> float:
        """Σ‖u_j‖‖α_j‖ of the present network."""

    @property
    @abstractmethod
    def _intercept(self) -> Float[np.ndarray, ...]:
        """c of the present network, 0 where there is none."""

    @property
    @abstractmethod
    def _most_new(self) -> int:
        """Directions that may be added in this round."""

    @abstractmethod
    def _found(self, z: Float[np.ndarray, "n ..."], near: Near, enough: float) -> Price:
        """The dearest neurons; with many starts before nothing above ``enough`` is said to be there."""

    @abstractmethod
    def _improve(self, new: Maximisers, dearest: float, rounds: int) -> None:
        """Add what was found, and lower L; ``dearest`` is the largest price over β."""

    # -- what is the same for all --------------------------------------------------------------------------------------

    @property
    def start(self) -> Network:
        """``best`` in natural units."""
        U, alpha, c = self.natural.inside(*self.best)
        return self._tidy(U, alpha, c, self.problem)

    def _dual_point(self, fit: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        """z of the present network's fit, at the best intercept where there is one."""
        if not self.problem.biases:
            return self.problem.dual_point(fit)
        return self.problem.balanced_dual_point(fit - self._intercept)

    def _tidy(
        self,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, "m ..."],
        c: Float[np.ndarray, ...],
        problem: Problem,
    ) -> Network:
        """The neurons with the best intercept for ``problem`` (smoothed or not), where their fit is finite."""
        if not problem.biases.intercept:
            return U, alpha, c
        U = self.natural.with_near_kinks(U)
        fit = problem.predict(U, alpha)
        return U, alpha, np.asarray(problem.best_intercept(fit)) if np.isfinite(fit).all() else c

    def _end_without_dearer(
        self, z: Float[np.ndarray, "n ..."], fit: Float[np.ndarray, "n ..."], tolerance: float
    ) -> str | None:
        """No neuron is dear enough: the end where the sizes at hand are optimal, zᵀf = β Σ‖u_j‖‖α_j‖, too."""
        paid = self.problem.beta * self._strength
        if abs(paid - float((z * (fit - self._intercept)).sum())) <= tolerance * paid:
            return "settled"
        self.weighings += 1
        return "inexact" if self.weighings > MOST_WEIGHINGS else None

    def _offer(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], c: Float[np.ndarray, ...]) -> None:
        """Keep the network, given in natural units, if its exact L is below the best so far."""
        network = self.natural.outside(*(self._tidy(U, alpha, c, self.exact) if self.smoothing else (U, alpha, c)))
        value = self.given.objective(*network)
        if value < self.value:
            self.best, self.value = network, value

    def _sharpen(self, z: Float[np.ndarray, "n ..."], tolerance: float) -> bool:
        """Smooth a loss with kinks less where that can still matter; False where the smoothing is done."""
        positive = self.problem.weights > 0
        squares = np.square(z[positive]).reshape(int(positive.sum()), -1).sum(axis=1)
        error = 0.5 * self.smoothing * float((squares / self.problem.weights[positive]).sum())
        if error <= 0.1 * tolerance * max(self.value / self.units.value, 1e-300):
            return False
        self.smoothing /= SHARPER
        self.unmoved = 0
        self.problem = _smoothed(self.exact, self.smoothing)
        return True

    def _iterate(
        self, z: Float[np.ndarray, "n ..."], dearest: float, rounds: int, status: str, new: Float[np.ndarray, "k d"]
    ) -> Refined:
        U, alpha, c = self.best
        count = len(alpha)
        if count == 0:
            U, alpha = np.zeros((1, self.given.d)), np.zeros((1, *self.given.targets.shape[1:]))
        network = from_weights(U, alpha, c if self.given.biases.intercept else None)
        z = z * self.units.z
        z = self.given.settled(z) if self.given.biases else z
        return Refined(network, self.value, dearest, z, count, rounds, self.clock.spent, status, new)


def _smoothed(problem: Problem, smoothing: float) -> Problem:
    """The problem with its loss smoothed (itself where the loss is smooth)."""
    if problem.loss.smooth:
        return problem
    return problem.with_loss(problem.loss.smoothed(smoothing))
