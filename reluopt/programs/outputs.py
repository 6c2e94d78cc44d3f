r"""The duals of gated and relaxed programs for several outputs: a proved bound of p̃(S) from one z, without a solver.

With C outputs a pattern's block is a matrix V_D (d, C), and over the networks with patterns S

.. math:: p̃(S) = \max_z −ℓ^*(−z)\ \text{s.t.}\ \max_{u∈K_D,‖u‖≤1} ‖zᵀDXu‖ ≤ β,

gated: over all ‖u‖ ≤ 1, which is σ_max(zᵀDX) ≤ β (Sahiner et al., ICLR 2021). The maximum over a cone is bounded by
products of its rows (``cone_products.py``), which may leave a gap; without them the bound is the gated one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float

from reluopt.problem import Problem
from reluopt.programs.cone_products import cone_norm_upper, product_multipliers
from reluopt.rigor import rounding

#: Numbers of one array of a batch of patterns.
BATCH = 2**24


def gated_bound(problem: Problem, patterns: Bool[np.ndarray, "n P"], z: Float[np.ndarray, "n C"]) -> float:
    """≤ p̃(S), proved: the dual value of the best multiple of z (n, C) whose σ_max(zᵀDX) ≤ β for every pattern."""
    z = problem.settled(z)
    return problem.proved_value(z, gated_support(problem.X, patterns, z))[0]


def pooled_bound(
    problem: Problem,
    patterns: Bool[np.ndarray, "N P"],
    z: Float[np.ndarray, "n ..."],
    *,
    stop: Callable[[], bool] = lambda: False,
) -> float:
    """≤ p̃(S), proved, over patterns of pooled rows: the dual value of z, which is Aᵀz on the rows."""
    z = problem.settled(z)
    v = problem.spread(z)
    support = relaxed_support(problem.X, patterns, v.reshape(len(v), -1), stop=stop)
    return problem.proved_value(z, problem.support_of_samples(z, v, support))[0]


@np.errstate(over="ignore", invalid="ignore")
def gated_support(X: Float[np.ndarray, "n d"], patterns: Bool[np.ndarray, "n P"], z: Float[np.ndarray, "n C"]) -> float:
    """≥ σ_max(zᵀDX) for every pattern D; ``inf`` where it overflows."""
    off = _product_error(X, z)
    return max((cone_norm_upper(W, off) for W in _products(X, patterns, z)), default=0.0)


@np.errstate(over="ignore", invalid="ignore")
def relaxed_support(
    X: Float[np.ndarray, "n d"],
    patterns: Bool[np.ndarray, "n P"],
    z: Float[np.ndarray, "n C"],
    *,
    enough: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> float:
    """≥ ‖zᵀDXu‖ for all unit u ∈ K_D and every pattern D; a bound below ``enough`` is lowered no further.

    Patterns are visited by falling σ_max(zᵀDX), and only those that decide the maximum.
    """
    off = _product_error(X, z)
    sizes = np.array([cone_norm_upper(W, off) for W in _products(X, patterns, z)])
    norms = np.linalg.norm(X, axis=1)
    unit = X / np.where(norms > 0, norms, 1.0)[:, None]
    bound = 0.0
    for i in np.argsort(-sizes):
        floor = max(bound, enough)
        if sizes[i] <= floor or not math.isfinite(sizes[i]) or stop():
            return max(bound, float(sizes[i]))
        sign = np.where(patterns[:, i], 1.0, -1.0)[:, None]
        W = (z * patterns[:, [i]]).T @ X
        pairs, N = product_multipliers(W, sign * unit, enough=floor * (1 - 1e-12), stop=stop)
        first, second = pairs.T
        exact, scaled = sign * X, N / (norms[first] * norms[second])
        bound = max(bound, min(float(sizes[i]), cone_norm_upper(W, off, exact[first], exact[second], scaled)))
    return bound


def _products(
    X: Float[np.ndarray, "n d"], patterns: Bool[np.ndarray, "n P"], z: Float[np.ndarray, "n C"]
) -> Iterator[Float[np.ndarray, "C d"]]:
    """zᵀDX (C, d) of every pattern, a batch of patterns at a time."""
    step = max(1, BATCH // max(1, z.size))
    for start in range(0, patterns.shape[1], step):
        part = patterns[:, start : start + step].T[:, :, None] * z
        yield from np.matmul(part.transpose(0, 2, 1), X)


def _product_error(X: Float[np.ndarray, "n d"], z: Float[np.ndarray, "n C"]) -> float:
    """≥ ‖fl(zᵀDX) − zᵀDX‖_F for every pattern: the Frobenius norm of γ|z|ᵀ|X|."""
    return rounding.frobenius_upper(
        rounding.gamma(len(X) + 2) * (np.abs(z).T @ np.abs(X)) * (1 + rounding.gamma(len(X))) + rounding.TINY * len(X)
    )
