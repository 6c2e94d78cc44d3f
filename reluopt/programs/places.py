r"""Where the blocks of a convex program may lie: in the cones of their patterns, or anywhere."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs import cones
from reluopt.programs.products import correlations_of, fit_of

Matrix = Float[np.ndarray, "n d"]
Blocks = Float[np.ndarray, "k P d"]


class InCones:
    """v_i, w_i ∈ K_{D_i}: two blocks a pattern, v with +, w with −. Only inside of the cones is D_iXv_i = (Xv_i)_+."""

    cones: ClassVar[bool] = True
    sides: ClassVar[tuple[float, ...]] = (1.0, -1.0)

    def shape(self, patterns: int, d: int, outputs: int) -> tuple[int, ...]:
        """(2, P, d)."""
        return 2, patterns, d

    def fit(self, X: Matrix, patterns: PatternSet, blocks: Blocks) -> Float[np.ndarray, " n"]:
        """Σ D_i X (v_i − w_i)."""
        return fit_of(X, patterns, self.sides, blocks)

    def correlations(self, X: Matrix, patterns: PatternSet, z: Float[np.ndarray, " n"]) -> Blocks:
        """± Xᵀ D_i z of both sides."""
        return correlations_of(X, patterns, self.sides, z)

    def violation(self, X: Matrix, patterns: PatternSet, blocks: Blocks) -> float:
        """The largest violation of (2D_i − I)Xu_i ≥ 0, in units of the preactivations."""
        return float(-(patterns.signs[None] * (X @ blocks.transpose(0, 2, 1))).min(initial=0.0))

    def repair(self, X: Matrix, patterns: PatternSet, blocks: Blocks) -> Blocks:
        """The blocks moved into their cones: along the pattern's own gate where it lies inside, else projected."""
        return repaired_in_cones(X, patterns, blocks)


class Free:
    """One block a pattern (the difference of two would be no more), without a constraint."""

    cones: ClassVar[bool] = False
    sides: ClassVar[tuple[float, ...]] = (1.0,)

    def shape(self, patterns: int, d: int, outputs: int) -> tuple[int, ...]:
        """(1, P, d)."""
        return 1, patterns, d

    def fit(self, X: Matrix, patterns: PatternSet, blocks: Blocks) -> Float[np.ndarray, " n"]:
        """Σ D_i X w_i."""
        return fit_of(X, patterns, self.sides, blocks)

    def correlations(self, X: Matrix, patterns: PatternSet, z: Float[np.ndarray, " n"]) -> Blocks:
        """Xᵀ D_i z."""
        return correlations_of(X, patterns, self.sides, z)

    def violation(self, X: Matrix, patterns: PatternSet, blocks: Blocks) -> float:
        """0: every point is feasible."""
        return 0.0

    def repair(self, X: Matrix, patterns: PatternSet, blocks: Blocks) -> Blocks:
        """Nothing to repair."""
        return blocks


def repaired_in_cones(X: Matrix, patterns: PatternSet, blocks: Blocks) -> Blocks:
    """Blocks u moved into their patterns' cones: along the pattern's own gate where it lies inside, else projected."""
    repaired = blocks.copy()
    violated = (patterns.signs[None] * (X @ blocks.transpose(0, 2, 1))).min(axis=1) < 0
    for side, i in np.argwhere(violated):
        repaired[side, i] = _into_cone(X, patterns, int(i), blocks[side, i])
    return repaired


def _into_cone(X: Matrix, patterns: PatternSet, i: int, u: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    pattern = patterns.dense[:, i]
    projected = cones.project(X, pattern, u).point
    if patterns.gates is None:
        return projected
    shifted = cones.interior_shift(X, pattern, projected, patterns.gates[:, i])
    return projected if shifted is None else shifted
