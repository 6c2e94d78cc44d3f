"""What a solver returns. A solution checks itself: values, gap and violation are recomputed from the program."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.programs.convex import ConvexProgram
from reluopt.programs.dual import DualBound


class Status(enum.Enum):
    """How a solve ended, with the remedy. Only CONVERGED says that the tolerance was met."""

    CONVERGED = "converged"
    ITERATION_LIMIT = "iteration limit"
    TIME_LIMIT = "time limit"
    INACCURATE = "inaccurate"
    FAILED = "numerical trouble"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return {
            Status.CONVERGED: "nothing to do",
            Status.ITERATION_LIMIT: "allow more iterations, or accept the bracket as it stands",
            Status.TIME_LIMIT: "allow more time, or accept the bracket as it stands",
            Status.INACCURATE: "the bracket is still valid; another solver or a standardised X may close it",
            Status.FAILED: "standardise X, or choose another solver",
        }[self]


@dataclass(frozen=True)
class Solution:
    """Feasible blocks, the value they reach, and a dual bound: together they bracket the program's optimum.

    Attributes
    ----------
    blocks : (k, P, d), inside of their cones up to ``cone_violation``.
    value : objective at the blocks, recomputed in float64 (``inf`` if the solver returned nothing).
    dual : a proved lower bound of the same program's optimum.
    cone_violation : largest violation, in units of the preactivations x_iᵀu.
    status, solver, seconds, iterations : how it was made.

    Make it with :meth:`of`, which takes nothing but blocks and a dual bound from the solver.
    """

    blocks: Float[np.ndarray, "k P ..."]
    value: float
    dual: DualBound
    cone_violation: float
    status: Status
    solver: str
    seconds: float
    iterations: int

    @classmethod
    def of(
        cls,
        program: ConvexProgram,
        blocks: Float[np.ndarray, "k P ..."],
        dual: DualBound,
        *,
        status: Status,
        solver: str,
        seconds: float,
        iterations: int,
    ) -> Solution:
        """The solution with these blocks: value and violation are the program's own."""
        value, violation = program.value(blocks), program.cone_violation(blocks)
        return cls(blocks, value, dual, violation, status, solver, seconds, iterations)

    @property
    def z(self) -> Float[np.ndarray, "n ..."]:
        """The dual point before scaling, in the domain of the dual objective."""
        return self.dual.z

    @property
    def gap(self) -> float:
        """value − dual value ≥ 0 up to rounding: how far the blocks can be from this program's optimum."""
        return self.value - self.dual.value

    @property
    def relative_gap(self) -> float:
        """gap / max(1e-300, |value|); ``inf`` where the value is not finite."""
        return self.gap / max(1e-300, abs(self.value)) if math.isfinite(self.value) else math.inf
