"""The descent of ``VectorSolver``: L-BFGS over neurons whose patterns are given, and over the intercept beside them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize

from reluopt.clock import Clock
from reluopt.problem import Problem

#: Steps of L-BFGS in a run and the pairs it remembers.
STEPS, MEMORY = 100, 20

Neurons = tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k C"], Float[np.ndarray, " C"]]


def descended(
    problem: Problem,
    neurons: Neurons,
    mask: Bool[np.ndarray, "n k"],
    clock: Clock,
    pushes: Float[np.ndarray, "n k"] | None = None,
    stiffness: float = 1.0,
) -> Neurons:
    """(U, A, c) after one run on Σκℓ(Σ D_kXu_ka_kᵀ + c) and the weight decay of L.

    ``mask`` : the patterns D_k. ``pushes`` : multipliers of the cones' rows, whose augmented Lagrangian of this
    ``stiffness`` is added; None without cones.
    """
    U, A, c = neurons
    decays = _decays(problem, U, A, c)
    signs, ends = np.where(mask, 1.0, -1.0), (U.size, U.size + A.size)

    def objective(theta: Float[np.ndarray, " v"]) -> tuple[float, Float[np.ndarray, " v"]]:
        first, outer, own = np.split(theta, ends)
        first, outer = first.reshape(U.shape), outer.reshape(A.shape)
        H = problem.X @ first.T
        on = H * mask
        f = on @ outer + own
        z = problem.dual_point(f)
        pull = (z @ outer.T) * mask
        value = problem.loss_value(f) + 0.5 * float(decays @ (theta * theta))
        if pushes is not None:
            push = np.maximum(pushes - stiffness * signs * H, 0.0)
            value += 0.5 / stiffness * float((push * push).sum())
            pull += push * signs
        by_c = -z.sum(axis=0) if problem.biases else np.zeros_like(own)
        return value, np.concatenate([-(pull.T @ problem.X).ravel(), -(on.T @ z).ravel(), by_c]) + decays * theta

    def interrupt(intermediate_result: object) -> None:
        if clock.over:
            raise StopIteration

    options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "maxcor": MEMORY, "ftol": 1e-14, "gtol": 1e-11}
    start = np.concatenate([part.ravel() for part in neurons])
    theta = minimize(objective, start, jac=True, method="L-BFGS-B", callback=interrupt, options=options).x
    first, outer, own = np.split(theta, ends)
    return first.reshape(U.shape).copy(), outer.reshape(A.shape).copy(), own.copy()


def _decays(problem: Problem, U: np.ndarray, A: np.ndarray, c: np.ndarray) -> Float[np.ndarray, " v"]:
    """What ½ of every squared weight costs: β, nothing for free biases, and what the intercept costs."""
    first = np.full(U.shape, problem.beta)
    first[:, problem.decayed(U).shape[1] :] = 0.0
    parts = first.ravel(), np.full(A.size, problem.beta), np.full(c.shape, problem.intercept_decay or 0.0)
    return np.concatenate(parts)
