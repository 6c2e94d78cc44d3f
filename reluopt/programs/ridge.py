r"""The ridge program of KP Thm 3.4: gated, with the squared norm. It has a closed form.

With A = Σ D_i X Xᵀ D_i: z = β(A + βI)⁻¹y, w_i = XᵀD_i z/β, and the optimum is (β/2) yᵀ(A + βI)⁻¹y.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt import rounding
from reluopt.objective import SQUARED
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.pattern_program import PatternProgram


def pattern_gram(X: Float[np.ndarray, "n d"], patterns: PatternSet) -> Float[np.ndarray, "n n"]:
    """A = Σ_i D_i X Xᵀ D_i = (XXᵀ) ∘ (number of patterns in which both samples are active), in O(n²(d + P))."""
    active = patterns.dense.astype(np.float64)
    return (X @ X.T) * (active @ active.T)


class RidgeProgram(PatternProgram):
    r"""min ½‖Σ D_i X w_i − y‖² + (β/2) Σ‖w_i‖². Blocks are (1, P, d).

    Its dual max_z yᵀz − ½‖z‖² − ½β⁻¹ Σ‖XᵀD_i z‖² has no constraint: every z is feasible.
    """

    penalty_power: ClassVar[int] = 2
    name: ClassVar[str] = "ridge"

    def penalty(self, blocks: Float[np.ndarray, "1 P d"]) -> float:
        """(β/2) Σ‖w_i‖²."""
        return 0.5 * self.beta * float((blocks * blocks).sum())

    def gradient(self, blocks: Float[np.ndarray, "1 P d"]) -> Float[np.ndarray, "1 P d"]:
        """βw_i − XᵀD_i z with z = y − f."""
        return self.beta * blocks - self.correlations(SQUARED.dual_point(self.fit(blocks), self.y))

    @property
    def dual_radius(self) -> float:
        """Infinite: the dual has no constraint."""
        return math.inf

    def dual_value(self, z: Float[np.ndarray, " n"]) -> float:
        """yᵀz − ½‖z‖² − ½β⁻¹ Σ‖XᵀD_i z‖²."""
        g = self.correlations(z)
        return super().dual_value(z) - 0.5 * float((g * g).sum()) / self.beta

    def scaled_dual(self, z: Float[np.ndarray, " n"], bound: float) -> tuple[float, float]:
        """The best multiple t = yᵀz/(‖z‖² + β⁻¹Σ‖XᵀD_i z‖²), its value proved; ``bound`` does not matter here."""
        sizes = rounding.norm_upper(self.correlations(z), rounding.correlation_error(self.X, z))
        if not (np.isfinite(sizes).all() and np.isfinite(z).all() and z.any()):
            return 0.0, 0.0
        curvature = rounding.exact_dot(z, z) + sum(Fraction(float(s)) ** 2 for s in sizes.ravel()) / Fraction(self.beta)
        slope = rounding.exact_dot(self.y, z)
        t = Fraction(max(0.0, rounding.round_down(slope / curvature)))
        return max(0.0, rounding.round_down(t * slope - t * t * curvature / 2)), float(t)

    def closed_form(self) -> Float[np.ndarray, "1 P d"]:
        """The optimal blocks, by one Cholesky factor of A + βI."""
        A = pattern_gram(self.X, self.patterns)
        z = self.beta * np.linalg.solve(A + self.beta * np.eye(len(A)), self.y)
        return self.correlations(z) / self.beta
