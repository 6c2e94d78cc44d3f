r"""The minimum norm program of KP eq. (6): fit y exactly with the smallest gated network."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt import rounding
from reluopt.errors import SolverError
from reluopt.programs.pattern_program import PatternProgram
from reluopt.programs.ridge import pattern_gram

#: A fit within this times ‖y‖ counts as exact.
FIT_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class EqualityProgram(PatternProgram):
    r"""min β Σ‖w_i‖ subject to Σ D_i X w_i = y, with β = 1 unless given. Blocks are (1, P, d).

    The limit of the gated program as β → 0, divided by β. Dual: max yᵀz s.t. ‖XᵀD_i z‖ ≤ β for all i.
    """

    beta: float = 1.0

    exact_fit: ClassVar[bool] = True
    name: ClassVar[str] = "equality"

    def value(self, blocks: Float[np.ndarray, "1 P d"]) -> float:
        """β Σ‖w_i‖, whether or not the blocks fit: see ``cone_violation``."""
        return self.penalty(blocks)

    def gradient(self, blocks: Float[np.ndarray, "1 P d"]) -> Float[np.ndarray, "1 P d"]:
        """β w_i/‖w_i‖, and 0 (the smallest subgradient) for zero blocks; the constraint aside."""
        norms = np.linalg.norm(blocks, axis=-1, keepdims=True)
        return self.beta * blocks / np.where(norms > 0, norms, 1.0)

    def dual_value(self, z: Float[np.ndarray, " n"]) -> float:
        """yᵀz."""
        return float(self.y @ z)

    def dual_point(self, blocks: Float[np.ndarray, "1 P d"]) -> Float[np.ndarray, " n"]:
        """The least squares z of XᵀD_i z = β w_i/‖w_i‖ over the blocks that are not (nearly) zero."""
        norms = np.linalg.norm(blocks[0], axis=-1)
        active = np.flatnonzero(norms > 1e-6 * norms.max(initial=0.0))
        if len(active) == 0:
            return np.zeros_like(self.y)
        masked = self.patterns.dense[:, active].T[:, :, None] * self.X[None]
        rows = masked.transpose(0, 2, 1).reshape(-1, len(self.y))
        return np.linalg.lstsq(rows, self.gradient(blocks)[0, active].ravel(), rcond=1e-10)[0]

    def scaled_dual(self, z: Float[np.ndarray, " n"], bound: float) -> tuple[float, float]:
        """t = β/B and the proved t yᵀz; 0 where that is negative or B is not finite."""
        if not (np.isfinite(bound) and bound > 0 and np.isfinite(z).all()):
            return 0.0, 0.0
        t = max(0.0, rounding.round_down(Fraction(self.beta) / Fraction(bound)))
        return max(0.0, rounding.round_down(Fraction(t) * rounding.exact_dot(self.y, z))), t

    def cone_violation(self, blocks: Float[np.ndarray, "1 P d"]) -> float:
        """The largest |f_i − y_i|: here the fit is the constraint."""
        return float(np.abs(self.fit(blocks) - self.y).max(initial=0.0))

    def repair(self, blocks: Float[np.ndarray, "1 P d"]) -> Float[np.ndarray, "1 P d"]:
        """The nearest blocks that fit: w_i + XᵀD_i A⁻¹(y − f), A = Σ D_i X Xᵀ D_i.

        Raises
        ------
        SolverError : y cannot be fitted with these patterns.
        """
        A = pattern_gram(self.X, self.patterns)
        repaired = blocks
        for _ in range(2):  # the second pass removes the rounding of the first
            correction = np.linalg.lstsq(A, self.y - self.fit(repaired), rcond=1e-13)[0]
            repaired = repaired + self.correlations(correction)
        if self.cone_violation(repaired) > FIT_TOLERANCE * float(np.linalg.norm(self.y)):
            raise SolverError(
                f"y cannot be fitted exactly with these {len(self.patterns)} patterns.",
                "Sample more patterns (KP Prop. 3.2 tells how many), and remove repeated rows with different targets.",
            )
        return repaired
