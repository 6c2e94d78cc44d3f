"""The gated ReLU program, KP eq. (4), (5): patterns without their cones."""

from __future__ import annotations

from typing import Any, ClassVar

from reluopt.losses import Loss
from reluopt.programs.convex import ConvexProgram, problem_and_patterns
from reluopt.programs.fits import LossFit
from reluopt.programs.matrices import FreeMatrices, NuclearNorm
from reluopt.programs.penalties import GroupNorm
from reluopt.programs.places import Free


class GatedProgram(ConvexProgram):
    r"""min Σ κ_i ℓ(f_i, y_i) + β Σ‖w_i‖, f = Σ D_i X w_i: a group lasso, one block a pattern. Blocks are (1, P, d).

    With C outputs β Σ‖W_i‖_* (nuclear norm), and blocks are (1, P, d, C), see ``matrices.py``.
    Over all patterns it bounds p* from below; over a sampled set it has **no fixed order** with p*.
    """

    name: ClassVar[str] = "gated"

    def __init__(
        self,
        X: Any,
        y: Any = None,
        patterns: Any = None,
        beta: Any = None,
        *,
        loss: str | Loss = "squared",
        weights: Any = None,
    ) -> None:
        problem, patterns = problem_and_patterns(X, y, patterns, beta, loss, weights)
        if problem.outputs > 1:
            super().__init__(problem, patterns, NuclearNorm(), FreeMatrices(), LossFit())
        else:
            super().__init__(problem, patterns, GroupNorm(), Free(), LossFit())
