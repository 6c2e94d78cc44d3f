"""One judge for all solvers: value and cone violation of the blocks as returned, and a gap with a proof."""

from __future__ import annotations

import numpy as np

from reluopt.programs.convex import ConvexProgram
from reluopt.solvers import NativeSolver


def reference(program: ConvexProgram, tolerance: float = 1e-8, time_limit: float = 600.0) -> float:
    """A proved lower bound of the optimum, as near to it as the time allows."""
    return NativeSolver(tolerance=tolerance, time_limit=time_limit).solve(program).dual.value


def judge(program: ConvexProgram, blocks: np.ndarray, lower: float) -> dict[str, float]:
    """objective; gap = |objective − lower|/objective; violation = the largest cone violation (y has unit deviation).

    The gap is proved: ``lower`` is a dual value. It is taken absolute, because blocks outside of their cones can lie
    below the optimum.
    """
    value = program.value(blocks)
    return {
        "objective": value,
        "gap": abs(value - lower) / max(abs(value), 1e-300),
        "violation": program.cone_violation(blocks),
    }
