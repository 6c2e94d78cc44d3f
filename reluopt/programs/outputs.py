r"""The duals of gated and relaxed programs for several outputs: a proved bound of p̃(S) from one z, without a solver.

With C outputs a pattern's block is a matrix V_D (d, C), and over the networks with patterns S

.. math:: p̃(S) = \max_z −ℓ^*(−z)\ \text{s.t.}\ \max_{u∈K_D,‖u‖≤1} ‖zᵀDXu‖ ≤ β,

gated: over all ‖u‖ ≤ 1, which is σ_max(zᵀDX) ≤ β (Sahiner et al., ICLR 2021). The maximum over a cone is bounded by
products of its rows (``cone_products.py``), which may leave a gap; without them the bound is the gated one. Blocks with
free first-layer biases are in ``free_bias_outputs.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float

from reluopt.problem import Problem
from reluopt.programs.cone_products import cone_norm_upper, product_multipliers
from reluopt.programs.free_bias_outputs import FreeBlocks
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
    free: bool = False,
    enough: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> float:
    """≥ ‖zᵀDXu‖ for all unit u ∈ K_D and every pattern D; a bound below ``enough`` is lowered no further.

    Patterns are visited by falling σ_max(zᵀDX), and only those that decide the maximum. ``free`` : the last entry of u
    has no part in its norm, and z sums to 0 exactly.
    """
    blocks = FreeBlocks(X, patterns, z) if free else _Blocks(X, patterns, z)
    sizes, bound = blocks.sizes(), 0.0
    for i in np.argsort(-sizes):
        floor = max(bound, enough)
        if sizes[i] <= floor or not math.isfinite(sizes[i]) or stop():
            return max(bound, float(sizes[i]))
        bound = max(bound, min(float(sizes[i]), blocks.lowered(int(i), floor * (1 - 1e-12), stop)))
    return bound


class _Blocks:
    """The blocks zᵀDX of patterns (n, P), all of whose weights are decayed."""

    def __init__(
        self, X: Float[np.ndarray, "n d"], patterns: Bool[np.ndarray, "n P"], z: Float[np.ndarray, "n C"]
    ) -> None:
        self.X, self.patterns, self.z, self.off = X, patterns, z, _product_error(X, z)
        self.norms = np.linalg.norm(X, axis=1)

    def sizes(self) -> Float[np.ndarray, " P"]:
        """≥ the norm of every block, without its cone."""
        return np.array([cone_norm_upper(W, self.off) for W in _products(self.X, self.patterns, self.z)])

    def lowered(self, i: int, enough: float, stop: Callable[[], bool]) -> float:
        """≥ the norm of block i, with products of rows of its cone; it ends where that is ≤ ``enough``."""
        sign = np.where(self.patterns[:, i], 1.0, -1.0)[:, None]
        W, unit = (
            (self.z * self.patterns[:, [i]]).T @ self.X,
            self.X / np.where(self.norms > 0, self.norms, 1.0)[:, None],
        )
        pairs, N, _ = product_multipliers(W, sign * unit, enough=enough, stop=stop)
        first, second = pairs.T
        exact, scaled = sign * self.X, N / (self.norms[first] * self.norms[second])
        return cone_norm_upper(W, self.off, exact[first], exact[second], scaled)


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
