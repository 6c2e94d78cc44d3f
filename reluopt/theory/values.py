r"""Values of the gated and ridge programs by formula, above and below (KP Thm 3.4 to 3.9).

A = Σ D_iXXᵀD_i over the P sampled patterns, M its expectation for one, λmax = λmax(XXᵀ), κ = λmax/λmin(M).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from reluopt.objective import SQUARED
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.ridge import pattern_gram
from reluopt.theory.counts import A1, assumption_a1
from reluopt.theory.kernel import expected_gram, kappa, largest_gram_eigenvalue, smallest_eigenvalue
from reluopt.theory.maxcut import max_pattern_correlation
from reluopt.theory.statement import Hypothesis, Statement

INVERTIBLE = "the sampled Σ D_iXXᵀD_i is invertible"
POSITIVE = "λmin(M) > 0 (no zero, repeated or positively parallel rows)"


def thm_3_4(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], patterns: PatternSet, beta: float) -> Statement:
    """KP Thm 3.4: the ridge optimum (β/2) yᵀ(A + βI)⁻¹y, beside its limit with P·M for A, which falls like 1/P."""
    P = len(patterns)
    value = _ridge(pattern_gram(X, patterns), y, beta)
    limit = _ridge(P * expected_gram(X), y, beta)
    return Statement(
        "KP Thm 3.4",
        "optimum of the ridge program over the sample",
        Hypothesis.HOLDS,
        "none",
        value,
        {"with P·M for its sum": limit, "ratio": value / limit if limit > 0 else math.nan, "P": P},
    )


def prop_3_5(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], patterns: PatternSet, beta: float) -> Statement:
    """KP Prop. 3.5: p_gated(S) ≤ β √P √(yᵀA⁻¹y) ≤ √2 β‖y‖/√λmin(M), the latter where A ⪰ (P/2) λmin(M) I."""
    A = pattern_gram(X, patterns)
    invertible = smallest_eigenvalue(A) > 0
    value = beta * math.sqrt(len(patterns) * float(y @ np.linalg.solve(A, y))) if invertible else math.inf
    smallest = smallest_eigenvalue(expected_gram(X))
    general = math.sqrt(2) * beta * float(np.linalg.norm(y)) / math.sqrt(smallest) if smallest > 0 else math.inf
    return Statement(
        "KP Prop. 3.5",
        "upper bound β√P √(yᵀA⁻¹y) of the gated optimum over the sample",
        Hypothesis.of(invertible),
        INVERTIBLE,
        value,
        {"√2 β‖y‖/√λmin(M)": general},
    )


def prop_3_6(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], beta: float) -> Statement:
    """KP Prop. 3.6: z = ty with B = √λmax(XXᵀ)‖y‖ bounds p_gated(any patterns) and p* from below.

    t yᵀy − ½t²‖y‖² with t = min(β/B, 1). In float64: the proved form is in ``reluopt.bounds``.
    """
    bound = math.sqrt(largest_gram_eigenvalue(X)) * float(np.linalg.norm(y))
    t = SQUARED.best_scaling(y, y, bound, beta)
    return Statement(
        "KP Prop. 3.6",
        "lower bound of p* and of every gated optimum, from λmax(XXᵀ)",
        Hypothesis.HOLDS,
        "none",
        float(SQUARED.dual_objective(t * y, y)),
        {"t": t},
    )


def cor_3_7(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], beta: float) -> Statement:
    """KP Cor. 3.7: if β ≤ √λmax(XXᵀ)‖y‖, p_gated ≥ β‖y‖/(2√λmax(XXᵀ))."""
    root, norm = math.sqrt(largest_gram_eigenvalue(X)), float(np.linalg.norm(y))
    return Statement(
        "KP Cor. 3.7",
        "lower bound β‖y‖/(2√λmax(XXᵀ)) of p* and of every gated optimum",
        Hypothesis.of(beta <= root * norm),
        "β ≤ √λmax(XXᵀ) ‖y‖",
        beta * norm / (2 * root) if root > 0 else math.inf,
        {"√λmax(XXᵀ)‖y‖": root * norm},
    )


def thm_3_8(X: Float[np.ndarray, "n d"]) -> Statement:
    """KP Thm 3.8: p_gated(S)/p_gated(all) ≤ 2√2 √κ w.h.p. once S is as large as Prop. 3.2 asks; √(2κ) as β → 0."""
    k = kappa(X)
    return Statement(
        "KP Thm 3.8",
        "factor 2√2 √κ between the gated optimum over the sample and over all patterns",
        Hypothesis.of(math.isfinite(k)),
        POSITIVE,
        2 * math.sqrt(2 * k),
        {"√(2κ), the sharper pairing": math.sqrt(2 * k), "kappa": k},
    )


def eq_7(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], patterns: PatternSet, beta: float) -> Statement:
    """KP eq. (7), with this y and this sample in the place of their worst cases: Prop. 3.5 over (*) at z = y.

    β√P√(yᵀA⁻¹y) / LB, where LB takes the B² ≥ max_D yᵀDXXᵀDy of the MAX-CUT bound: never above Thm 3.8's route.
    """
    upper = prop_3_5(X, y, patterns, beta)
    bound = math.sqrt(max_pattern_correlation(X, y).upper)
    t = SQUARED.best_scaling(y, y, bound, beta)
    lower = float(SQUARED.dual_objective(t * y, y))
    return Statement(
        "KP eq. (7)",
        "bound of p_gated(S)/p_gated(all) for this y and this sample",
        upper.hypothesis,
        upper.condition,
        upper.value / lower if lower > 0 else math.inf,
        {"upper": upper.value, "lower": lower},
    )


def thm_3_9(X: Float[np.ndarray, "n d"]) -> Statement:
    """KP Thm 3.9: under (A1) λmin(M) ≥ d/10 with high probability for d large; measured here."""
    measured = smallest_eigenvalue(expected_gram(X)) / X.shape[1]
    return Statement(
        "KP Thm 3.9",
        "λmin(M)/d, which (A1) puts above 1/10 for d large",
        assumption_a1(X),
        A1,
        measured,
        {"promised": 0.1, "n/d": X.shape[0] / X.shape[1]},
    )


def _ridge(A: Float[np.ndarray, "n n"], y: Float[np.ndarray, " n"], beta: float) -> float:
    return 0.5 * beta * float(y @ np.linalg.solve(A + beta * np.eye(len(A)), y))
