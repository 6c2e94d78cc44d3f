r"""Going down from a network, or from nothing: price, weigh, descend, until no neuron is worth adding.

A round of the fully corrective method:

1. *price*: z = −∂ℓ/∂f of the network; local maximisers u of |zᵀ(Xu)_+| above β are new directions;
2. *weigh*: the lasso over all directions at hand (:mod:`reluopt.search.lasso_descent`), neurons of one pattern merged;
3. *descend*: L-BFGS on the active neurons (:mod:`reluopt.search.descent`); old directions stay as candidates.

Every iterate is a network and L never rises. The search for u is local: where it finds none the network is *not*
proved to be globally optimal, but its z is what the bounds want to start from. Intercepts and free first-layer biases
(:mod:`reluopt.biases`) take part in every step; where they cost nothing they are the best ones beside the neurons.

Column generation of this kind: Bach, JMLR 18 (2017), section 3; Boyd, Schiebinger & Recht, SIAM J. Optim. 27 (2017).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock
from reluopt.errors import ConfigError, DataError
from reluopt.network import TwoLayerReLU
from reluopt.problem import as_problem
from reluopt.search.output_rounds import OutputSearch
from reluopt.search.records import Refined, RefineSettings
from reluopt.search.rounds import Search


def refine(
    problem: Any,
    network: TwoLayerReLU | None = None,
    *,
    clock: Clock | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
    most_rounds: int = 1000,
    callback: Callable[[Refined], bool | None] | None = None,
    settings: RefineSettings | None = None,
) -> Refined:
    """The best network that the rounds reach from ``network``; see :func:`refinements` for every one on the way.

    Parameters
    ----------
    network : where to start; from nothing unless given.
    clock : when to end; without one the result depends on ``seed`` alone.
    tolerance : end when no neuron dearer than β(1 + tolerance) is found.
    callback : called with every iterate; ends the search where it returns True.

    Raises
    ------
    ConfigError : a tolerance that is not positive. DataError : a network for data of another width.
    """
    clock = clock or Clock()
    rounds = refinements(
        problem, network, clock=clock, tolerance=tolerance, seed=seed, most_rounds=most_rounds, settings=settings
    )
    while True:
        at = next(rounds)
        stop = callback is not None and callback(at)
        if at.status != "running":
            return at
        if stop:
            return dataclasses.replace(at, status="stopped")


def refinements(
    problem: Any,
    network: TwoLayerReLU | None = None,
    *,
    clock: Clock | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
    most_rounds: int = 1000,
    near: Callable[[], Float[np.ndarray, "k d"] | None] | None = None,
    settings: RefineSettings | None = None,
) -> Iterator[Refined]:
    """Every iterate, the start first; L never rises, and the last one says why it is the last.

    ``near`` : asked before every pricing for more starting directions (k, d), such as the moment factors of a bound.

    Raises
    ------
    ConfigError : a tolerance that is not positive. DataError : a network for data of another width, of other outputs,
        or with an intercept that the problem has not.
    """
    if not 0 < tolerance < math.inf:
        raise ConfigError(f"The tolerance is {tolerance}.", "Give a positive number, such as 1e-3.")
    problem = as_problem(problem)
    nothing = np.zeros((0, problem.d)), np.zeros((0, *problem.targets.shape[1:]))
    U, alpha, *c = network.weights() if network is not None else nothing
    if U.shape[1] != problem.d:
        raise DataError(f"The network takes {U.shape[1]} inputs, the data have {problem.d} columns.", "Use its data.")
    if alpha.shape[1:] != problem.targets.shape[1:]:
        raise DataError(f"The network has other outputs than the {problem.outputs} of the targets.", "Use its targets.")
    if c and not problem.biases.intercept:
        raise DataError(
            "The network has an intercept, the problem has none.", "Give the problem biases=Biases(output='free')."
        )
    if problem.outputs == 1:
        problem.require_unpooled("The search for networks of one output")
    kind = Search if problem.outputs == 1 else OutputSearch
    intercept = c[0] if c else np.zeros(problem.targets.shape[1:])
    rng = np.random.default_rng(seed)
    search = kind(problem, U, alpha, intercept, settings or RefineSettings(), rng, clock or Clock())
    return search.iterates(tolerance, most_rounds, near or (lambda: None))
