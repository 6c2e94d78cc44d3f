r"""Stationary points (Wang, Lacotte & Pilanci 2021; KP Thm 2.5): kinks, pattern sets, the Clarke residual.

At a Clarke stationary point without kinks L(θ) = p̃(S(θ)), S(θ) the patterns of the active neurons. At a kink,
x_iᵀu_j = 0, the pattern may take either side and the subdifferential any slope in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import lsq_linear

from reluopt import neurons
from reluopt.patterns.drift import unchanged_neurons
from reluopt.patterns.pattern_set import PatternSet, kinks
from reluopt.problem import Problem


@dataclass(frozen=True)
class NeuronPatterns:
    """The pattern sets of one network.

    Attributes
    ----------
    active : S(θ), of the active neurons, ties counted as active.
    with_kinks : ``active`` and the other sides of its kinks; ``kinks_capped`` says that the cap was met.
    with_inactive : ``active`` and the patterns of the neurons that contribute nothing.
    active_neurons, kink_count : numbers of neurons and of (sample, active neuron) kinks.
    """

    active: PatternSet
    with_kinks: PatternSet
    with_inactive: PatternSet
    active_neurons: int
    kink_count: int
    kinks_capped: bool


def neuron_patterns(
    X: Float[np.ndarray, "n d"],
    U: Float[np.ndarray, "m d"],
    alpha: Float[np.ndarray, "m ..."],
    *,
    kink_tolerance: float,
    kink_cap: int,
    active_tolerance: float = neurons.ACTIVE_TOLERANCE,
) -> NeuronPatterns:
    """The pattern sets of the network: active, with both sides of kinks up to ``kink_cap`` more, with inactive."""
    mask = neurons.active(U, alpha, active_tolerance)
    active = PatternSet.from_gates(X, U[mask].T)
    assert active.gates is not None  # made from gates just above
    kink = kinks(X, active.gates, kink_tolerance)
    flipped, capped = _other_sides(active.dense, kink, kink_cap)
    return NeuronPatterns(
        active=active,
        with_kinks=active.union(PatternSet.from_dense(flipped)) if flipped.shape[1] else active,
        with_inactive=active.union(PatternSet.from_gates(X, U[~mask].T)),
        active_neurons=int(mask.sum()),
        kink_count=int(kink.sum()),
        kinks_capped=capped,
    )


def _other_sides(
    dense: Bool[np.ndarray, "n P"], kink: Bool[np.ndarray, "n P"], cap: int
) -> tuple[Bool[np.ndarray, "n Q"], bool]:
    """Patterns with kink entries flipped: every single flip first, then all combinations, until ``cap`` patterns."""
    columns = [dense[:, :0]]
    room, capped = cap, False
    for j in np.flatnonzero(kink.any(axis=0)):
        at = np.flatnonzero(kink[:, j])
        flips = np.eye(len(at), dtype=bool)
        if len(at) <= 10:  # all 2^k choices are at most 1024
            flips = (np.arange(1, 2 ** len(at))[:, None] >> np.arange(len(at))) & 1 == 1
            flips = flips[np.argsort(flips.sum(axis=1), kind="stable")]
        else:
            capped = True
        if len(flips) > room:
            flips, capped = flips[:room], True
        room -= len(flips)
        column = np.repeat(dense[:, [j]], len(flips), axis=1)
        column[at] ^= flips.T
        columns.append(column)
    return np.hstack(columns), capped


@dataclass(frozen=True)
class ClarkeResidual:
    """The distance of 0 from the Clarke subdifferential of L at θ (by the chain rule, neuron by neuron).

    ``value`` : min over the slopes at kinks of ‖∇L‖; ``plain`` : ‖∇L‖ with slope 0 at exact kinks;
    ``relative`` : value / (β‖θ‖), dimensionless (``inf`` for θ = 0 with a nonzero residual).
    """

    value: float
    plain: float
    relative: float


def clarke_residual(
    problem: Problem,
    U: Float[np.ndarray, "m d"],
    alpha: Float[np.ndarray, "m ..."],
    intercept: Float[np.ndarray, ...] | float = 0.0,
    *,
    kink_tolerance: float,
) -> ClarkeResidual:
    """Minimise ‖∂L‖ over the slopes s_ij ∈ [0, 1] of the kinks: one small bounded least squares a neuron with kinks.

    At a kink (within ``kink_tolerance``, relative) the part −α_jᵀz_i s_ij x_i of ∂L/∂u_j is free, z = −κ∂ℓ/∂f; the
    derivative by α_j does not depend on it. With a positive tolerance this is the residual of a nearby point's
    subdifferential. Of a loss with kinks of its own one subgradient is taken.
    """
    grad_u, grad_alpha = problem.gradient(U, alpha, intercept)
    z = problem.dual_point(problem.predict(U, alpha, intercept))
    smooth = (grad_alpha**2).sum() + (problem.intercept_slope(z, intercept) ** 2).sum()
    plain = float(np.sqrt((grad_u**2).sum() + smooth))
    pulls = -neurons.back(problem.spread(z), alpha)
    kink = kinks(problem.X, U.T, kink_tolerance)
    strictly = (problem.X @ U.T > 0) & kink
    squares = (grad_u**2).sum(axis=1)
    for j in np.flatnonzero(kink.any(axis=0) & (neurons.sizes(alpha) != 0) & U.any(axis=1)):
        at = kink[:, j]
        free = pulls[at, j][:, None] * problem.X[at]
        fixed = grad_u[j] - free[strictly[at, j]].sum(axis=0)
        squares[j] = min(squares[j], 2.0 * float(lsq_linear(free.T, -fixed, bounds=(0.0, 1.0)).cost))
    value = float(np.sqrt(squares.sum() + smooth))
    # ‖θ‖² of the decayed weights is twice their decay at β = 1
    size = problem.beta * float(np.sqrt(2.0 * problem.with_beta(1.0).weight_decay(U, alpha, intercept)))
    relative = value / size if size > 0 else (0.0 if value == 0 else float("inf"))
    return ClarkeResidual(value, plain, relative)


def kept_patterns(
    X: Float[np.ndarray, "n d"], initial_U: Float[np.ndarray, "m d"], U: Float[np.ndarray, "m d"]
) -> PatternSet:
    """S_kept of KP Thm 2.5: the distinct patterns of neurons whose whole pattern is the same at both times."""
    return PatternSet.from_gates(X, U[unchanged_neurons(X, initial_U, U)].T)
