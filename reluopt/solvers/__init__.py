"""One `solve(program, solver)`; solvers know programs only through their protocol, and say what they take."""

from __future__ import annotations

from reluopt.programs.convex import ConvexProgram
from reluopt.solvers.cvxpy_backend import CvxpySolver
from reluopt.solvers.foreign import bracketed, make_solver, run
from reluopt.solvers.native import NativeSolver, regularization_path
from reluopt.solvers.solution import Solution, Status
from reluopt.solvers.start import Solver, Startable, WarmStart, blocks_for
from reluopt.solvers.vector import VectorSolver


def solve(
    program: ConvexProgram, solver: Solver | str | None = None, *, warm_start: Startable | None = None
) -> Solution:
    """Solve a convex program.

    Without a solver, relaxed, exact and gated programs go to :class:`NativeSolver`, ridge and equality programs to
    CVXPY with Clarabel, both to a relative gap of 1e-7; those of several outputs to :class:`VectorSolver`. The
    solution's status and gap say how far it came, and its ``solver`` who solved it: check them before using the value.

    Parameters
    ----------
    solver : an object of :class:`Solver`, or a name: "native", "clarabel", "scs", or one that an installed package
        announces. Of a solver from outside only blocks and z are taken; value, dual value and gap are recomputed.

    Raises
    ------
    SolverError : a solver that does not take the program, or one from outside that broke.
    ConfigError : a warm start of another shape; something that is no solver.
    """
    if solver is None and VectorSolver().supports(program):
        solver = VectorSolver()
    if solver is None:
        native = NativeSolver(tolerance=1e-7)
        solver = native if native.supports(program) else CvxpySolver(tolerance=1e-7)
    return run(make_solver(solver) if isinstance(solver, str) else solver, program, warm_start)


__all__ = [
    "CvxpySolver", "NativeSolver", "Solution", "Solver", "Status", "VectorSolver", "WarmStart", "blocks_for",
    "bracketed", "make_solver", "regularization_path", "solve",
]  # fmt: skip
