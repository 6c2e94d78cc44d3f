"""The rounds of refinement for several outputs: price, add the neurons that were found, go down on L, and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.clock import Clock
from reluopt.network import from_weights
from reluopt.pricing import Price, price
from reluopt.problem import Problem
from reluopt.search.descent import descend
from reluopt.search.records import Refined, RefineSettings
from reluopt.search.rounds import MOST_WEIGHINGS, unweighed

#: First smoothing of a loss with kinks, in natural units, where f is of size one; divided by SHARPER at a time.
FIRST_SMOOTHING, SHARPER = 0.1, 8.0
#: Neurons of less than this share of the largest strength are dropped after a descent.
NEGLIGIBLE = 1e-7
#: The most starts of a pricing that is to find nothing.
CONFIRM = 512
#: Proximal steps of the group lasso in a round.
WEIGHINGS = 500


def weighed(
    problem: Problem, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m C"], steps: int, clock: Clock
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k C"]]:
    """The group lasso min Σκℓ((XUᵀ)_+ w) + β Σ‖w_k‖ over unit u_k, by accelerated proximal steps with restarts.

    It is convex in w (m, C), so that it gets over the kinks at which a descent on L stalls; neurons that it gives no
    weight are left out. Never above L of the start.
    """
    norms = np.linalg.norm(U, axis=1)
    W, w = U[norms > 0] / norms[norms > 0, None], norms[norms > 0, None] * alpha[norms > 0]
    A = problem.pooled(np.maximum(problem.X @ W.T, 0.0))
    gram = A.T @ A if A.shape[1] <= len(A) else A @ A.T
    curvature = problem.loss.lipschitz * float(problem.weights.max()) * float(np.linalg.eigvalsh(gram)[-1])
    if not (len(w) and np.isfinite(curvature) and curvature > 0):
        return U, alpha
    at, momentum, step = w, 1.0, problem.beta / curvature
    for _ in range(steps):
        if clock.over:
            break
        moved = at + A.T @ problem.dual_point(A @ at) / curvature
        sizes = np.linalg.norm(moved, axis=1, keepdims=True)
        new = moved * np.maximum(0.0, 1.0 - step / np.where(sizes > 0, sizes, 1.0))
        if float(((at - new) * (new - w)).sum()) > 0:  # the momentum points uphill
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        at, w, momentum = new + (momentum - 1.0) / following * (new - w), new, following
    keep = w.any(axis=1)
    found = neurons.balanced(W[keep], w[keep])
    return min((found, (U, alpha)), key=lambda network: problem.objective(*network))


class OutputSearch:
    """Neurons U (m, d), α (m, C) in the problem's natural units: the group lasso weighs them, L-BFGS moves them.

    A found (u, a) of price ‖zᵀ(Xu)_+‖ > β enters with the strength w that minimises −(price − β)w + ½·c·‖(Xu)_+‖²w², c
    the largest curvature of the loss, shared among all that enter.
    """

    def __init__(
        self,
        problem: Problem,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, "m C"],
        settings: RefineSettings,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        self.given, self.settings, self.rng, self.clock = problem, settings, rng, clock
        self.exact, self.units = problem.scaled()
        self.smoothing = 0.0 if problem.loss.smooth else FIRST_SMOOTHING
        merged = neurons.balanced(*neurons.merged(problem.X, U, alpha)) if len(alpha) else (U, alpha)
        self.best = min(merged, (U, alpha), key=lambda network: problem.objective(*network))
        self.value = problem.objective(*self.best)
        self.U, self.alpha = (part / self.units.weight for part in self.best)
        self.weighings = 0

    @property
    def problem(self) -> Problem:
        """The scaled problem with its loss smoothed (itself where the loss is smooth)."""
        if self.exact.loss.smooth:
            return self.exact
        loss = self.exact.loss.smoothed(self.smoothing)
        exact = self.exact
        return Problem(exact.X, exact.targets, loss, exact.beta, exact.weights, pooling=exact.pooling)

    def iterates(
        self, tolerance: float, most_rounds: int, near: Callable[[], Float[np.ndarray, "k d"] | None]
    ) -> Iterator[Refined]:
        """See :func:`reluopt.search.refinement.refinements`."""
        starts = self.settings.starts
        for rounds in range(most_rounds + 1):
            problem = self.problem
            fit = problem.predict(self.U, self.alpha)
            z = problem.dual_point(fit)
            enough = problem.beta * (1 + tolerance)
            found = self._price(z, near(), starts)
            while not self.clock.over and found.value <= enough and starts < CONFIRM:
                starts *= 4
                found = self._price(z, near(), starts)
            settled = found.value <= enough
            ends = settled and not (self._sharpen(z, tolerance) or self._weigh_again(z, fit, tolerance))
            status = "time" if self.clock.over else "settled" if ends else "running"
            status = "rounds" if status == "running" and rounds == most_rounds else status
            new = found.above(problem.beta, self.settings.most_new)
            yield self._iterate(z, found.value / problem.beta, rounds, status, new.directions)
            if status != "running":
                return
            self._improve(new.directions, new.signs, new.values)

    def _weigh_again(self, z: Float[np.ndarray, "n C"], fit: Float[np.ndarray, "n C"], tolerance: float) -> bool:
        """Whether the sizes of the neurons are not optimal yet; a few times only, as rounding may be why."""
        paid = self.exact.beta * float(neurons.strength(self.U, self.alpha).sum())
        self.weighings += 1
        return self.weighings <= MOST_WEIGHINGS and unweighed(z, fit, paid, tolerance)

    def _price(self, z: Float[np.ndarray, "n C"], near: Float[np.ndarray, "k d"] | None, starts: int) -> Price:
        own = [(part, np.ones(len(part))) for part in (self.U, near) if part is not None and len(part)]
        return price(self.exact, z, self.rng, starts=starts, near=own, clock=self.clock)

    def _improve(
        self, U: Float[np.ndarray, "k d"], a: Float[np.ndarray, "k C"], values: Float[np.ndarray, " k"]
    ) -> None:
        """Add the neurons, go down, drop what has become nothing."""
        problem = self.problem
        curvature = problem.loss.lipschitz * float(problem.weights.max())
        sizes = np.square(problem.pooled(np.maximum(problem.X @ U.T, 0.0))).sum(axis=0)
        root = np.sqrt((values - problem.beta) / (curvature * sizes * max(1, len(U))))[:, None]
        U, alpha = np.vstack([self.U, root * U]), np.vstack([self.alpha, root * a])
        U, alpha = weighed(problem, U, alpha, WEIGHINGS, self.clock)
        U, alpha = descend(problem, U, alpha, self.settings.steps, self.clock)
        keep = neurons.active(U, alpha, NEGLIGIBLE)
        self.U, self.alpha = U[keep], alpha[keep]
        given = neurons.balanced(self.U * self.units.weight, self.alpha * self.units.weight)
        value = self.given.objective(*given)
        if value < self.value:
            self.best, self.value = given, value

    def _sharpen(self, z: Float[np.ndarray, "n C"], tolerance: float) -> bool:
        """Smooth less where that can still matter; False where the smoothing is done."""
        positive = self.exact.weights > 0
        squares = np.square(z[positive]).sum(axis=1) / self.exact.weights[positive]
        if 0.5 * self.smoothing * float(squares.sum()) <= 0.1 * tolerance * max(self.value / self.units.value, 1e-300):
            return False
        self.smoothing /= SHARPER
        return True

    def _iterate(
        self, z: Float[np.ndarray, "n C"], dearest: float, rounds: int, status: str, new: Float[np.ndarray, "k d"]
    ) -> Refined:
        U, alpha = self.best
        count = len(alpha)
        if count == 0:
            U, alpha = np.zeros((1, self.given.d)), np.zeros((1, self.given.outputs))
        network, z = from_weights(U, alpha), z * self.units.z
        return Refined(network, self.value, dearest, z, count, rounds, self.clock.spent, status, new)
