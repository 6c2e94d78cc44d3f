"""Which blocks and cone rows of a convex program are stated, and which are added because they are violated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from reluopt.programs.convex import ConvexProgram
from reluopt.programs.dual import block_norms
from reluopt.solvers.start import WarmStart


@dataclass
class Working:
    """Which blocks (side, index) and which of their cone rows (C, n) the subprogram states."""

    side: Int[np.ndarray, " C"]
    index: Int[np.ndarray, " C"]
    rows: Bool[np.ndarray, "C n"]

    @classmethod
    def whole(cls, program: ConvexProgram) -> Working:
        """All blocks, with all of their rows where they have cones."""
        side, index = np.divmod(np.arange(program.shape[0] * program.shape[1]), program.shape[1])
        return cls(side, index, np.full((len(index), len(program.y)), program.has_cones))

    @classmethod
    def first(cls, program: ConvexProgram, start: WarmStart | None) -> Working:
        """All blocks where nothing is known; else the warm start's, with the rows nearest to a kink."""
        state = cls.whole(program)
        state.rows[:] = False
        if start is None:
            return state
        used = np.linalg.norm(start.blocks, axis=-1)[state.side, state.index] > 0
        if not used.any():
            return state
        state = cls(state.side[used], state.index[used], state.rows[used])
        if program.has_cones:
            margins = np.abs(program.X @ start.blocks[state.side, state.index].T).T
            nearest = np.argsort(margins, axis=1)[:, : program.X.shape[1]]
            np.put_along_axis(state.rows, nearest, True, axis=1)
        return state

    def grow(self, program: ConvexProgram, blocks: Float[np.ndarray, "k P d"], z: Float[np.ndarray, " n"]) -> bool:
        """Add violated rows (the 2d worst a block) and blocks with a dual norm above β at z; False if none is."""
        more_rows = program.has_cones and self._grow_rows(program, blocks)
        return self._grow_blocks(program, z) or more_rows

    def _grow_rows(self, program: ConvexProgram, blocks: Float[np.ndarray, "k P d"]) -> bool:
        used = blocks[self.side, self.index]
        signs = program.patterns.signs[:, self.index].T
        margins = np.where(self.rows, 0.0, signs * (used @ program.X.T))
        scale = np.linalg.norm(used, axis=1)[:, None] * np.linalg.norm(program.X, axis=1)[None, :]
        margins[margins >= -1e-12 * scale] = 0.0
        worst = np.argsort(margins, axis=1)[:, : 2 * program.X.shape[1]]
        new = np.zeros_like(self.rows)
        np.put_along_axis(new, worst, np.take_along_axis(margins, worst, axis=1) < 0, axis=1)
        self.rows |= new
        return bool(new.any())

    def _grow_blocks(self, program: ConvexProgram, z: Float[np.ndarray, " n"]) -> bool:
        missing = np.ones(program.shape[:2], dtype=bool)
        missing[self.side, self.index] = False
        if not missing.any():
            return False
        # the working blocks hold their dual constraint by optimality; only the missing ones are priced
        side, index = np.nonzero(missing & (block_norms(program, z) > program.beta))
        self.side, self.index = np.append(self.side, side), np.append(self.index, index)
        self.rows = np.vstack([self.rows, np.zeros((len(index), self.rows.shape[1]), dtype=bool)])
        return len(index) > 0
