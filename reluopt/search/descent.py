r"""L-BFGS on L itself, from a network to a better one near it. Patterns move by themselves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from reluopt import neurons
from reluopt.clock import Clock
from reluopt.problem import Problem

#: Pairs that L-BFGS remembers.
MEMORY = 20


def descend(
    problem: Problem,
    U: Float[np.ndarray, "m d"],
    alpha: Float[np.ndarray, "m ..."],
    steps: int,
    clock: Clock | None = None,
    dtype: type[np.floating] = np.float64,
    intercept: Float[np.ndarray, ...] | None = None,
) -> tuple[Float[np.ndarray, ...], ...]:
    """At most ``steps`` iterations of L-BFGS on L(U, α, c), then balanced; never above L of the start.

    ``problem`` needs a smooth loss (``loss.smoothed``). At a kink x_iᵀu_j = 0 the gradient has ReLU'(0) = 0.
    With ``dtype`` float32 the products are of half the price; what is returned is judged in float64 all the same.
    ``intercept`` : c () or (C,) of a network that has one; then it comes back behind (U, α).
    """
    U, alpha = problem.balanced(U, alpha)
    m, d = U.shape
    own = () if intercept is None else (intercept,)
    if m == 0:
        return U, alpha, *own

    X = problem.X.astype(dtype, copy=False)
    decay = _decay(problem, U, alpha, own)

    def split(weights: Float[np.ndarray, " v"]) -> tuple[Float[np.ndarray, ...], ...]:
        end = m * d + alpha.size
        parts = weights[: m * d].reshape(m, d), weights[m * d : end].reshape(alpha.shape)
        return (*parts, *(weights[end:].reshape(c.shape) for c in own))

    def objective(weights: Float[np.ndarray, " v"]) -> tuple[float, Float[np.ndarray, " v"]]:
        U, outer, *c = split(weights.astype(dtype, copy=False))
        H = X @ U.T
        on = H > 0
        np.maximum(H, 0, out=H)
        f = problem.pooled((H @ outer).astype(np.float64, copy=False)) + sum(c)
        z = problem.spread(problem.dual_point(f))
        small_z = z.astype(dtype, copy=False)
        back_alpha = -(H.T @ small_z)
        np.multiply(on, neurons.back(small_z, outer), out=H)
        back_U = -(H.T @ X)
        back = np.concatenate([back_U.ravel(), back_alpha.ravel(), *(-z.sum(axis=0).ravel() for _ in c)])
        paid = decay * weights
        return problem.loss_value(f) + 0.5 * float(paid @ weights), back.astype(np.float64, copy=False) + paid

    def interrupt(intermediate_result: object) -> None:
        if clock is not None and clock.over:
            raise StopIteration

    start = np.concatenate([part.ravel() for part in (U, alpha, *own)])
    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": MEMORY, "ftol": 1e-13, "gtol": 1e-10}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", callback=interrupt, options=options)
    inner, outer, *c = split(found.x)
    moved = (*problem.balanced(inner, outer), *c)
    return moved if problem.objective(*moved) < problem.objective(U, alpha, *own) else (U, alpha, *own)


def _decay(
    problem: Problem, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], own: tuple[np.ndarray, ...]
) -> Float[np.ndarray, " v"]:
    """The factor of half the square of every weight."""
    inner = np.zeros_like(U)
    problem.decayed(inner)[:] = problem.beta
    return np.concatenate(
        [
            inner.ravel(),
            np.full(alpha.size, problem.beta),
            *(np.full(c.size, problem.intercept_cost) for c in own),
        ]
    )
