r"""The chains of KP Thm 2.1, 2.3 and 2.5 with this data's numbers in them.

The paper's constant C in C√log(2n) is not given there, so none is invented here: the *instance* factor
2√2·√κ·max_i C_i stands beside √log(2n), and the measured ratio beside both.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from reluopt.problem import Problem
from reluopt.theory.counts_3_2_and_3_3 import A1, assumption_a1, prop_3_2
from reluopt.theory.kernel import instance_factor, log_factor
from reluopt.theory.statements import Hypothesis, Statement, only_squared


def thm_2_1(
    problem: Problem, patterns: int, relaxed: float, lower: float, sharpness: float, *, delta: float = 0.1
) -> Statement:
    """KP Thm 2.1: p* ≤ p̃(S) ≤ C√log(2n) p* for enough patterns, as factors of this instance.

    Parameters
    ----------
    patterns : P of the sample. ``relaxed`` : p̃(S). ``lower`` : a lower bound of p*, 0 if none is known.
    sharpness : max_i C_i of the gated solution (KP Prop. 4.2).
    """
    claim = "instance factor 2√2·√κ·max_i C_i that bounds p̃(S)/p*"
    why = "Thm 3.8 gives its first factor; eq. (7) times max_i C_i is a bound here"
    if (refused := only_squared(problem, "KP Thm 2.1", claim, why)) is not None:
        return refused
    X = problem.X
    needed = prop_3_2(X, delta).value
    a1 = assumption_a1(X)
    enough = patterns >= needed
    return Statement(
        "KP Thm 2.1",
        claim,
        Hypothesis.of(enough),
        f"P ≥ 8κ log(n/δ) = {needed:,.0f} patterns at δ = {delta:g} (here {patterns}); for √log(2n), {A1}: {a1.value}",
        instance_factor(X) * sharpness,
        {
            "√log(2n)": log_factor(len(X)),
            "measured p̃(S)/p*, at most": relaxed / lower if lower > 0 else math.inf,
            "max_i C_i": sharpness,
        },
    )


def thm_2_3(n: int, d: int, patterns: int, relaxed: float, network: float, width: int) -> Statement:
    """KP Thm 2.3: solving p̃(S) and mapping back is polynomial, O(d³m³); the network's L is at most p̃(S).

    Parameters
    ----------
    patterns : P. ``relaxed`` : the value reached for p̃(S). ``network`` : L of the mapped, pruned network of ``width``.
    """
    return Statement(
        "KP Thm 2.3",
        "L of the network mapped from the relaxation and pruned, at most p̃(S)",
        Hypothesis.of(network <= relaxed * (1 + 1e-9)),
        "L(network) ≤ p̃(S), up to rounding",
        network,
        {"p̃(S)": relaxed, "width": width, "unknowns 2Pd": 2 * patterns * d, "cone rows 2Pn": 2 * patterns * n},
    )


def thm_2_5(
    X: Float[np.ndarray, "n d"],
    initial_U: Float[np.ndarray, "m d"],
    U: Float[np.ndarray, "m d"],
    objective: float,
    own: float,
    kept: float,
) -> Statement:
    """KP Thm 2.5: under (A2) L(θ) = p̃(S(θ)) ≤ p̃(S_kept) ≤ C√log(2n) p*, for a trained network.

    Parameters
    ----------
    initial_U, U : first-layer weights before and after training. ``objective`` : L(θ).
    own, kept : p̃ over the network's own patterns, and over those unchanged since the start.
    """
    unchanged = ((X @ initial_U.T >= 0) == (X @ U.T >= 0)).all(axis=0)
    fraction = float(unchanged.mean())
    return Statement(
        "KP Thm 2.5",
        "L(θ), which is p̃(S(θ)) at a stationary point and at most p̃(S_kept) under (A2)",
        Hypothesis.of(fraction >= 0.5),
        f"(A2): at least half of the patterns survive from initialisation (here {fraction:.0%})",
        objective,
        {"p̃(S(θ))": own, "p̃(S_kept)": kept, "√log(2n)": log_factor(len(X)), "kept fraction": fraction},
    )


def lemma_2_4(
    X: Float[np.ndarray, "n d"], initial_U: Float[np.ndarray, "m d"], U: Float[np.ndarray, "m d"]
) -> Statement:
    """KP Lemma 2.4 is per sample: the worst sample's fraction of neurons on the side where they started."""
    same = ((X @ initial_U.T >= 0) == (X @ U.T >= 0)).mean(axis=1)
    return Statement(
        "KP Lemma 2.4",
        "smallest fraction, over the samples, of neurons that kept their side of it",
        Hypothesis.ASSUMED,
        "wide network near its start (the lemma's width is not checked)",
        float(same.min()),
        {"mean": float(same.mean())},
    )
