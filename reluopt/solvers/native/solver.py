"""NativeSolver: pattern programs in torch, stopping on a proved relative duality gap."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from reluopt.errors import ConfigError
from reluopt.machine import usable_device
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.dual import DualBound
from reluopt.programs.penalties import GroupNorm
from reluopt.solvers.native.engine import Bracket, Engine
from reluopt.solvers.native.instance import Instance
from reluopt.solvers.native.proof import Multipliers, into_cones, prove
from reluopt.solvers.solution import Solution, Status
from reluopt.solvers.start import Startable, as_start, require_support

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NativeSolver:
    """Solve relaxed and gated programs; no design matrix is formed, no other solver is needed.

    Parameters
    ----------
    tolerance : stop when (value − dual)/|value| is at most this, the dual value proved, the blocks in their cones.
    max_iterations : Newton steps.
    time_limit : seconds; the bracket reached by then is returned.
    dtype, device : of the iteration. What is returned is always recomputed in float64 from the program.
    """

    tolerance: float = 1e-6
    max_iterations: int = 500
    time_limit: float | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"The tolerance is {self.tolerance}.", "Give a number between 0 and 1, such as 1e-6.")
        if self.max_iterations < 1:
            raise ConfigError(f"max_iterations is {self.max_iterations}.", "Allow at least one iteration.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ConfigError(f"The time limit is {self.time_limit}.", "Give a positive number of seconds.")
        if self.dtype not in (torch.float32, torch.float64):
            raise ConfigError(f"The dtype is {self.dtype}.", "Use torch.float64, or torch.float32 for a rough answer.")
        usable_device(str(self.device), str(self.dtype).removeprefix("torch."))

    @property
    def name(self) -> str:
        """For results and tables."""
        return "native"

    def supports(self, program: ConvexProgram) -> bool:
        """Group norms, with or without cones, with every loss; no biases of the problem's own."""
        return isinstance(program.penalty, GroupNorm) and not (program.exact_fit or program.problem.biases)

    @torch.inference_mode()
    def solve(self, program: ConvexProgram, warm_start: Startable | None = None) -> Solution:
        """Bracket the program's optimum.

        ``warm_start``: blocks of this program's shape (of a network, of another β; see ``blocks_for`` for those of
        another pattern set), or a solution, whose dual point is then used too.

        Raises
        ------
        ConfigError : a warm start of another shape.
        SolverError : a program that is neither relaxed (or exact) nor gated.
        """
        start = time.perf_counter()
        engine = self.engine(program, start)
        warm = as_start(program, warm_start)
        if warm is not None:
            instance = engine.instance
            engine.warm(instance.flat(warm.blocks), None if warm.z is None else instance.dual(warm.z))
        return self.finish(program, engine, start)

    def engine(self, program: ConvexProgram, start: float) -> Engine:
        """The solver state of a program.

        Raises
        ------
        SolverError : a program that is neither relaxed (or exact) nor gated.
        """
        require_support(self, program)
        deadline = math.inf if self.time_limit is None else start + self.time_limit
        return Engine(Instance.of(program, self.dtype, self.device), deadline)

    def finish(self, program: ConvexProgram, engine: Engine, start: float) -> Solution:
        """Run, then recompute everything from the program."""
        before = engine.steps
        # what is proved can be wider by rounding than what the iteration sees
        status = engine.run(self.tolerance * (1 - 1e-3), self.max_iterations)
        blocks, dual = _results(program, engine.instance, engine.bracket)
        solution = Solution.of(
            program,
            blocks,
            dual,
            status=status,
            solver=self.name,
            seconds=time.perf_counter() - start,
            iterations=engine.steps - before,
        )
        if status is Status.CONVERGED and not solution.relative_gap <= self.tolerance:
            log.warning("the iteration saw a gap of %.1e, %.1e is proved", engine.bracket.gap, solution.relative_gap)
            return dataclasses.replace(solution, status=Status.INACCURATE)
        return solution


def _results(program: ConvexProgram, instance: Instance, bracket: Bracket) -> tuple[np.ndarray, DualBound]:
    """Blocks in their cones, and the proved dual bound."""
    blocks = into_cones(program, instance.blocks(instance.cleaned(bracket.blocks)))
    z = program.problem.zero_dual_point if bracket.z is None else instance.numpy(bracket.z) * instance.units.z
    return blocks, prove(program, z, _multipliers(instance, bracket))


def _multipliers(instance: Instance, bracket: Bracket) -> Multipliers | None:
    """λ in the program's units, dense for a few blocks at a time."""
    if bracket.rows is None or bracket.weights is None or instance.faces is None:
        return None
    scale = instance.numpy(instance.faces.scale)
    rows, weights = bracket.rows.cpu().numpy(), instance.numpy(bracket.weights) * instance.units.z
    weights = weights / scale[rows]

    def dense(blocks: np.ndarray) -> np.ndarray:
        out = np.zeros((len(blocks), len(scale)))
        np.add.at(out, (np.arange(len(blocks))[:, None], rows[blocks]), weights[blocks])
        return out

    return dense
