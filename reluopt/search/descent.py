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
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k ..."]]:
    """At most ``steps`` iterations of L-BFGS on L(U, α), then balanced; never above L of the start.

    ``problem`` needs a smooth loss (``loss.smoothed``). At a kink x_iᵀu_j = 0 the gradient has ReLU'(0) = 0.
    With ``dtype`` float32 the products are of half the price; what is returned is judged in float64 all the same.
    """
    U, alpha = neurons.balanced(U, alpha)
    m, d = U.shape
    if m == 0:
        return U, alpha

    X = problem.X.astype(dtype, copy=False)

    def split(weights: Float[np.ndarray, " v"]) -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "m ..."]]:
        return weights[: m * d].reshape(m, d), weights[m * d :].reshape(alpha.shape)

    def objective(weights: Float[np.ndarray, " v"]) -> tuple[float, Float[np.ndarray, " v"]]:
        U, outer = split(weights.astype(dtype, copy=False))
        H = X @ U.T
        on = H > 0
        np.maximum(H, 0, out=H)
        f = problem.pooled((H @ outer).astype(np.float64, copy=False))
        z = problem.spread(problem.dual_point(f))
        small_z = z.astype(dtype, copy=False)
        back_alpha = -(H.T @ small_z)
        np.multiply(on, neurons.back(small_z, outer), out=H)
        back_U = -(H.T @ X)
        back = np.concatenate([back_U.ravel(), back_alpha.ravel()])
        gradient = back.astype(np.float64, copy=False) + problem.beta * weights
        return problem.loss_value(f) + 0.5 * problem.beta * float(weights @ weights), gradient

    def interrupt(intermediate_result: object) -> None:
        if clock is not None and clock.over:
            raise StopIteration

    start = np.concatenate([U.ravel(), alpha.ravel()])
    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": MEMORY, "ftol": 1e-13, "gtol": 1e-10}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", callback=interrupt, options=options)
    moved = neurons.balanced(*split(found.x))
    return moved if problem.objective(*moved) < problem.objective(U, alpha) else (U, alpha)
