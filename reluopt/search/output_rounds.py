"""The rounds of refinement for several outputs: price, add the neurons that were found, go down on L, and again."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock
from reluopt.pricing import Maximisers, Price, price
from reluopt.problem import Problem
from reluopt.search.column_generation import ColumnGeneration, Near
from reluopt.search.descent import descend
from reluopt.search.records import RefineSettings

#: Neurons of less than this share of the largest strength are dropped after a descent.
NEGLIGIBLE = 1e-7
#: The most starts of a pricing that is to find nothing.
CONFIRM = 512
#: Proximal steps of the group lasso in a round.
WEIGHINGS = 500


def weighed(
    problem: Problem,
    U: Float[np.ndarray, "m d"],
    alpha: Float[np.ndarray, "m C"],
    steps: int,
    clock: Clock,
    intercept: Float[np.ndarray, " C"] | None = None,
) -> tuple[Float[np.ndarray, ...], ...]:
    """The group lasso min Σκℓ((XUᵀ)_+ w + c) + β Σ‖w_k‖ over unit u_k, by accelerated proximal steps with restarts.

    It is convex in w (m, C) and c, so that it gets over the kinks at which a descent on L stalls; neurons that it gives
    no weight are left out. Never above L of the start. ``intercept`` : c of a network that has one; then it comes back
    behind (U, α).
    """
    own, decayed = () if intercept is None else (intercept,), problem.decayed(U)
    norms = np.linalg.norm(decayed, axis=1)
    W, w = U[norms > 0] / norms[norms > 0, None], norms[norms > 0, None] * alpha[norms > 0]
    if not len(w):
        return U, alpha, *own
    A = problem.pooled(np.maximum(problem.X @ W.T, 0.0))
    ridge, count = problem.intercept_cost, len(w)
    if own:
        A, w = np.hstack([A, np.ones((len(A), 1))]), np.vstack([w, *own])
    gram = A.T @ A if A.shape[1] <= len(A) else A @ A.T
    curvature = problem.loss.lipschitz * float(problem.weights.max()) * float(np.linalg.eigvalsh(gram)[-1])
    if not (np.isfinite(curvature) and curvature > 0):
        return U, alpha, *own
    at, momentum, step = w, 1.0, problem.beta / curvature
    for _ in range(steps):
        if clock.over:
            break
        new = at + A.T @ problem.dual_point(A @ at) / curvature
        sizes = np.linalg.norm(new[:count], axis=1, keepdims=True)
        new[:count] *= np.maximum(0.0, 1.0 - step / np.where(sizes > 0, sizes, 1.0))
        new[count:] /= 1.0 + ridge / curvature
        if float(((at - new) * (new - w)).sum()) > 0:  # the momentum points uphill
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        at, w, momentum = new + (momentum - 1.0) / following * (new - w), new, following
    keep = w[:count].any(axis=1)
    found = (*problem.balanced(W[keep], w[:count][keep]), *w[count:])
    return min((found, (U, alpha, *own)), key=lambda network: problem.objective(*network))


class OutputSearch(ColumnGeneration):
    """Neurons U (m, d), α (m, C) and c in the problem's natural units: the group lasso weighs them, L-BFGS moves them.

    A found (u, a) of price ‖zᵀ(Xu)_+‖ > β enters with the strength w that minimises −(price − β)w + ½·c·‖(Xu)_+‖²w², c
    the largest curvature of the loss, shared among all that enter.
    """

    def __init__(
        self,
        problem: Problem,
        U: Float[np.ndarray, "m d"],
        alpha: Float[np.ndarray, "m C"],
        intercept: Float[np.ndarray, " C"],
        settings: RefineSettings,
        rng: np.random.Generator,
        clock: Clock,
    ) -> None:
        super().__init__(problem, U, alpha, intercept, settings, rng, clock)
        self.U, self.alpha, self.c = self.start
        self.starts = settings.starts

    def _fit(self) -> Float[np.ndarray, "n C"]:
        return self.problem.predict(self.U, self.alpha, self.c)

    @property
    def _strength(self) -> float:
        return float(self.problem.strength(self.U, self.alpha).sum())

    @property
    def _intercept(self) -> Float[np.ndarray, " C"]:
        return self.c

    @property
    def _most_new(self) -> int:
        return self.settings.most_new

    def _found(self, z: Float[np.ndarray, "n C"], near: Near, enough: float) -> Price:
        found = self._price(z, near(), self.starts)
        while not self.clock.over and found.value <= enough and self.starts < CONFIRM:
            self.starts *= 4
            found = self._price(z, near(), self.starts)
        return found

    def _price(self, z: Float[np.ndarray, "n C"], near: Float[np.ndarray, "k d"] | None, starts: int) -> Price:
        near = None if near is None else self.natural.moved(near)
        own = [(part, np.ones(len(part))) for part in (self.U, near) if part is not None and len(part)]
        return price(self.exact, z, self.rng, starts=starts, near=own, clock=self.clock)

    def _improve(self, new: Maximisers, dearest: float, rounds: int) -> None:
        """Add the neurons, go down, drop what has become nothing."""
        U, a, values = new.directions, new.signs, new.values
        problem = self.problem
        curvature = problem.loss.lipschitz * float(problem.weights.max())
        sizes = np.square(problem.pooled(np.maximum(problem.X @ U.T, 0.0))).sum(axis=0)
        root = np.sqrt((values - problem.beta) / (curvature * sizes * max(1, len(U))))[:, None]
        U, alpha = np.vstack([self.U, root * U]), np.vstack([self.alpha, root * a])
        own = self.c if problem.biases.intercept else None
        U, alpha, *c = weighed(problem, U, alpha, WEIGHINGS, self.clock, own)
        U, alpha, *c = descend(problem, U, alpha, self.settings.steps, self.clock, np.float64, *c)
        strength = problem.strength(U, alpha)
        keep = strength > NEGLIGIBLE * strength.max(initial=0.0)
        self.U, self.alpha, self.c = self._tidy(U[keep], alpha[keep], c[0] if c else self.c, problem)
        self._offer(self.U, self.alpha, self.c)
