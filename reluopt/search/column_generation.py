"""The frame of the rounds of :mod:`reluopt.search.refinement`, for one output or several, in natural units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.clock import Clock
from reluopt.network import from_weights
from reluopt.pricing import Maximisers, Price
from reluopt.problem import Problem
from reluopt.search.records import Refined, RefineSettings

#: First smoothing of a loss with kinks, in natural units, where f is of size one; divided by SHARPER at a time.
FIRST_SMOOTHING, SHARPER = 0.1, 8.0
#: Rounds in a row that only weigh, at most: they may not reach the tolerance (rounding, or slow proximal steps).
MOST_WEIGHINGS = 5
#: Directions (k, d) to start from that somebody else knows, or None.
Near = Callable[[], Float[np.ndarray, "k d"] | None]


class ColumnGeneration(ABC):
    """Price, add, go down, and again. ``best`` (U, α) and ``value`` are the network with the least exact L so far.

    A kind of search has its own picture of the network, in natural units, from which it starts at ``best``; what it
    finds it offers with :meth:`_offer`.
    """

    def __init__(
        self,
        problem: Problem,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, "m ..."],
        settings: RefineSettings,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        self.given, self.settings, self.rng, self.clock = problem, settings, rng, clock
        self.exact, self.units = problem.scaled()
        self.smoothing = 0.0 if problem.loss.smooth else FIRST_SMOOTHING
        self.problem = _smoothed(self.exact, self.smoothing)
        merged = neurons.balanced(*neurons.merged(problem.X, U, alpha)) if len(alpha) else (U, alpha)
        # balanced or not by an ulp: L must not rise
        self.best = min(merged, (U, alpha), key=lambda network: problem.objective(*network))
        self.value = problem.objective(*self.best)
        self.weighings = 0

    def iterates(self, tolerance: float, most_rounds: int, near: Near) -> Iterator[Refined]:
        """See :func:`reluopt.search.refinement.refinements`."""
        for rounds in range(most_rounds + 1):
            fit = self._fit()
            z, beta = self.problem.dual_point(fit), self.problem.beta
            found = self._found(z, near, beta * (1 + tolerance))
            end = None
            if found.value > beta * (1 + tolerance):
                self.weighings = 0
            elif not self._sharpen(z, tolerance):
                end = self._end_without_dearer(z, fit, tolerance)
            status = "time" if self.clock.over else end or ("rounds" if rounds == most_rounds else "running")
            new = found.above(beta, self._most_new)
            yield self._iterate(z, found.value / beta, rounds, status, new.directions)
            if status != "running":
                return
            self._improve(new, found.value / beta, rounds)

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
    def _most_new(self) -> int:
        """Directions that may be added in this round."""

    @abstractmethod
    def _found(self, z: Float[np.ndarray, "n ..."], near: Near, enough: float) -> Price:
        """The dearest neurons; with many starts before nothing above ``enough`` is said to be there."""

    @abstractmethod
    def _improve(self, new: Maximisers, dearest: float, rounds: int) -> None:
        """Add what was found, and lower L; ``dearest`` is the largest price over β."""

    # -- what is the same for all --------------------------------------------------------------------------------------

    def _end_without_dearer(
        self, z: Float[np.ndarray, "n ..."], fit: Float[np.ndarray, "n ..."], tolerance: float
    ) -> str | None:
        """No neuron is dear enough: the end where the sizes at hand are optimal, zᵀf = β Σ‖u_j‖‖α_j‖, too."""
        paid = self.problem.beta * self._strength
        if abs(paid - float((z * fit).sum())) <= tolerance * paid:
            return "settled"
        self.weighings += 1
        return "inexact" if self.weighings > MOST_WEIGHINGS else None

    def _offer(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."]) -> None:
        """Keep the network, given in natural units, if its exact L is below the best so far."""
        U, alpha = neurons.balanced(U * self.units.weight, alpha * self.units.weight)
        value = self.given.objective(U, alpha)
        if value < self.value:
            self.best, self.value = (U, alpha), value

    def _sharpen(self, z: Float[np.ndarray, "n ..."], tolerance: float) -> bool:
        """Smooth a loss with kinks less where that can still matter; False where the smoothing is done."""
        positive = self.problem.weights > 0
        squares = np.square(z[positive]).reshape(int(positive.sum()), -1).sum(axis=1)
        error = 0.5 * self.smoothing * float((squares / self.problem.weights[positive]).sum())
        if error <= 0.1 * tolerance * max(self.value / self.units.value, 1e-300):
            return False
        self.smoothing /= SHARPER
        self.problem = _smoothed(self.exact, self.smoothing)
        return True

    def _iterate(
        self, z: Float[np.ndarray, "n ..."], dearest: float, rounds: int, status: str, new: Float[np.ndarray, "k d"]
    ) -> Refined:
        U, alpha = self.best
        count = len(alpha)
        if count == 0:
            U, alpha = np.zeros((1, self.given.d)), np.zeros((1, *self.given.targets.shape[1:]))
        network, z = from_weights(U, alpha), z * self.units.z
        return Refined(network, self.value, dearest, z, count, rounds, self.clock.spent, status, new)


def _smoothed(problem: Problem, smoothing: float) -> Problem:
    """The problem with its loss smoothed (itself where the loss is smooth)."""
    if problem.loss.smooth:
        return problem
    loss = problem.loss.smoothed(smoothing)
    return Problem(problem.X, problem.targets, loss, problem.beta, problem.weights, pooling=problem.pooling)
