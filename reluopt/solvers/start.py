"""The one warm start that all solvers take, and the one protocol that they follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from reluopt.errors import ConfigError, SolverError
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.convex import ConvexProgram
from reluopt.solvers.solution import Solution


@dataclass(frozen=True, eq=False)
class WarmStart:
    """Where a solver may begin: blocks (k, P, d), feasible or not, and a dual point z (n,) where there is one."""

    blocks: Float[np.ndarray, "k P ..."]
    z: Float[np.ndarray, "n ..."] | None = None


#: What may be given as a warm start: a solution (of another β, say) stands for its blocks and z, an array for blocks.
Startable = WarmStart | Solution | Float[np.ndarray, "k P ..."]


@runtime_checkable
class Solver(Protocol):
    """What every solver offers."""

    @property
    def name(self) -> str:
        """For results and tables."""
        ...

    def supports(self, program: ConvexProgram) -> bool:
        """Whether the solver takes the program."""
        ...

    def solve(self, program: ConvexProgram, warm_start: Startable | None = None) -> Solution:
        """Bracket the optimum of the program; a SolverError where it is not supported."""
        ...


def as_start(program: ConvexProgram, start: Startable | None) -> WarmStart | None:
    """The warm start as one for this program.

    Raises
    ------
    ConfigError : something else, blocks or z of another shape, or not finite.
    """
    if start is None:
        return None
    if isinstance(start, Solution):
        start = WarmStart(start.blocks, start.z)
    if not isinstance(start, WarmStart):
        try:
            start = WarmStart(np.asarray(start, dtype=np.float64))
        except (TypeError, ValueError):
            raise ConfigError(
                f"The warm start is a {type(start).__name__}.",
                "Give a WarmStart, a Solution or blocks (k, P, d); of a network: reluopt.blocks_from_network.",
            ) from None
    if start.blocks.shape != program.shape:
        raise ConfigError(
            f"The warm start has blocks of shape {start.blocks.shape}, the program's are {program.shape}.",
            "Place blocks of another pattern set with reluopt.solvers.blocks_for.",
        )
    if start.z is not None and start.z.shape != program.y.shape:
        raise ConfigError(
            f"The warm start's z has shape {start.z.shape}, the program has {len(program.y)} samples.",
            "Start from a program of the same samples.",
        )
    if not (np.isfinite(start.blocks).all() and (start.z is None or np.isfinite(start.z).all())):
        raise ConfigError("The warm start is not finite.", "Start without it.")
    return start


def blocks_for(
    patterns: PatternSet, blocks: Float[np.ndarray, "k Q d"], of: PatternSet
) -> Float[np.ndarray, "k P ..."]:
    """``blocks`` of the pattern set ``of``, placed at the same patterns of ``patterns``; zero at the new ones.

    Blocks whose pattern the new set lacks are left out: as a warm start that is allowed.
    """
    position = patterns.positions_of(of)
    placed = np.zeros((blocks.shape[0], len(patterns), blocks.shape[2]))
    placed[:, position[position >= 0]] = blocks[:, position >= 0]
    return placed


def require_support(solver: Solver, program: ConvexProgram) -> None:
    """Refuse a program that the solver does not take.

    Raises
    ------
    SolverError : naming the solver and the program.
    """
    if not solver.supports(program):
        loss = program.problem.loss.name
        raise SolverError(
            f"The {solver.name} solver does not take {program.name} programs with the {loss} loss.",
            "Use NativeSolver for group norms with any loss, CvxpySolver for ridge and exact fits.",
        )
