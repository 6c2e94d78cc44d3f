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
    """Solve a convex program.

    Without a solver, relaxed, exact and gated programs go to :class:`NativeSolver`, ridge and equality programs to
    CVXPY with Clarabel, both to a relative gap of 1e-7. The solution's status and gap say how far it came, and its
    ``solver`` who solved it: check them before using the value.
    """
    if solver is None:
        group_lasso = program.penalty_power == 1 and not program.exact_fit
        solver = NativeSolver(tolerance=1e-7) if group_lasso else CvxpySolver(tolerance=1e-7)
    return solver.solve(program, warm_start)


__all__ = ["CvxpySolver", "NativeSolver", "Solution", "Solver", "Status", "blocks_for", "regularization_path", "solve"]
