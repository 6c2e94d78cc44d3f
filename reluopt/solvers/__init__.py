"""One `solve(program, solver)`; solvers know programs only through their protocol."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from reluopt.programs.pattern_program import PatternProgram
from reluopt.solvers.cvxpy_backend import CvxpySolver
from reluopt.solvers.native import NativeSolver, blocks_for, regularization_path
from reluopt.solvers.solution import Solution, Status


@runtime_checkable
class Solver(Protocol):
    """What every solver offers."""

    def solve(self, program: PatternProgram, warm_start: Any = None) -> Solution:
        """Bracket the optimum of the program."""
        ...


def solve(program: PatternProgram, solver: Solver | None = None, *, warm_start: Any = None) -> Solution:
    """Solve a convex program; by default with CVXPY and Clarabel.

    The solution's status and gap say how far it came: check them before using the value.
    """
    return (solver or CvxpySolver()).solve(program, warm_start)


__all__ = ["CvxpySolver", "NativeSolver", "Solution", "Solver", "Status", "blocks_for", "regularization_path", "solve"]
