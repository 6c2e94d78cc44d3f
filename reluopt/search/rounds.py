"""The rounds of refinement for one output: the lasso weighs unit directions, L-BFGS moves them."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

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
    """Directions W (K, d) of decayed norm 1, signed weights w (K,), the intercept c, in the problem's natural units."""

    def __init__(
        self,
        problem: Problem,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, " m"],
        intercept: Float[np.ndarray, ""],
        settings: RefineSettings,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        super().__init__(problem, U, alpha, intercept, settings, rng, clock)
        U, alpha, self.c = self.start
        self.W, self.w = self._directions(U, alpha)
        self.climbs, self.rough, self.exactness = self.settings.climbs[0], True, ROUGHEST
        self.starts = self.settings.starts

    def _fit(self) -> Float[np.ndarray, " n"]:
        used = self.w != 0
        return _columns(self.problem.X, self.W[used]) @ self.w[used] + self.c

    @property
    def _strength(self) -> float:
        return float(np.abs(self.w).sum())

    @property
    def _intercept(self) -> Float[np.ndarray, ""]:
        return self.c

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
            near = self.natural.moved(near)
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
        w = self._weighed(_columns(self.problem.X, W), w)
        used = w != 0
        self.W, self.w = W[~used], w[~used]
        U, alpha = self.problem.merged(*_neurons(W[used], w[used]))
        if rounds % self.settings.descend_every == 0 and not self.clock.over:
            self._push(*self._directions(U, alpha), weights=False)
            U, alpha = self._descended(U, alpha)
        U, alpha, self.c = self._tidy(U, alpha, self.c, self.problem)
        self._push(*self._directions(U, alpha), weights=True)
        self._forget()
        self._offer(U, alpha, self.c)

    def _weighed(self, A: Float[np.ndarray, "n K"], w: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
        """The weights that the lasso finds, and the intercept."""
        if not self.problem.biases.intercept:
            return lasso(self.problem, A, w, self.clock, self.exactness)[0]
        found, _ = lasso(self.problem, A, np.append(w, self.c), self.clock, self.exactness)
        self.c = np.asarray(found[-1])
        return found[:-1]

    def _descended(
        self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
        """Neurons lower on L, and the intercept."""
        dtype = np.float32 if self.rough else np.float64
        own = self.c if self.problem.biases.intercept else None
        U, alpha, *c = descend(self.problem, U, alpha, self.settings.steps, self.clock, dtype, own)
        self.c = np.asarray(c[0]) if c else self.c
        return U, alpha

    def _push(self, W: Float[np.ndarray, "k d"], w: Float[np.ndarray, " k"], *, weights: bool) -> None:
        self.W = np.vstack([self.W, W])
        self.w = np.concatenate([self.w, w if weights else np.zeros(len(w))])

    def _forget(self) -> None:
        """Drop the candidates that are cheap or too many."""
        prices = np.abs(_columns(self.problem.X, self.W).T @ self._dual_point(self._fit()))
        used = self.w != 0
        prices[used] = np.inf
        most = int(used.sum() + max(100, self.settings.most_idle * used.sum()))
        order = np.argsort(-prices, kind="stable")[:most]
        keep = np.sort(order[prices[order] >= self.settings.idle * self.problem.beta])
        self.W, self.w = self.W[keep], self.w[keep]

    def _directions(
        self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
        """Directions of decayed norm 1 and signed weights of the active neurons."""
        norms = np.linalg.norm(self.problem.decayed(U), axis=1)
        alive = (norms > 0) & (alpha != 0)
        return U[alive] / norms[alive, None], norms[alive] * alpha[alive]


def _columns(X: Float[np.ndarray, "n d"], W: Float[np.ndarray, "K d"]) -> Float[np.ndarray, "n K"]:
    return np.maximum(W @ X.T, 0.0).T  # each column in one piece


def _neurons(
    W: Float[np.ndarray, "k d"], w: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
    """The balanced neurons of unit directions and signed weights."""
    root = np.sqrt(np.abs(w))
    return root[:, None] * W, np.sign(w) * root
