r"""VectorSolver: programs of several outputs by descent over the neurons of each pattern, bracketed by the dual.

A point is neurons (u_k, a_k) with patterns D_k, gated ones anywhere, relaxed ones with u_k in the cone of D_k. Rounds
of

1. L-BFGS on Σκℓ(Σ D_kXu_ka_kᵀ) + (β/2)Σ(‖u_k‖² + ‖a_k‖²), with the cones' rows by an augmented Lagrangian;
2. z = −κ∂ℓ/∂f, and pricing: the largest ‖zᵀDXu‖ of every pattern, by its singular vectors, in cones by the power method
   with projections; dear neurons enter (as the columns of column generation do);

until the proved dual value is near. The gated problem has no bad local minimum once it has room (nuclear norm). In
cones neither descent nor pricing is sure to find the best, and the dual may be loose: the bracket tells what is left.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.dual import DualBound, dual_bound
from reluopt.programs.matrices import NeuronNorm, NuclearNorm
from reluopt.solvers.solution import Solution, Status
from reluopt.solvers.start import Startable, WarmStart, require_support
from reluopt.solvers.vector_search import NO_PRICE, VectorSearch, neurons_of

log = logging.getLogger(__name__)

#: A bound is sought where it may close this share of the gap; rounds without progress after which no more is to be had.
WORTH, PATIENCE = 0.3, 3


@dataclass(frozen=True, kw_only=True)
class VectorSolver:
    """Solve relaxed and gated programs of C > 1 outputs.

    Parameters
    ----------
    tolerance : stop when (value − dual)/|value| is at most this, the dual value proved, neurons in their cones.
    max_iterations : rounds of descent and pricing.
    time_limit : seconds; the bracket reached by then is returned.
    """

    tolerance: float = 1e-4
    max_iterations: int = 60
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"The tolerance is {self.tolerance}.", "Give a number between 0 and 1, such as 1e-4.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ConfigError(f"The time limit is {self.time_limit}.", "Give a positive number of seconds.")

    @property
    def name(self) -> str:
        """For results and tables."""
        return "vector"

    def supports(self, program: ConvexProgram) -> bool:
        """Programs of several outputs, every loss."""
        return isinstance(program.penalty, NuclearNorm | NeuronNorm)

    def solve(self, program: ConvexProgram, warm_start: Startable | None = None) -> Solution:
        """Bracket the program's optimum; ``warm_start``: blocks of this program (any number of slots), or a solution.

        Raises
        ------
        SolverError : a program of one output. ConfigError : a warm start of another shape.
        """
        require_support(self, program)
        clock = Clock(self.time_limit)
        search = VectorSearch(program, clock)
        start, z = _start(program, warm_start)
        search.enter(*neurons_of(program, start))
        best = _Best(program, search.blocks())
        best.bound(program.problem.zero_dual_point if z is None else z, clock)
        status, stalled, rounds = Status.ITERATION_LIMIT, 0, 0
        for rounds in range(1, self.max_iterations + 1):
            if clock.over:
                status = Status.TIME_LIMIT
                break
            search.descend()
            better = best.offer(search.blocks())
            z, dearest = search.z(), search.price()
            if best.worth(z, dearest):
                better = best.bound(z, clock) or better
            log.info("round %d: %d neurons, price %.6f, gap %.2e", rounds, len(search.U), dearest, best.relative_gap)
            if best.relative_gap <= self.tolerance:
                status = Status.CONVERGED
                break
            stalled = 0 if better else stalled + 1
            if dearest <= 1 + NO_PRICE or stalled >= PATIENCE:
                if not (search.stiffen() or search.sharpen()):
                    status = Status.INACCURATE
                    break
                stalled = 0
        return Solution.of(
            program, best.blocks, best.dual, status=status, solver=self.name, seconds=clock.spent, iterations=rounds
        )


class _Best:
    """The best feasible blocks and the best dual bound met so far."""

    def __init__(self, program: ConvexProgram, blocks: np.ndarray) -> None:
        self.program, self.blocks = program, program.zero_blocks()
        self.value, self.dual = program.value(self.blocks), DualBound(0.0, program.problem.zero_dual_point, 0.0, np.inf)
        self.offer(blocks)

    def offer(self, blocks: np.ndarray) -> bool:
        """Whether they are better by more than rounding."""
        blocks = self.program.repair(blocks)
        value, before = self.program.value(blocks), self.value
        if value < before:
            self.blocks, self.value = blocks, value
        return value < before * (1 - 1e-9)

    def worth(self, z: Float[np.ndarray, "n C"], dearest: float) -> bool:
        """Whether z may give a better bound: with the largest norm that pricing found, in units of β, it would."""
        problem = self.program.problem
        hoped = problem.estimated_value(problem.settled(z), max(dearest, 1e-300) * problem.beta)
        return hoped > self.dual.value + WORTH * (self.value - self.dual.value)

    def bound(self, z: Float[np.ndarray, "n C"], clock: Clock) -> bool:
        """Whether the dual value of z is better by more than rounding."""
        dual, before = dual_bound(self.program, z, stop=lambda: clock.over), self.dual.value
        if dual.value > before or not np.isfinite(self.dual.bound):
            self.dual = dual
        return dual.value > before * (1 + 1e-9) + 1e-300

    @property
    def relative_gap(self) -> float:
        return (self.value - self.dual.value) / max(abs(self.value), 1e-300)


def _start(program: ConvexProgram, warm: Startable | None) -> tuple[np.ndarray | None, Float[np.ndarray, "n C"] | None]:
    if warm is None:
        return None, None
    if not isinstance(warm, Solution | WarmStart):
        warm = WarmStart(np.asarray(warm, dtype=np.float64))
    blocks, z = warm.blocks, warm.z
    if blocks.ndim != len(program.shape) or blocks.shape[1:] != program.shape[1:] or not np.isfinite(blocks).all():
        raise ConfigError(
            f"The warm start has blocks of shape {blocks.shape}, the program's are {program.shape}.",
            "Give finite blocks of this program; of a network: reluopt.blocks_from_network.",
        )
    return blocks, z
