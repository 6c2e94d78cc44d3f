r"""Cone sharpness over the sampled cones, against √log(2n) (KP section 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.decomposition import RelaxedPoint, relaxed_from_gated, sharpness_bound
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.solvers.cone_sharpness import minimum_norm_decomposition, sharpness
from reluopt.theory.counts_3_2_and_3_3 import A1, assumption_a1
from reluopt.theory.kernel import log_factor
from reluopt.theory.statements import Hypothesis, Statement

OPEN = "every sampled cone has an interior (true of Gaussian gates)"


@dataclass(frozen=True)
class SampledSharpness:
    """C(K_i, z) and the bound of Prop. 4.3 for sampled cones and random unit z, each (count,)."""

    values: Float[np.ndarray, " count"]
    bounds: Float[np.ndarray, " count"]


def sampled_sharpness(
    X: Float[np.ndarray, "n d"], patterns: PatternSet, rng: np.random.Generator, *, cones: int = 20
) -> SampledSharpness:
    """The sharpness of up to ``cones`` of the patterns' cones, each at one uniformly random direction."""
    chosen = rng.permutation(len(patterns))[:cones]
    directions = rng.standard_normal((len(chosen), X.shape[1]))
    dense = patterns.dense
    values = [sharpness(X, dense[:, i], z).value for i, z in zip(chosen, directions, strict=True)]
    bounds = [sharpness_bound(X, dense[:, i], z) for i, z in zip(chosen, directions, strict=True)]
    return SampledSharpness(np.array(values), np.array(bounds))


def def_4_1(X: Float[np.ndarray, "n d"], sample: SampledSharpness) -> Statement:
    """KP Def. 4.1 measured: the largest C(K, z) over sampled cones and directions, beside √log(2n)."""
    return Statement(
        "KP Def. 4.1",
        f"largest sharpness C(K, z) of {len(sample.values)} sampled cones at random z",
        Hypothesis.HOLDS,
        OPEN,
        float(sample.values.max()),
        {"median": float(np.median(sample.values)), "√log(2n)": log_factor(len(X))},
    )


def prop_4_3(sample: SampledSharpness) -> Statement:
    """KP Prop. 4.3: C ≤ (‖c‖ + ‖c + εz‖)/ε for c and c + εz in the cone, at each sampled cone's deepest c."""
    return Statement(
        "KP Prop. 4.3",
        "largest bound (‖c‖ + ‖c + εz‖)/ε of the same sharpnesses",
        Hypothesis.of(bool(np.isfinite(sample.bounds).all())),
        OPEN,
        float(sample.bounds.max()),
        {"median of bound/C": float(np.median(sample.bounds / sample.values))},
    )


def cor_4_5(X: Float[np.ndarray, "n d"], sample: SampledSharpness) -> Statement:
    """KP Cor. 4.5: under (A1) C(K, z) = O(√log 2n) w.h.p.; its constant is open, so the measured ratio is given."""
    return Statement(
        "KP Cor. 4.5",
        "largest measured C(K, z)/√log(2n): the constant this data would need",
        assumption_a1(X),
        A1,
        float(sample.values.max()) / log_factor(len(X)),
        {"√log(2n)": log_factor(len(X))},
    )


def prop_4_2(
    program: RelaxedProgram, gated_blocks: Float[np.ndarray, "1 P d"], gated_value: float
) -> tuple[Statement, RelaxedPoint]:
    """KP Prop. 4.2: p_gated(S) ≤ p̃(S) ≤ max_i C(K_i, w_i/‖w_i‖) p_gated(S), with the feasible point that shows it."""
    point = relaxed_from_gated(program, gated_blocks, minimum_norm_decomposition)
    statement = Statement(
        "KP Prop. 4.2",
        "loss factor max_i C(K_i, w_i/‖w_i‖) of the gated solution over this sample",
        Hypothesis.of(math.isfinite(point.factor)),
        OPEN,
        point.factor,
        {"relaxed value it reaches": point.value, "gated value": gated_value},
    )
    return statement, point
