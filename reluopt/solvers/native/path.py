"""The regularisation path: one program at many β, each solve warm-started from the one before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from reluopt.errors import ConfigError
from reluopt.programs.convex import ConvexProgram
from reluopt.solvers.native.solver import NativeSolver
from reluopt.solvers.solution import Solution


def regularization_path(
    program: ConvexProgram, betas: Sequence[float], solver: NativeSolver | None = None
) -> Iterator[Solution]:
    """Solutions of the program at the given β (its own β is not used), in the order given; falling β is fastest.

    Faces, multipliers and the dual point are carried over. ``time_limit`` of the solver holds for each β.

    Raises
    ------
    ConfigError : a β that is not positive and finite, before any work starts.
    """
    solver = solver or NativeSolver()
    if len(betas) == 0:
        raise ConfigError("There are no β for the path.", "Give at least one.")
    programs = [program.with_beta(beta) for beta in betas]
    return _solutions(programs, solver)


def _solutions(programs: list[ConvexProgram], solver: NativeSolver) -> Iterator[Solution]:
    engine = solver.engine(programs[0], time.perf_counter())
    for program in programs:
        start = time.perf_counter()
        engine.move(program.beta, start + solver.time_limit if solver.time_limit is not None else None)
        yield solver.finish(program, engine, start)
