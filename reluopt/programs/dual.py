r"""The dual value of a pattern program, by scaling any z into feasibility.

p̃(S) = max_z yᵀz − ½‖z‖²  s.t.  min_{λ≥0} ‖Xᵀ(±D_i z + (2D_i − I)λ)‖ ≤ β for each pattern and side;
gated: the same with λ = 0. From any z, with B the largest of these norms, tz with
t = min(β/B, yᵀz/‖z‖²) is feasible, and its value bounds p̃(S) from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from reluopt.objective import SQUARED
from reluopt.programs import cones
from reluopt.programs.pattern_program import PatternProgram


@dataclass(frozen=True)
class DualBound:
    """A lower bound on the optimum of one pattern program, with what proves it.

    Attributes
    ----------
    value : the dual objective at ``scale * z``.
    z : (n,) the candidate before scaling. ``scale`` : t.
    bound : B, at least the largest dual norm at z.
    multipliers : (side, pattern) → λ (n,), for the blocks whose norm had to be lowered by their cone.
    """

    value: float
    z: Float[np.ndarray, " n"]
    scale: float
    bound: float
    multipliers: dict[tuple[int, int], Float[np.ndarray, " n"]] = field(default_factory=dict)


def dual_bound(
    program: PatternProgram, z: Float[np.ndarray, " n"], *, stop: Callable[[], bool] = lambda: False
) -> DualBound:
    """Scale z into feasibility; cones are projected on only where they decide the scaling.

    Blocks are visited by falling ‖Xᵀ D_i z‖ (the norm for λ = 0). A block whose norm for λ = 0 is already below
    what the others need cannot matter, so few NNLS problems are solved. ``stop()`` returning true ends the
    visits early: the remaining blocks count with λ = 0, which is looser and still valid.
    """
    correlations = program.correlations(z)
    norms = np.linalg.norm(correlations, axis=-1)
    # below this B the scaling is limited by yᵀz/‖z‖² instead, and smaller norms gain nothing
    zz = float(z @ z)
    floor = program.beta * zz / float(program.y @ z) if float(program.y @ z) > 0 else np.inf
    bound = float(norms.max())
    multipliers: dict[tuple[int, int], Float[np.ndarray, " n"]] = {}
    if program.has_cones:
        bound, multipliers = _cone_norms(program, correlations, norms, floor, stop)
    scale = SQUARED.best_scaling(z, program.y, bound, program.beta)
    return DualBound(float(SQUARED.dual_objective(scale * z, program.y)), z, scale, bound, multipliers)


def _cone_norms(
    program: PatternProgram,
    correlations: Float[np.ndarray, "k P d"],
    norms: Float[np.ndarray, "k P"],
    floor: float,
    stop: Callable[[], bool],
) -> tuple[float, dict[tuple[int, int], Float[np.ndarray, " n"]]]:
    """(B, multipliers) over all blocks, visiting only those that can raise B."""
    bound, multipliers = 0.0, {}
    for flat in np.argsort(-norms, axis=None):
        side, i = divmod(int(flat), norms.shape[1])
        if norms[side, i] <= max(bound, floor) or stop():
            bound = max(bound, float(norms[side, i]))
            break
        projection = cones.project(program.X, program.patterns.dense[:, i], correlations[side, i])
        bound = max(bound, projection.norm)
        if projection.multipliers.any():
            multipliers[side, i] = projection.multipliers
    return bound, multipliers


def block_norms(program: PatternProgram, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, "k P"]:
    """The dual norm of every block at z: ‖proj_K(±XᵀD_i z)‖ with cones, ‖XᵀD_i z‖ without."""
    correlations = program.correlations(z)
    if not program.has_cones:
        return np.linalg.norm(correlations, axis=-1)
    dense = program.patterns.dense
    return np.array(
        [[cones.project(program.X, dense[:, i], g).norm for i, g in enumerate(side)] for side in correlations]
    )
