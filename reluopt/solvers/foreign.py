"""Solvers by name, and solvers from outside, of which nothing but blocks and z is taken: the bracket is recomputed.

An installed package announces a solver by an entry point of the group ``reluopt.solvers`` that loads a class, or a
function, called with ``tolerance=`` and ``time_limit=`` (seconds, or None)::

    [project.entry-points."reluopt.solvers"]
    mine = "my_package:MySolver"
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from reluopt import plugins
from reluopt.clock import Clock
from reluopt.errors import ConfigError, ReluoptError, SolverError
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.dual import dual_bound
from reluopt.programs.matrices import NeuronNorm
from reluopt.solvers.cvxpy_backend import BACKENDS, CvxpySolver
from reluopt.solvers.native import NativeSolver
from reluopt.solvers.solution import Solution, Status
from reluopt.solvers.start import Solver, Startable, require_support
from reluopt.solvers.vector import VectorSolver

OWN = (NativeSolver, CvxpySolver, VectorSolver)
#: A solver from outside that does not say its ``tolerance`` has converged at this relative gap.
TOLERANCE = 1e-6


def make_solver(name: str, *, tolerance: float = 1e-7, time_limit: float | None = None) -> Solver:
    """The solver of that name: "native", "clarabel", "scs", or what an installed package announces.

    Raises
    ------
    ConfigError : nobody has it; it cannot be made, or is no solver.
    """
    if name == "native":
        return NativeSolver(tolerance=tolerance, time_limit=time_limit)
    if name in BACKENDS:
        return CvxpySolver(backend=name, tolerance=tolerance, time_limit=time_limit)
    try:
        made = plugins.load(plugins.SOLVERS, name)(tolerance=tolerance, time_limit=time_limit)
    except KeyError:
        known = ["native", *BACKENDS, *plugins.announced(plugins.SOLVERS)]
        raise ConfigError(f"There is no solver '{name}'.", f"Choose one of: {', '.join(known)}.") from None
    except TypeError as error:
        raise ConfigError(f"The solver '{name}' cannot be made: {error}.", "It must take tolerance= and time_limit=.") \
            from error  # fmt: skip
    return require_solver(made)


def require_solver(solver: Any) -> Solver:
    """The solver itself.

    Raises
    ------
    ConfigError : something else.
    """
    if not isinstance(solver, Solver):
        raise ConfigError(
            f"A {type(solver).__name__} was given as a solver.",
            "Give an object with name, supports(program) and solve(program, warm_start).",
        )
    return solver


def bracketed(
    program: ConvexProgram,
    blocks: Any,
    z: Any = None,
    *,
    solver: str,
    tolerance: float = TOLERANCE,
    status: Status = Status.CONVERGED,
    seconds: float = math.nan,
    iterations: int = 0,
) -> Solution:
    """What blocks (k, P, d) prove: moved into their cones, valued, and bounded from below by the better dual point.

    Parameters
    ----------
    z : (n,) a dual point beside −κ∂ℓ/∂f of the blocks.
    status : CONVERGED only stays where the relative gap is at most ``tolerance``; else it becomes INACCURATE.

    Raises
    ------
    SolverError : blocks of another shape, or not finite.
    """
    blocks = program.repair(_blocks(program, blocks, solver))
    points = [program.dual_point(blocks), *([] if z is None else [_finite(z, program.y.shape, solver)])]
    dual = max((dual_bound(program, point) for point in points), key=lambda bound: bound.value)
    found = Solution.of(program, blocks, dual, status=status, solver=solver, seconds=seconds, iterations=iterations)
    if status is Status.CONVERGED and not found.relative_gap <= tolerance:
        return dataclasses.replace(found, status=Status.INACCURATE)
    return found


def run(solver: Solver, program: ConvexProgram, warm_start: Startable | None) -> Solution:
    """What a solver finds; of one from outside its blocks and z alone, with a bracket of our own.

    Raises
    ------
    SolverError : it does not take the program, broke, or returned something else.
    """
    if type(solver) in OWN:
        return solver.solve(program, warm_start)
    require_support(require_solver(solver), program)
    clock = Clock(None)
    try:
        found = solver.solve(program, warm_start)
        blocks, z, status, iterations = found.blocks, found.dual.z, Status(found.status), int(found.iterations)
    except ReluoptError:
        raise
    except Exception as error:
        raise SolverError(
            f"The solver '{solver.name}' broke: {type(error).__name__}: {error}.", "Mend it, or choose another solver."
        ) from error
    return bracketed(
        program, blocks, z, solver=solver.name, tolerance=getattr(solver, "tolerance", TOLERANCE), status=status,
        seconds=clock.spent, iterations=iterations,
    )  # fmt: skip


def _blocks(program: ConvexProgram, blocks: Any, solver: str) -> np.ndarray:
    """Of the program's shape; relaxed programs of several outputs take any number of slots."""
    slots = np.shape(blocks)[:1] if isinstance(program.penalty, NeuronNorm) else program.shape[:1]
    return _finite(blocks, (*slots, *program.shape[1:]), solver)


def _finite(array: Any, shape: tuple[int, ...], solver: str) -> np.ndarray:
    try:
        array = np.array(array, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.shape != shape or not np.isfinite(array).all():
        raise SolverError(
            f"The solver '{solver}' returned an array {array.shape}, where finite numbers {shape} are due.",
            "Mend it, or choose another solver.",
        )
    return array
