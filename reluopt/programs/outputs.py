r"""The dual of the gated program for several outputs: a proved bound of p̃(S) from one z, without a solver.

With C outputs a pattern's block is a matrix V_D (d, C), and over the networks with patterns S

.. math:: p̃(S) ≥ \min ℓ(Σ_D DXV_D, Y) + β Σ‖V_D‖_* = \max_z −ℓ^*(−z)\ \text{s.t.}\ σ_{\max}(zᵀDX) ≤ β,

with the nuclear norm (Sahiner et al., ICLR 2021): max ‖zᵀDXu‖ over all ‖u‖ ≤ 1 is at least that over the cone of D. The
cones themselves have no such closed form for C > 1 and are left out, which costs where the best u leaves its cone.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from reluopt.problem import Problem
from reluopt.rigor import rounding

#: Numbers of one array of a batch of patterns.
BATCH = 2**24


def gated_bound(problem: Problem, patterns: Bool[np.ndarray, "n P"], z: Float[np.ndarray, "n C"]) -> float:
    """≤ p̃(S), proved: the dual value of the best multiple of z (n, C) whose σ_max(zᵀDX) ≤ β for every pattern."""
    z = problem.settled(z)
    return problem.proved_value(z, gated_support(problem.X, patterns, z))[0]


@np.errstate(over="ignore", invalid="ignore")
def gated_support(X: Float[np.ndarray, "n d"], patterns: Bool[np.ndarray, "n P"], z: Float[np.ndarray, "n C"]) -> float:
    """≥ σ_max(zᵀDX) for every pattern D; ``inf`` where it overflows.

    σ_max(W)² = λmax(WWᵀ), and what rounding adds to W is at most the Frobenius norm of γ|z|ᵀ|X|.
    """
    worst = 0.0
    off = rounding.frobenius_upper(
        rounding.gamma(len(X) + 2) * (np.abs(z).T @ np.abs(X)) * (1 + rounding.gamma(len(X))) + rounding.TINY * len(X)
    )
    step = max(1, BATCH // max(1, z.size))
    for start in range(0, patterns.shape[1], step):
        part = patterns[:, start : start + step].T[:, :, None] * z
        for W in np.matmul(part.transpose(0, 2, 1), X):
            square = W @ W.T
            size = rounding.frobenius_upper(W)
            error = rounding.gamma(X.shape[1] + 2) * size * size + rounding.TINY * W.size
            worst = max(worst, rounding.lambda_max_upper(0.5 * (square + square.T), error))
    total = (math.sqrt(worst) * (1 + rounding.gamma(2)) + off) * (1 + rounding.gamma(4)) if worst >= 0 else math.inf
    return math.nextafter(total, math.inf) if math.isfinite(total) else math.inf
