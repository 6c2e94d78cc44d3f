"""From the solver's last point to a result that checks itself: blocks in their cones, a proved dual bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from reluopt.programs.convex import ConvexProgram
from reluopt.programs.dual import DualBound, harmless_norm
from reluopt.rigor import rounding

#: Blocks whose dense (n,) multipliers are formed at a time.
BATCH = 256

Multipliers = Callable[[Int[np.ndarray, " c"]], Float[np.ndarray, "c n"]]


def prove(program: ConvexProgram, z: Float[np.ndarray, " n"], multipliers: Multipliers | None) -> DualBound:
    """The dual value at the best feasible multiple of z, with the given λ ≥ 0 of every block and rounding proved."""
    z = program.fit.into_domain(program.problem, z)
    plain = rounding.norm_upper(program.correlations(z), rounding.correlation_error(program.X, z)).ravel()
    if multipliers is None:
        bound: float = float(plain.max())
        kept: dict[tuple[int, int], Float[np.ndarray, " n"]] = {}
    else:
        bound, kept = _with_multipliers(program, z, plain, multipliers)
    value, scale = program.scaled_dual(z, bound)
    return DualBound(value, z, scale, bound, kept)


def _with_multipliers(
    program: ConvexProgram, z: Float[np.ndarray, " n"], plain: Float[np.ndarray, " m"], multipliers: Multipliers
) -> tuple[float, dict[tuple[int, int], Float[np.ndarray, " n"]]]:
    """(B, the multipliers that lowered a norm); norms that do not limit the scaling are not lowered."""
    large = plain > harmless_norm(program, z)
    bound = float(plain[~large].max(initial=0.0))
    kept: dict[tuple[int, int], Float[np.ndarray, " n"]] = {}
    for blocks in np.array_split(np.flatnonzero(large), len(plain) // BATCH + 1):
        if len(blocks) == 0:
            continue
        side, pattern = np.divmod(blocks, len(program.patterns))
        dense = program.patterns.dense[:, pattern].T
        weights = np.maximum(multipliers(blocks), 0.0)
        a = np.where(dense, np.array(program.sides)[side][:, None] * z + weights, -weights)
        proved = rounding.norm_upper(a @ program.X, rounding.correlation_error(program.X, a))
        bound = max(bound, float(np.minimum(proved, plain[blocks]).max()))
        kept.update({(int(s), int(i)): w for s, i, w in zip(side, pattern, weights, strict=True)})
    return bound, kept


def into_cones(program: ConvexProgram, blocks: Float[np.ndarray, "k P d"]) -> Float[np.ndarray, "k P d"]:
    """Blocks that are in their cones up to rounding, shifted along the pattern's gate until nothing is violated.

    Without gates, or where a gate lies on the border of its cone, a block stays as it is: its violation, reported in
    the solution, is then of the size of rounding.
    """
    gates = program.patterns.gates
    if not program.has_cones or gates is None:
        return blocks
    repaired = blocks.copy()
    side, pattern = np.nonzero((blocks != 0).any(axis=-1))
    signs = program.patterns.signs[:, pattern]
    depth = signs * (program.X @ gates[:, pattern])
    # a little more each time: the smallest shift that suffices in exact numbers may not in rounded ones
    for more in (1.0 + 1e-12, 2.0, 4.0, 8.0):
        margin = signs * (program.X @ repaired[side, pattern].T)
        short = margin < 0
        if not short.any():
            break
        needed = np.divide(-margin, depth, out=np.full_like(margin, np.inf), where=depth > 0)
        reach = np.where(short, needed, 0.0).max(axis=0)
        reach[~np.isfinite(reach)] = 0.0
        repaired[side, pattern] += (more * reach * gates[:, pattern]).T
    return repaired
