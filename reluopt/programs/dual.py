r"""The dual value of a pattern program, by scaling any z into feasibility.

p̃(S) = max_z Σ κ_i D(z_i/κ_i, y_i)  s.t.  min_{λ≥0} ‖Xᵀ(±D_i z + (2D_i − I)λ)‖ ≤ β for each pattern and side;
gated: the same with λ = 0; D(z) = −ℓ*(−z). From any z in the domain of D, with B the largest of these norms, tz with
the best 0 ≤ t ≤ β/B is feasible, and its value bounds p̃(S) from below. Rounding is accounted for: value, B and t are
proved, not approximate. Free first-layer biases have norms of their own, see ``free_bias*.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from reluopt.programs import cones
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.free_bias import free_bias_norms
from reluopt.programs.outputs import gated_support, relaxed_support
from reluopt.rigor import rounding


@dataclass(frozen=True)
class DualBound:
    """A lower bound on the optimum of one pattern program, with what proves it.

    Attributes
    ----------
    value : a proved lower bound of the dual objective at ``scale * z``, hence of p̃(S); 0 where z proves nothing.
    z : (n,) the candidate before scaling, in the dual objective's domain. ``scale`` : t ≤ β/B.
    bound : B, proved to be at least the largest dual norm at z.
    multipliers : (side, pattern) → λ (n,), for the blocks whose norm had to be lowered by their cone.
    """

    value: float
    z: Float[np.ndarray, "n ..."]
    scale: float
    bound: float
    multipliers: dict[tuple[int, int], Float[np.ndarray, " n"]] = field(default_factory=dict)


def dual_bound(
    program: ConvexProgram, z: Float[np.ndarray, "n ..."], *, stop: Callable[[], bool] = lambda: False
) -> DualBound:
    """Scale z into feasibility; cones are projected on only where they decide the scaling.

    Blocks are visited by falling ‖Xᵀ D_i z‖ (the norm for λ = 0). A block whose norm for λ = 0 is already below
    what the others need cannot matter, so few NNLS problems are begun, and each only until it cannot matter.
    ``stop()`` returning true ends the visits early: the remaining blocks count with λ = 0, which is looser and still
    valid.
    """
    if program.problem.outputs > 1:
        return _of_outputs(program, z, stop)
    z = program.fit.into_domain(program.problem, z)
    if program.problem.biases.first_free:
        support, lowered = free_bias_norms(program, z, harmless_norm(program, z), stop)
        value, scale = program.scaled_dual(z, support)
        return DualBound(value, z, scale, support, lowered)
    correlations = program.correlations(z)
    norms = rounding.norm_upper(correlations, rounding.correlation_error(program.X, z))
    bound = float(norms.max())
    multipliers: dict[tuple[int, int], Float[np.ndarray, " n"]] = {}
    if program.has_cones:
        bound, multipliers = _cone_norms(program, z, correlations, norms, harmless_norm(program, z), stop)
    value, scale = program.scaled_dual(z, bound)
    return DualBound(value, z, scale, bound, multipliers)


def _of_outputs(program: ConvexProgram, z: Float[np.ndarray, "n C"], stop: Callable[[], bool]) -> DualBound:
    """The same for matrix blocks: spectral norms, over the cones where there are some."""
    z = program.problem.settled(z)
    if not np.isfinite(z).all():
        bound = np.inf
    elif program.has_cones:
        enough = harmless_norm(program, z)
        free = program.problem.biases.first_free
        bound = relaxed_support(program.X, program.patterns.dense, z, free=free, enough=enough, stop=stop)
    else:
        bound = gated_support(program.X, program.patterns.dense, z)
    value, scale = program.scaled_dual(z, bound)
    return DualBound(value, z, scale, bound)


def harmless_norm(program: ConvexProgram, z: Float[np.ndarray, "n ..."]) -> float:
    """Below this B the scaling is limited by the dual objective instead of the norms: lowering them gains nothing."""
    if not np.isfinite(z).all():
        return np.inf
    free = program.fit.free_multiple(program.problem, z)
    return program.beta / free if free > 0 else np.inf


def _cone_norms(
    program: ConvexProgram,
    z: Float[np.ndarray, " n"],
    correlations: Float[np.ndarray, "k P d"],
    norms: Float[np.ndarray, "k P"],
    floor: float,
    stop: Callable[[], bool],
) -> tuple[float, dict[tuple[int, int], Float[np.ndarray, " n"]]]:
    """(B, multipliers) over all blocks, visiting only those that can raise B."""
    bound, multipliers, rows = 0.0, {}, None
    for flat in np.argsort(-norms, axis=None):
        side, i = divmod(int(flat), norms.shape[1])
        enough = max(bound, floor)
        if norms[side, i] <= enough or stop():
            bound = max(bound, float(norms[side, i]))
            break
        pattern = program.patterns.dense[:, i]
        rows = cones.unit_rows(program.X) if rows is None else rows
        lowered = cones.lowering_multipliers(rows, pattern, correlations[side, i], enough=enough, stop=stop)
        proved = rounding.correlation_norm_upper(program.X, z, program.sides[side], pattern, lowered)
        if proved < norms[side, i]:
            multipliers[side, i] = lowered
        bound = max(bound, min(proved, float(norms[side, i])))
    return bound, multipliers


def block_norms(program: ConvexProgram, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, "k P"]:
    """The dual norm of every block at z: ‖proj_K(±XᵀD_i z)‖ with cones, ‖XᵀD_i z‖ without."""
    correlations = program.correlations(z)
    if not program.has_cones:
        return np.linalg.norm(correlations, axis=-1)
    dense = program.patterns.dense
    return np.array(
        [[cones.project(program.X, dense[:, i], g).norm for i, g in enumerate(side)] for side in correlations]
    )


def dual_violation(program: ConvexProgram, z: Float[np.ndarray, " n"]) -> float:
    """How far z is from dual feasible: max(0, largest block norm − ``program.dual_radius``)."""
    return max(0.0, float(block_norms(program, z).max()) - program.dual_radius)
