"""The relaxed convex program, KP eq. (2), (3): cones kept, patterns sampled (or given)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt.programs import cones
from reluopt.programs.pattern_program import PatternProgram


class RelaxedProgram(PatternProgram):
    r"""p̃(S) = min ½‖Σ D_i X (v_i − w_i) − y‖² + β Σ(‖v_i‖ + ‖w_i‖) over v_i, w_i ∈ K_{D_i}.

    Over *all* patterns of X this is p* for every width m ≥ m* (Pilanci & Ergen 2020); over fewer it lies above.
    Blocks are (2, P, d): v first, then w.
    """

    sides: ClassVar[tuple[float, ...]] = (1.0, -1.0)
    has_cones: ClassVar[bool] = True
    name: ClassVar[str] = "relaxed"

    def repair(self, blocks: Float[np.ndarray, "2 P d"]) -> Float[np.ndarray, "2 P d"]:
        """The blocks moved into their cones: along the pattern's own gate where it lies inside, else projected."""
        repaired = blocks.copy()
        violated = (self.patterns.signs[None] * self.preactivations(blocks)).min(axis=1) < 0
        for side, i in np.argwhere(violated):
            repaired[side, i] = self._repaired(int(i), blocks[side, i])
        return repaired

    def _repaired(self, i: int, u: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        pattern = self.patterns.dense[:, i]
        projected = cones.project(self.X, pattern, u).point
        if self.patterns.gates is None:
            return projected
        shifted = cones.interior_shift(self.X, pattern, projected, self.patterns.gates[:, i])
        return projected if shifted is None else shifted
