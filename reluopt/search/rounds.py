"""The rounds of :mod:`reluopt.search.refinement`, in units that suit every problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.clock import Clock
from reluopt.network import from_weights
from reluopt.pricing import Price, kink_flips, price
from reluopt.problem import Problem
from reluopt.search.descent import descend
from reluopt.search.lasso import OPTIMAL, lasso
from reluopt.search.records import Refined, RefineSettings

#: First smoothing of a loss with kinks, in natural units, where f is of size one; divided by SHARPER at a time.
FIRST_SMOOTHING, SHARPER = 0.1, 8.0
#: While prices are above this share of β L-BFGS runs in float32 and moves every new neuron anyway.
ROUGH = 1.01
#: The lasso is solved to a tenth of what is left of the prices, and at least to this.
ROUGHEST = 1e-2
#: Rounds that only weigh, at most.
MOST_WEIGHINGS = 5


class Search:
    """The state of the rounds: directions W (K, d), signed weights w (K,), in the problem's natural units."""

    def __init__(
        self,
        problem: Problem,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, " m"],
        settings: RefineSettings,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        self.given, self.settings, self.rng, self.clock = problem, settings, rng, clock
        self.exact, self.units = problem.scaled()
        self.smoothing = 0.0 if problem.loss.smooth else FIRST_SMOOTHING
        self.problem = _smoothed(self.exact, self.smoothing)
        self.best = neurons.balanced(*neurons.merged(problem.X, U, alpha)) if len(alpha) else (U, alpha)
        # balanced or not by an ulp: L must not rise
        self.best = min(self.best, (U, alpha), key=lambda network: problem.objective(*network))
        self.value = problem.objective(*self.best)
        self.W, self.w = _directions(self.best[0] / self.units.weight, self.best[1] / self.units.weight)
        self.climbs, self.rough, self.exactness = self.settings.climbs[0], True, ROUGHEST
        self.weighings = 0

    def iterates(
        self, tolerance: float, most_rounds: int, near: Callable[[], Float[np.ndarray, "k d"] | None]
    ) -> Iterator[Refined]:
        """See :func:`refinements`."""
        starts = self.settings.starts
        for rounds in range(most_rounds + 1):
            z = self.problem.dual_point(self._fit())
            enough = self.problem.beta * (1 + tolerance)
            found, starts, tried = self._price(z, near(), starts), min(starts, self.settings.most_usual), starts
            while not self.clock.over and found.value <= enough and tried < self.settings.confirm:
                starts = min(4 * starts, self.settings.most_usual, self.settings.confirm - tried)
                found, tried = self._price(z, near(), starts), tried + starts
            settled = found.value <= enough
            more = settled and (self._sharpen(tolerance) or self._weigh_again(z, tolerance))
            late = self.clock.over
            ends = "time" if late else "settled" if settled and not more else "rounds"
            status = ends if late or (settled and not more) or rounds == most_rounds else "running"
            used = int((self.w != 0).sum())
            new = found.above(self.problem.beta, max(self.settings.most_new, used))
            starts = self._starts_of_next(starts, len(new.values), used)
            self.exactness = float(np.clip(0.1 * (found.value / self.problem.beta - 1.0), OPTIMAL, ROUGHEST))
            self.rough = found.value > ROUGH * self.problem.beta
            self.climbs = self.settings.climbs[int(not self.rough)]
            yield self._iterate(z, found.value / self.problem.beta, rounds, status, new.directions)
            if status != "running":
                return
            self._improve(new.directions, rounds)

    # -- one round ---------------------------------------------------------------------------------------------------

    def _weigh_again(self, z: Float[np.ndarray, " n"], tolerance: float) -> bool:
        """Whether the weights of the neurons at hand are not optimal yet; a few times only, as rounding may be why."""
        paid = self.problem.beta * float(np.abs(self.w).sum())
        self.weighings += 1
        return self.weighings <= MOST_WEIGHINGS and unweighed(z, self._fit(), paid, tolerance)

    def _fit(self) -> Float[np.ndarray, " n"]:
        used = self.w != 0
        return _columns(self.problem.X, self.W[used]) @ self.w[used]

    def _starts_of_next(self, starts: int, found: int, used: int) -> int:
        """Two a neuron, so that a round can move them all; more where few are found."""
        usual = min(max(self.settings.starts, 2 * used), self.settings.most_usual)
        if found < self.settings.wanted:
            return min(max(usual, 2 * starts), self.settings.confirm)
        return usual

    def _price(self, z: Float[np.ndarray, " n"], near: Float[np.ndarray, "k d"] | None, starts: int) -> Price:
        """Maximisers from a quarter of ``starts`` each: neurons, their kink flips, neurons with noise, anything."""
        some = max(1, starts // 4)
        active, signs = self.W[self.w != 0], np.sign(self.w[self.w != 0])
        order = self.rng.permutation(len(active))
        flips, of = kink_flips(self.problem.X, active[order], some)
        noise = self.rng.standard_normal((some, self.problem.d)) / math.sqrt(self.problem.d)
        around = order[np.arange(some if len(order) else 0) % max(1, len(order))]
        more = [
            (active[order[:some]], signs[order[:some]]),
            (flips, signs[order[of]]),
            (active[around] + 0.5 * noise[: len(around)], signs[around]),
        ]
        if near is not None:
            more += [(near, np.ones(len(near))), (near, -np.ones(len(near)))]
        return price(
            self.problem, z, self.rng, starts=some // 2 or 1, iterations=self.climbs, near=more, clock=self.clock
        )

    def _improve(self, new: Float[np.ndarray, "k d"], rounds: int) -> None:
        """Weigh the old and the new directions, then descend; what does not lower L is not kept."""
        W, w = np.vstack([self.W, new]), np.concatenate([self.w, np.zeros(len(new))])
        w, _ = lasso(self.problem, _columns(self.problem.X, W), w, self.clock, self.exactness)
        used = w != 0
        self.W, self.w = W[~used], w[~used]
        U, alpha = neurons.merged(self.problem.X, *_neurons(W[used], w[used]))
        if rounds % self.settings.descend_every == 0 and not self.clock.over:
            self._push(*_directions(U, alpha), weights=False)
            U, alpha = descend(
                self.problem, U, alpha, self.settings.steps, self.clock, np.float32 if self.rough else np.float64
            )
        self._push(*_directions(U, alpha), weights=True)
        self._forget()
        self._offer(U, alpha)

    def _push(self, W: Float[np.ndarray, "k d"], w: Float[np.ndarray, " k"], *, weights: bool) -> None:
        self.W = np.vstack([self.W, W])
        self.w = np.concatenate([self.w, w if weights else np.zeros(len(w))])

    def _forget(self) -> None:
        """Drop the candidates that are cheap or too many."""
        prices = np.abs(_columns(self.problem.X, self.W).T @ self.problem.dual_point(self._fit()))
        used = self.w != 0
        prices[used] = np.inf
        most = int(used.sum() + max(100, self.settings.most_idle * used.sum()))
        order = np.argsort(-prices, kind="stable")[:most]
        keep = np.sort(order[prices[order] >= self.settings.idle * self.problem.beta])
        self.W, self.w = self.W[keep], self.w[keep]

    def _offer(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]) -> None:
        """Keep the network if its exact L is below the best so far."""
        U, alpha = neurons.balanced(U * self.units.weight, alpha * self.units.weight)
        value = self.given.objective(U, alpha)
        if value < self.value:
            self.best, self.value = (U, alpha), value

    # -- losses with kinks -------------------------------------------------------------------------------------------

    def _sharpen(self, tolerance: float) -> bool:
        """Smooth less where that can still matter; False where the smoothing is done."""
        z = self.problem.dual_point(self._fit())
        positive = self.problem.weights > 0
        error = 0.5 * self.smoothing * float((z[positive] ** 2 / self.problem.weights[positive]).sum())
        if error <= 0.1 * tolerance * max(self.value / self.units.value, 1e-300):
            return False
        self.smoothing /= SHARPER
        self.problem = _smoothed(self.exact, self.smoothing)
        return True

    def _iterate(
        self, z: Float[np.ndarray, " n"], dearest: float, rounds: int, status: str, new: Float[np.ndarray, "k d"]
    ) -> Refined:
        U, alpha = self.best
        count = len(alpha)
        if count == 0:
            U, alpha = np.zeros((1, self.given.d)), np.zeros(1)
        network, z = from_weights(U, alpha), z * self.units.z
        return Refined(network, self.value, dearest, z, count, rounds, self.clock.spent, status, new)


def unweighed(z: Float[np.ndarray, "n ..."], fit: Float[np.ndarray, "n ..."], paid: float, tolerance: float) -> bool:
    """Whether Σ z∘f is not β Σ‖u_j‖‖α_j‖ (``paid``) up to the tolerance, as it is where all sizes are optimal."""
    return abs(paid - float((z * fit).sum())) > tolerance * paid


def _columns(X: Float[np.ndarray, "n d"], W: Float[np.ndarray, "K d"]) -> Float[np.ndarray, "n K"]:
    return np.maximum(W @ X.T, 0.0).T  # each column in one piece


def _directions(
    U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
    """Unit directions and signed weights of the active neurons."""
    norms = np.linalg.norm(U, axis=1)
    alive = (norms > 0) & (alpha != 0)
    return U[alive] / norms[alive, None], norms[alive] * alpha[alive]


def _neurons(
    W: Float[np.ndarray, "k d"], w: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
    """The balanced neurons of unit directions and signed weights."""
    root = np.sqrt(np.abs(w))
    return root[:, None] * W, np.sign(w) * root


def _smoothed(problem: Problem, smoothing: float) -> Problem:
    """The problem with its loss smoothed (itself where the loss is smooth)."""
    if problem.loss.smooth:
        return problem
    return Problem(problem.X, problem.targets, problem.loss.smoothed(smoothing), problem.beta, problem.weights)
