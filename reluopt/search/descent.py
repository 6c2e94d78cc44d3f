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
    alpha: Float[np.ndarray, " m"],
    steps: int,
    clock: Clock | None = None,
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
    """At most ``steps`` iterations of L-BFGS on L(U, α), then balanced; never above L of the start.

    ``problem`` needs a smooth loss (``loss.smoothed``). At a kink x_iᵀu_j = 0 the gradient has ReLU'(0) = 0.
    """
    U, alpha = neurons.balanced(U, alpha)
    m, d = U.shape
    if m == 0:
        return U, alpha

    def objective(weights: Float[np.ndarray, " v"]) -> tuple[float, Float[np.ndarray, " v"]]:
        U, alpha = weights[: m * d].reshape(m, d), weights[m * d :]
        H = problem.X @ U.T
        on = H > 0
        H *= on
        f = H @ alpha
        z = problem.dual_point(f)
        back_U = -alpha[:, None] * ((on * z[:, None]).T @ problem.X)
        gradient = np.concatenate([back_U.ravel(), -(z @ H)]) + problem.beta * weights
        return problem.loss_value(f) + 0.5 * problem.beta * float(weights @ weights), gradient

    def interrupt(intermediate_result: object) -> None:
        if clock is not None and clock.over:
            raise StopIteration

    start = np.concatenate([U.ravel(), alpha])
    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": MEMORY, "ftol": 1e-13, "gtol": 1e-10}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", callback=interrupt, options=options)
    weights = found.x if found.fun < objective(start)[0] else start
    return neurons.balanced(weights[: m * d].reshape(m, d), weights[m * d :])
