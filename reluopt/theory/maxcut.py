r"""The MAX-CUT bound of KP section 3.4: max over all D ∈ {0, 1}ⁿ of yᵀDXXᵀDy.

With D = (1 + s)/2, s ∈ {−1, 1}ⁿ, G = diag(y)X and Ĝ = [1ᵀG; G], it is ¼ max ‖Ĝᵀŝ‖² over signs ŝ: a quadratic form
that its SDP (unit vectors for signs) exceeds by at most π/2 (Nesterov 1998). The dual, min ¼ Σμ_i subject to
Diag(μ) ⪰ ĜĜᵀ, needs no exact optimum: for *any* μ > 0, ρμ with ρ = λmax(Ĝᵀ Diag(μ)⁻¹ Ĝ), of size d only, is
feasible, so ¼ρΣμ_i is an upper bound. √ of it is a B for (*) at z = y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.problem import Problem
from reluopt.rigor import rounding
from reluopt.theory.statements import Hypothesis, Statement

#: Columns of the SDP's low-rank factor; √(2(n + 1)) would be enough for certain, few are enough in practice.
RANK = 24


@dataclass(frozen=True)
class PatternCorrelation:
    """``lower`` ≤ max_D yᵀDXXᵀDy ≤ ``upper``: a pattern found by rounding, and the repaired dual of the SDP."""

    lower: float
    upper: float


def max_pattern_correlation(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    *,
    iterations: int = 500,
    rng: np.random.Generator | None = None,
) -> PatternCorrelation:
    """Bracket max_D yᵀDXXᵀDy by the SDP. The upper bound holds whatever the number of iterations.

    Unit rows V ← rows of ĜĜᵀV, normalised, climb (the form is convex); μ_i = ‖(ĜĜᵀV)_i‖ at the end.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    G = y[:, None] * X
    G = G[np.any(G != 0, axis=1)]
    if len(G) == 0:
        return PatternCorrelation(0.0, 0.0)
    scale = float(np.linalg.norm(G, axis=1).max())
    G = np.vstack([G.sum(axis=0), G]) / scale
    V = _unit_rows(rng.standard_normal((len(G), min(RANK, len(G)))))
    best, value = math.inf, -math.inf
    for step in range(iterations):
        W = G @ (G.T @ V)
        V = _unit_rows(W)
        before, value = value, float(np.linalg.norm(W, axis=1).sum())
        done = value - before <= 1e-12 * value
        if done or step % 50 == 49:
            best = min(best, _dual(G, np.linalg.norm(W, axis=1)))
        if done:
            break
    return PatternCorrelation(_rounded(G, V, rng) * scale**2, best * scale**2 * (1 + 1e-15))


def section_3_4(problem: Problem) -> Statement:
    """KP section 3.4: (*) at the z of the zero network (the paper's y) with B² the MAX-CUT bound, for any loss.

    A lower bound of p* and of every gated optimum. Exact as a bound of max_D zᵀDXXᵀDz where the classes are
    orthogonally separable (z_iz_jx_iᵀx_j ≥ 0 for all i, j).

    Raises
    ------
    ConfigError : a problem of several outputs.
    """
    problem.require_one_output("KP section 3.4")
    z = problem.zero_dual_point
    found = max_pattern_correlation(problem.X, z)
    G = z[:, None] * problem.X
    return Statement(
        "KP section 3.4",
        "lower bound of p* and of every gated optimum, from the MAX-CUT bound",
        Hypothesis.of(bool((G @ G.T >= 0).all())),
        "classes orthogonally separable (for the MAX-CUT bound to be exact; the lower bound holds anyway)",
        problem.estimated_value(z, math.sqrt(found.upper)),
        {"max_D zᵀDXXᵀDz, at most": found.upper, "at least": found.lower},
    )


def _unit_rows(V: Float[np.ndarray, "N k"]) -> Float[np.ndarray, "N k"]:
    norms = np.linalg.norm(V, axis=1, keepdims=True)
    return V / np.where(norms > 0, norms, 1.0)


def _dual(G: Float[np.ndarray, "N d"], mu: Float[np.ndarray, " N"]) -> float:
    """¼ρΣμ with ρ ≥ λmax(Ĝᵀ Diag(μ)⁻¹ Ĝ), rounding accounted for; 1e-12 covers the half and the sum."""
    mu = np.maximum(mu, 1e-12 * mu.max())
    half = G / np.sqrt(mu)[:, None]
    return 0.25 * float(mu.sum()) * rounding.lambda_max_of_gram_upper(half) * (1 + 1e-12)


def _rounded(G: Float[np.ndarray, "N d"], V: Float[np.ndarray, "N k"], rng: np.random.Generator) -> float:
    """The best of 64 random hyperplane roundings, each climbed by ŝ ← sign(ĜĜᵀŝ)."""
    s = np.where(V @ rng.standard_normal((V.shape[1], 64)) >= 0, 1.0, -1.0)
    for _ in range(100):
        climbed = np.where(G @ (G.T @ s) >= 0, 1.0, -1.0)
        if (climbed == s).all():
            break
        s = climbed
    return 0.25 * float(((G.T @ s) ** 2).sum(axis=0).max())
