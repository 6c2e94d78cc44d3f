r"""Values of the gated and ridge programs by formula, above and below (KP Thm 3.4 to 3.9).

A = Σ D_iXXᵀD_i over the P sampled patterns, M its expectation for one, λmax = λmax(XXᵀ), κ = λmax/λmin(M), z the dual
point −∂L/∂f of the zero network. The paper speaks of the squared loss, whose z is y and whose L of the zero network is
½‖y‖²; what its proofs give for other losses is stated for them, and what they do not is refused by a statement.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.ridge import pattern_gram
from reluopt.theory.counts_3_2_and_3_3 import A1, assumption_a1
from reluopt.theory.kernel import expected_gram, kappa, largest_gram_eigenvalue, smallest_eigenvalue
from reluopt.theory.maxcut import section_3_4
from reluopt.theory.statements import Hypothesis, Statement, only_squared

INVERTIBLE = "the sampled Σ D_iXXᵀD_i is invertible"
POSITIVE = "λmin(M) > 0 (no zero, repeated or positively parallel rows)"


def thm_3_4(problem: Problem, patterns: PatternSet) -> Statement:
    """KP Thm 3.4: the ridge optimum (β/2) yᵀ(A + βI)⁻¹y, beside its limit with P·M for A, which falls like 1/P."""
    claim = "optimum of the ridge program over the sample"
    if (refused := only_squared(problem, "KP Thm 3.4", claim, "its optimum has no formula")) is not None:
        return refused
    P = len(patterns)
    value = _ridge(pattern_gram(problem.X, patterns), problem)
    limit = _ridge(P * expected_gram(problem.X), problem)
    return Statement(
        "KP Thm 3.4",
        claim,
        Hypothesis.HOLDS,
        "none",
        value,
        {"with P·M for its sum": limit, "ratio": value / limit if limit > 0 else math.nan, "P": P},
    )


def prop_3_5(problem: Problem, patterns: PatternSet) -> Statement:
    """KP Prop. 3.5: p_gated(S) ≤ β √P √(yᵀA⁻¹y) ≤ √2 β‖y‖/√λmin(M), the latter where A ⪰ (P/2) λmin(M) I.

    It is the value of an exact fit f = y, to which every loss adds its Σ κℓ(y, y): 0 but for the logistic loss.

    Raises
    ------
    ConfigError : a problem of several outputs.
    """
    problem.require_one_output("KP Prop. 3.5")
    y, beta, at_fit = problem.y, problem.beta, problem.loss_value(problem.y)
    A = pattern_gram(problem.X, patterns)
    invertible = smallest_eigenvalue(A) > 0
    value = beta * math.sqrt(len(patterns) * float(y @ np.linalg.solve(A, y))) if invertible else math.inf
    smallest = smallest_eigenvalue(expected_gram(problem.X))
    general = math.sqrt(2) * beta * float(np.linalg.norm(y)) / math.sqrt(smallest) if smallest > 0 else math.inf
    return Statement(
        "KP Prop. 3.5",
        "upper bound β√P √(yᵀA⁻¹y) of the gated optimum over the sample"
        + (", plus the loss of the fit f = y" if at_fit > 0 else ""),
        Hypothesis.of(invertible),
        INVERTIBLE,
        value + at_fit,
        {"√2 β‖y‖/√λmin(M)": general} | ({"loss of the fit f = y": at_fit} if at_fit > 0 else {}),
    )


def prop_3_6(problem: Problem) -> Statement:
    """KP Prop. 3.6: tz with B = √λmax(XXᵀ)‖z‖ bounds p_gated(any patterns) and p* from below, t the best ≤ β/B.

    For any loss. In float64: the proved form is in ``reluopt.bounds``.
    """
    z = problem.zero_dual_point
    bound = math.sqrt(largest_gram_eigenvalue(problem.X)) * float(np.linalg.norm(z))
    return Statement(
        "KP Prop. 3.6",
        "lower bound of p* and of every gated optimum, from λmax(XXᵀ)",
        Hypothesis.HOLDS,
        "none",
        problem.estimated_value(z, bound),
        {"β/(√λmax(XXᵀ)‖z‖)": problem.beta / bound if bound > 0 else math.inf},
    )


def cor_3_7(problem: Problem) -> Statement:
    """KP Cor. 3.7: if β ≤ √λmax(XXᵀ)‖z‖, p_gated ≥ β L(0)/(√λmax(XXᵀ)‖z‖): for the squared loss β‖y‖/(2√λmax(XXᵀ)).

    For any loss, because its dual objective is concave, L(0) at z (Fenchel) and at least 0 at 0.
    """
    bound = math.sqrt(largest_gram_eigenvalue(problem.X)) * float(np.linalg.norm(problem.zero_dual_point))
    return Statement(
        "KP Cor. 3.7",
        "lower bound β L(0)/(√λmax(XXᵀ)‖z‖) of p* and of every gated optimum",
        Hypothesis.of(problem.beta <= bound),
        "β ≤ √λmax(XXᵀ) ‖z‖",
        problem.beta * problem.zero_value / bound if bound > 0 else math.inf,
        {"√λmax(XXᵀ)‖z‖": bound},
    )


def thm_3_8(problem: Problem) -> Statement:
    """KP Thm 3.8: p_gated(S)/p_gated(all) ≤ 2√2 √κ w.h.p. once S is as large as Prop. 3.2 asks; √(2κ) as β → 0."""
    claim = "factor 2√2 √κ between the gated optimum over the sample and over all patterns"
    why = "its upper and its lower bound are multiples of ‖y‖ for that loss alone; see eq. (7)"
    if (refused := only_squared(problem, "KP Thm 3.8", claim, why)) is not None:
        return refused
    k = kappa(problem.X)
    return Statement(
        "KP Thm 3.8",
        claim,
        Hypothesis.of(math.isfinite(k)),
        POSITIVE,
        2 * math.sqrt(2 * k),
        {"√(2κ), the sharper pairing": math.sqrt(2 * k), "kappa": k},
    )


def eq_7(problem: Problem, patterns: PatternSet) -> Statement:
    """KP eq. (7), with these targets and this sample in the place of their worst cases: Prop. 3.5 over (*) at z.

    LB takes the B² ≥ max_D zᵀDXXᵀDz of the MAX-CUT bound; for the squared loss never above Thm 3.8's route.
    """
    upper, lower = prop_3_5(problem, patterns), section_3_4(problem).value
    return Statement(
        "KP eq. (7)",
        "bound of p_gated(S)/p_gated(all) for these targets and this sample",
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


def _ridge(A: Float[np.ndarray, "n n"], problem: Problem) -> float:
    y, beta = problem.y, problem.beta
    return 0.5 * beta * float(y @ np.linalg.solve(A + beta * np.eye(len(A)), y))
