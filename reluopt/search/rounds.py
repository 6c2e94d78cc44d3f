"""The rounds of refinement for one output: the lasso weighs unit directions, L-BFGS moves them."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.clock import Clock
from reluopt.pricing import Maximisers, Price, kink_flips, price
from reluopt.problem import Problem
from reluopt.search.column_generation import ColumnGeneration, Near
from reluopt.search.descent import descend
from reluopt.search.lasso_descent import OPTIMAL, lasso
from reluopt.search.records import RefineSettings

#: While prices are above this share of β a rough ascent is enough: any dear neuron lowers L.
EARLY = 1.1
#: While prices are above this share of β L-BFGS runs in float32 and moves every new neuron anyway.
ROUGH = 1.01
#: The lasso is solved to a tenth of what is left of the prices, and at least to this.
ROUGHEST = 1e-2


class Search(ColumnGeneration):
    """Directions W (K, d), signed weights w (K,), in the problem's natural units."""

    def __init__(
        self,
        problem: Problem,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, " m"],
        settings: RefineSettings,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        super().__init__(problem, U, alpha, settings, rng, clock)
        self.W, self.w = _directions(self.best[0] / self.units.weight, self.best[1] / self.units.weight)
        self.climbs, self.rough, self.exactness = self.settings.climbs[0], True, ROUGHEST
        self.starts = self.settings.starts

    def _fit(self) -> Float[np.ndarray, " n"]:
        used = self.w != 0
        return _columns(self.problem.X, self.W[used]) @ self.w[used]

    @property
    def _strength(self) -> float:
        return float(np.abs(self.w).sum())

    @property
    def _most_new(self) -> int:
        return max(self.settings.most_new, int((self.w != 0).sum()))

    def _found(self, z: Float[np.ndarray, " n"], near: Near, enough: float) -> Price:
        starts = self.starts
        found, starts, tried = self._price(z, near(), starts), min(starts, self.settings.most_usual), starts
        while not self.clock.over and found.value <= enough and tried < self.settings.confirm:
            starts = min(4 * starts, self.settings.most_usual, self.settings.confirm - tried)
            found, tried = self._price(z, near(), starts), tried + starts
        self.starts = starts
        return found

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

    def _improve(self, new: Maximisers, dearest: float, rounds: int) -> None:
        """Weigh the old and the new directions, then descend; what does not lower L is not kept."""
        self.starts = self._starts_of_next(self.starts, len(new.values), int((self.w != 0).sum()))
        self.exactness = float(np.clip(0.1 * (dearest - 1.0), OPTIMAL, ROUGHEST))
        self.rough = dearest > ROUGH
        self.climbs = self.settings.climbs[int(dearest <= EARLY) + int(not self.rough)]
        W, w = np.vstack([self.W, new.directions]), np.concatenate([self.w, np.zeros(len(new.values))])
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
