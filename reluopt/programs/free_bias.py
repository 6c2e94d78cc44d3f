r"""The dual norm of a block with a free first-layer bias: sup of ± zᵀD(Xv + b) over its cone, ‖v‖ ≤ 1, any b; proved.

In the rows (x_i − γ, ρ), ρ ≥ ‖x_i − γ‖, a block (v, b̃) of a pattern with both signs has b̃ between two kinks, so that
|b̃| ≤ ‖v‖, and for every λ ≥ 0 with a = ±Dz + (2D − I)λ

.. math:: ± zᵀD(Xv + b) ≤ aᵀ(Xv + b) ≤ ‖Σ_i a_i (x_i − γ)‖ + ρ |Σ_i a_i|.

λ is sought by the projection on the cone with the last column s times as large, which makes Σ a_i small. Where all
samples are active b has no upper end: then λ = 0, and Σ_i z_i = 0 is exact. Where none is, the block is nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from reluopt.programs import cones
from reluopt.programs.convex import ConvexProgram
from reluopt.rigor import rounding

#: s: the projection minimises ‖Σ a_i (x_i − γ)‖² + s²ρ²|Σ a_i|².
STRETCH = 1e3
Multipliers = dict[tuple[int, int], Float[np.ndarray, " n"]]


class _Rows:
    """(x_i − γ) (n, e), ρ, and the stretched rows of the projection."""

    def __init__(self, X: Float[np.ndarray, "n d"]) -> None:
        self.centred = X[:, :-1] - X[:, :-1].mean(axis=0)
        # x − γ is rounded once more than the norm knows
        self.reach = math.nextafter(float(rounding.norm_upper(self.centred).max()) * (1 + rounding.gamma(4)), math.inf)
        self.stretched = np.hstack([self.centred, np.full((len(X), 1), STRETCH * (self.reach or 1.0))])
        self.units = cones.unit_rows(self.stretched)

    def norm_upper(self, a: Float[np.ndarray, " n"]) -> float:
        """≥ ‖Σ a_i (x_i − γ)‖ + ρ|Σ a_i|; the rounding of x − γ and of a is within the doubled error."""
        part = float(rounding.norm_upper(a @ self.centred, 2.0 * rounding.correlation_error(self.centred, a)))
        # fsum rounds once; an entry of a has been rounded once as well
        sums = abs(math.fsum(a.tolist())) + 2.0**-52 * math.fsum(np.abs(a).tolist())
        total = (part + self.reach * sums) * (1 + rounding.gamma(4))
        return math.nextafter(total, math.inf) if math.isfinite(total) else math.inf


def free_bias_norms(
    program: ConvexProgram, z: Float[np.ndarray, " n"], floor: float, stop: Callable[[], bool]
) -> tuple[float, Multipliers]:
    """(B, λ by side and pattern): B ≥ the dual norm of every block at z, which sums to 0 exactly.

    Blocks whose norm for λ = 0 is not above what the others need, or below ``floor``, are left as they are.
    """
    if not np.isfinite(z).all():
        return math.inf, {}
    rows, dense = _Rows(program.X), program.patterns.dense.astype(bool)
    sides = [(s, i) for i in range(dense.shape[1]) if dense[:, i].any() for s in range(len(program.sides))]
    norms = {(s, i): _unlowered(rows, program.sides[s] * z, dense[:, i]) for s, i in sides}
    bound, multipliers = 0.0, Multipliers()
    for s, i in sorted(sides, key=lambda key: -norms[key]):
        enough = max(bound, floor)
        if norms[s, i] <= enough or stop():
            return max(bound, norms[s, i]), multipliers
        pattern, proved = dense[:, i], norms[s, i]
        if not pattern.all():
            lowered = _multipliers(rows, program.sides[s] * z, pattern, enough, stop)
            now = rows.norm_upper(np.where(pattern, program.sides[s] * z + lowered, -lowered))
            if (lowered >= 0).all() and now < proved:
                proved, multipliers[s, i] = now, lowered
        bound = max(bound, proved)
    return bound, multipliers


def _unlowered(rows: _Rows, z: Float[np.ndarray, " n"], pattern: Bool[np.ndarray, " n"]) -> float:
    """With λ = 0; where all samples are active Σz_i = 0 is exact, and only the first part is left."""
    if pattern.all():
        return float(rounding.norm_upper(z @ rows.centred, 2.0 * rounding.correlation_error(rows.centred, z)))
    return rows.norm_upper(np.where(pattern, z, 0.0))


def _multipliers(
    rows: _Rows, z: Float[np.ndarray, " n"], pattern: Bool[np.ndarray, " n"], enough: float, stop: Callable[[], bool]
) -> Float[np.ndarray, " n"]:
    g = np.where(pattern, z, 0.0) @ rows.stretched
    return cones.lowering_multipliers(rows.units, pattern, g, enough=enough / (1.0 + 1.0 / STRETCH), stop=stop)
