r"""β_max = max ‖zᵀ(Xu)_+‖ over ‖u‖ ≤ 1 at the dual point z of the zero network: above it that network is the optimum.

Found by pricing, so a lower estimate; :func:`reluopt.bounds.beta_max_upper` proves the other side.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock
from reluopt.pricing import price
from reluopt.problem import Problem

logger = logging.getLogger(__name__)

#: Seconds that a command gives to its search of β_max, and where β does not depend on it.
SEARCH_SECONDS, ASIDE_SECONDS = 60.0, 10.0
#: With a decayed intercept β_max is searched until it changes by less than this, relatively, by so many prices.
SETTLED, PRICES = 1e-3, 30


def beta_max_estimate(
    X: Any,
    y: Any = None,
    *,
    seed: int = 0,
    clock: Clock | None = None,
) -> float:
    """β_max = max_{‖u‖≤1} ‖zᵀ(Xu)_+‖ at the zero network by local search: a lower estimate of the true one.

    z is y for the squared loss; give a :class:`~reluopt.problem.Problem` for any other. With an intercept it is z at
    the best constant. X (n, d) is an array, a tensor, a table, lists, a data set (with its own y) or a problem. What
    was found when the clock is over is returned.

    Raises
    ------
    DataError : neither a problem nor targets, targets of another length, or values that the gate refuses.
    """
    if isinstance(X, Problem) and X.biases.output == "decayed" and not X.biases.first_free:
        found = _settled_beta_max(X, np.random.default_rng(seed), clock)
    else:
        problem = X if isinstance(X, Problem) else Problem(X, y)
        found = largest_price(problem, problem.zero_dual_point, np.random.default_rng(seed), clock)
    if clock is not None and clock.over:
        logger.warning("The search for β_max was stopped by its clock: a longer one may find a larger value.")
    return found


def _settled_beta_max(problem: Problem, rng: np.random.Generator, clock: Clock | None) -> float:
    """β_max with a decayed intercept, whose best constant and z depend on β: the largest β that is its own price.

    From the price without an intercept β falls to it.
    """
    beta = largest_price(problem, problem.without_biases().zero_dual_point, rng, clock)
    for _ in range(PRICES):
        before, own = beta, problem.with_beta(beta) if beta > 0 else problem
        beta = largest_price(own, own.zero_dual_point, rng, clock)
        if abs(beta - before) <= SETTLED * beta:
            break
    return beta


def largest_price(
    problem: Problem, z: Float[np.ndarray, "samples ..."], rng: np.random.Generator, clock: Clock | None = None
) -> float:
    """The value of the dearest neuron found; with free first-layer biases over (u, b) with ‖u‖ ≤ 1 and any b."""
    return price(problem, z, rng, clock=clock).value
