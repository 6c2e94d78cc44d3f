r"""The ridge program of KP Thm 3.4: gated, with the squared norm. It has a closed form.

With A = Σ D_i X Xᵀ D_i: z = β(A + βI)⁻¹y, w_i = XᵀD_i z/β, and the optimum is (β/2) yᵀ(A + βI)⁻¹y.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from reluopt.programs.convex import ConvexProgram, problem_and_patterns
from reluopt.programs.fits import LossFit
from reluopt.programs.penalties import SquaredNorm
from reluopt.programs.places import Free
from reluopt.programs.products import pattern_gram


class RidgeProgram(ConvexProgram):
    r"""min ½‖Σ D_i X w_i − y‖² + (β/2) Σ‖w_i‖², for the squared loss alone. Blocks are (1, P, d).

    Its dual max_z yᵀz − ½‖z‖² − ½β⁻¹ Σ‖XᵀD_i z‖² has no constraint: every z is feasible.

    Raises
    ------
    ConfigError : a problem of another loss, or with sample weights.
    """

    name: ClassVar[str] = "ridge"

    def __init__(self, X: Any, y: Any = None, patterns: Any = None, beta: Any = None) -> None:
        stated = problem_and_patterns(X, y, patterns, beta, "squared", None)
        super().__init__(*stated, SquaredNorm(), Free(), LossFit())

    def closed_form(self) -> Float[np.ndarray, "1 P d"]:
        """The optimal blocks, by one Cholesky factor of A + βI."""
        A = pattern_gram(self.X, self.patterns)
        z = self.beta * np.linalg.solve(A + self.beta * np.eye(len(A)), self.y)
        return self.correlations(z) / self.beta


__all__ = ["RidgeProgram", "pattern_gram"]
