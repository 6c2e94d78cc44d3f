r"""The minimum norm program of KP eq. (6): fit y exactly with the smallest gated network."""

from __future__ import annotations

from typing import Any, ClassVar

from reluopt.problem import Problem
from reluopt.programs.convex import ConvexProgram, problem_and_patterns
from reluopt.programs.fits import ExactFit
from reluopt.programs.penalties import GroupNorm
from reluopt.programs.places import Free


class EqualityProgram(ConvexProgram):
    r"""min β Σ‖w_i‖ subject to Σ D_i X w_i = y, with β = 1 unless given. Blocks are (1, P, d).

    The limit of the gated program as β → 0, divided by β. Dual: max yᵀz s.t. ‖XᵀD_i z‖ ≤ β for all i. The loss of a
    problem does not enter: every sample is fitted.
    """

    name: ClassVar[str] = "equality"

    def __init__(self, X: Any, y: Any = None, patterns: Any = None, beta: Any = None) -> None:
        if beta is None and not isinstance(X, Problem):
            beta = 1.0
        stated = problem_and_patterns(X, y, patterns, beta, "squared", None)
        super().__init__(*stated, GroupNorm(), Free(), ExactFit())
