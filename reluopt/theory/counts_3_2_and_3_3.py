r"""How many patterns there are, and how many the theorems ask for (KP Prop. 3.2, Cor. 3.3; Cover 1965)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from reluopt.errors import ConfigError
from reluopt.patterns.arrangement import cover_count
from reluopt.patterns.exact_rows import directions, integer_rows, modular_columns
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.ridge import pattern_gram
from reluopt.theory.kernel import expected_gram, kappa, smallest_eigenvalue
from reluopt.theory.statements import Hypothesis, Statement

#: Below this p-value the entries of X are called not standard normal.
GAUSSIAN_LEVEL = 1e-3
A1 = "(A1): entries of X i.i.d. N(0, 1), d large"


def assumption_a1(X: Float[np.ndarray, "n d"]) -> Hypothesis:
    """(A1) can be refuted, not confirmed: FAILS where the entries, or the columns' correlations, are not those of
    N(0, 1) at the level 10⁻³; ASSUMED otherwise."""
    n, d = X.shape
    if (X.std(axis=0) == 0).any():
        return Hypothesis.FAILS
    p_values = [stats.kstest(X.ravel(), "norm").pvalue]
    if n > 3 and d > 1:
        # Fisher: artanh of a sample correlation of independent normals is about N(0, 1/(n − 3))
        correlation = np.clip(np.corrcoef(X.T)[np.triu_indices(d, 1)], -1 + 1e-15, 1 - 1e-15)
        squares = (n - 3) * np.arctanh(correlation) ** 2
        p_values.append(stats.chi2.sf(squares.sum(), len(squares)))
    return Hypothesis.FAILS if min(p_values) < GAUSSIAN_LEVEL else Hypothesis.ASSUMED


def cover_1965(X: Float[np.ndarray, "n d"]) -> Statement:
    """P = 2 Σ_{k<r} C(n−1, k): the number of all patterns for rows in general position of rank r, else a bound."""
    rows = integer_rows(X)
    lines, r = len(directions(rows).representative), len(modular_columns(rows))
    count = cover_count(lines, r)
    general = lines == len(X)
    return Statement(
        "Cover 1965",
        "number of activation patterns of X, at most",
        Hypothesis.ASSUMED if general else Hypothesis.FAILS,
        "rows in general position"
        if general
        else f"rows in general position: only {lines} of {len(X)} rows are distinct directions",
        float(count) if count < 2**1000 else math.inf,
        {"rank": r, "distinct directions": lines, "log10": math.log10(count)},
    )


def prop_3_2(X: Float[np.ndarray, "n d"], delta: float = 0.1) -> Statement:
    """KP Prop. 3.2: P ≥ 8κ log(n/δ) patterns give Σ D_iXXᵀD_i ⪰ (P/2) λmin(M) I with probability ≥ 1 − δ.

    Raises
    ------
    ConfigError : δ outside of (0, 1).
    """
    _check_delta(delta)
    k = kappa(X)
    needed = math.ceil(8 * k * math.log(len(X) / delta)) if math.isfinite(k) else math.inf
    return Statement(
        "KP Prop. 3.2",
        f"patterns needed, 8κ log(n/δ) at δ = {delta:g}",
        Hypothesis.of(math.isfinite(k)),
        "λmin(M) > 0 (no zero, repeated or positively parallel rows)",
        float(needed),
        {"kappa": k, "delta": delta},
    )


def prop_3_2_a1(X: Float[np.ndarray, "n d"], delta: float = 0.1) -> Statement:
    """KP Prop. 3.2 under (A1): 320(√c + 1)² log(n/δ) patterns, c = n/d (λmin(M) ≥ d/10, λmax(XXᵀ) ≤ 4(√c + 1)²d).

    Raises
    ------
    ConfigError : δ outside of (0, 1).
    """
    _check_delta(delta)
    n, d = X.shape
    return Statement(
        "KP Prop. 3.2 (A1)",
        f"patterns needed, 320(√c + 1)² log(n/δ) at δ = {delta:g}",
        assumption_a1(X),
        A1,
        float(math.ceil(320 * (math.sqrt(n / d) + 1) ** 2 * math.log(n / delta))),
        {"c": n / d, "delta": delta},
    )


def cor_3_3(X: Float[np.ndarray, "n d"], patterns: PatternSet) -> Statement:
    """KP Cor. 3.3, tested on the sample: λmin(Σ D_iXXᵀD_i) against (P/2) λmin(M); above 0, any y is fitted exactly."""
    measured = smallest_eigenvalue(pattern_gram(X, patterns))
    promised = 0.5 * len(patterns) * smallest_eigenvalue(expected_gram(X))
    return Statement(
        "KP Cor. 3.3",
        "λmin(Σ D_iXXᵀD_i) of the sample; above 0 every y has an exact gated fit",
        Hypothesis.of(measured > 0),
        "the sampled Σ D_iXXᵀD_i is invertible",
        measured,
        {"(P/2) λmin(M)": promised, "P": len(patterns)},
    )


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigError(f"δ is {delta}.", "Give a probability between 0 and 1, such as 0.1.")
