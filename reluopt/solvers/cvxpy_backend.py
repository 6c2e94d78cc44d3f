r"""Convex programs through CVXPY, any penalty, fit and loss: Clarabel (interior point) or SCS (first order).

The statement is built from explicit sparse matrices, so it takes no Python loop over patterns. Cones have n rows a
block, of which few matter: only violated rows are stated, and more are added until none is violated ("lazy").
Blocks are added the same way, by their dual norm. A subprogram with fewer rows has a smaller optimum, and the dual
bound of every round is valid for the whole program, so whenever time ends the bracket so far stands.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from jaxtyping import Float
from scipy import sparse

from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.dual import DualBound, dual_bound
from reluopt.programs.penalties import GroupNorm, SquaredNorm
from reluopt.solvers.cvxpy_losses import statement, states
from reluopt.solvers.cvxpy_working import Working
from reluopt.solvers.solution import Solution, Status
from reluopt.solvers.start import Startable, WarmStart, as_start, require_support
from reluopt.units import Units

log = logging.getLogger(__name__)

BACKENDS = ("clarabel", "scs")


@dataclass(frozen=True, kw_only=True)
class CvxpySolver:
    """Solve convex programs with CVXPY.

    Parameters
    ----------
    backend : "clarabel" (default) or "scs".
    tolerance : stop when (value − dual)/|value| is at most this, both recomputed from the program.
    time_limit : seconds for the whole solve; the bracket reached by then is returned.
    max_rounds : how many times rows and blocks may be added.
    lazy : state only the rows and blocks that matter; False states the whole program at once.
    """

    backend: str = "clarabel"
    tolerance: float = 1e-7
    time_limit: float | None = None
    max_rounds: int = 60
    lazy: bool = True

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigError(f"There is no CVXPY backend '{self.backend}'.", f"Choose one of: {', '.join(BACKENDS)}.")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"The tolerance is {self.tolerance}.", "Give a number between 0 and 1, such as 1e-7.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ConfigError(f"The time limit is {self.time_limit}.", "Give a positive number of seconds.")

    @property
    def name(self) -> str:
        """For results and tables."""
        return f"cvxpy+{self.backend}"

    def supports(self, program: ConvexProgram) -> bool:
        """Group and squared norms, exact fits, and every loss that ``cvxpy_losses`` states."""
        known = isinstance(program.penalty, GroupNorm | SquaredNorm)
        return known and (program.exact_fit or states(program.problem.loss))

    def solve(self, program: ConvexProgram, warm_start: Startable | None = None) -> Solution:
        """Bracket the program's optimum; blocks of a warm start (of a network, say) choose the first rows and blocks.

        Raises
        ------
        SolverError : a loss or a penalty that is not supported. ConfigError : a warm start of another shape.
        """
        require_support(self, program)
        start = as_start(program, warm_start)
        clock = Clock(self.time_limit)
        # under ridge every block is active, and an exact fit may need every block
        # without its cone rows a block with a free bias is a step that costs nothing
        lazy = self.lazy and isinstance(program.penalty, GroupNorm) and not program.exact_fit
        lazy = lazy and not program.problem.biases.first_free
        state = Working.first(program, start) if lazy else Working.whole(program)
        best = _Best(program, start)
        status, rounds = Status.ITERATION_LIMIT, 0
        while rounds < self.max_rounds:
            if clock.over:
                status = Status.TIME_LIMIT
                break
            blocks, z, said = self._solve_subprogram(program, state, clock.left)
            rounds += 1
            if blocks is None:
                status = Status.TIME_LIMIT if clock.over else said
                break
            best.offer(blocks, z)
            log.info("round %d: %d rows, gap %.2e", rounds, state.rows.sum(), best.relative_gap())
            if best.relative_gap() <= self.tolerance:
                status = Status.CONVERGED
                break
            if not state.grow(program, blocks, program.dual_point(blocks) if z is None else z):
                status = said if said is not Status.CONVERGED else Status.INACCURATE
                break
        return best.solution(status, self.name, clock.spent, rounds)

    def _solve_subprogram(
        self, program: ConvexProgram, state: Working, seconds: float
    ) -> tuple[Float[np.ndarray, "k P d"] | None, Float[np.ndarray, " n"] | None, Status]:
        """Optimal blocks over the working rows and blocks; multipliers of the fit where it is stated."""
        units = _units(program)
        problem, x, fit = _statement(program, state, units)
        try:
            with warnings.catch_warnings():
                # CVXPY's word on accuracy is not needed: the gap is recomputed from the program
                warnings.filterwarnings("ignore", message="Solution may be inaccurate", category=UserWarning)
                problem.solve(**self._options(seconds))
        except cp.error.SolverError as error:
            log.info("%s gave up: %s", self.name, error)
            return None, None, Status.FAILED
        if x.value is None or not np.isfinite(x.value).all():
            limit = problem.status == cp.USER_LIMIT
            return None, None, Status.TIME_LIMIT if limit else Status.FAILED
        blocks = program.zero_blocks()
        blocks[state.side, state.index] = x.value.T * (units.f / units.x)
        z = None
        if fit is not None and fit.dual_value is not None:  # the multipliers of design·u = y, or of f = design·u
            z = np.asarray(fit.dual_value, dtype=np.float64) * (-1.0 if program.exact_fit else units.z)
        return blocks, z, Status.CONVERGED if problem.status == cp.OPTIMAL else Status.INACCURATE

    def _options(self, seconds: float) -> dict[str, object]:
        limit = min(seconds, 1e8)
        precision = max(self.tolerance / 100, 1e-10)
        if self.backend == "clarabel":
            return {
                "solver": cp.CLARABEL,
                "time_limit": limit,
                "tol_gap_rel": precision,
                "tol_gap_abs": precision,
                "tol_feas": precision,
            }
        return {"solver": cp.SCS, "time_limit_secs": limit, "eps": precision, "max_iters": 1_000_000}


def _units(program: ConvexProgram) -> Units:
    """Units in which X has rows of norm ≤ 1 and, where targets are numbers, ‖y‖ = 1."""
    loss = program.problem.loss
    unit_f = 1.0 if loss.classes else float(np.linalg.norm(program.y)) or 1.0
    return Units(float(np.linalg.norm(program.X, axis=1).max()) or 1.0, unit_f, loss.rescaled(unit_f)[1])


def _statement(
    program: ConvexProgram, state: Working, units: Units
) -> tuple[cp.Problem, cp.Variable, cp.Constraint | None]:
    """The subprogram in these units; its blocks; the constraint whose multipliers are z, where it is stated."""
    count, d = len(state.index), program.X.shape[1]
    x = cp.Variable((d, count))
    flat = cp.vec(x, order="F")
    design, target = _design(program, state) / units.x, program.y / units.f
    penalty, constraints = _penalty(program, x, units)
    if program.exact_fit:
        fit = sparse.csc_matrix(design) @ flat == target
        return cp.Problem(cp.Minimize(penalty), [*constraints, fit]), x, fit
    if state.rows.any():
        constraints.append(_cone_rows(program, state) @ flat >= 0)
    problem, fit = program.problem, None
    loss, _ = problem.loss.rescaled(units.f)
    if problem.biases:
        design, c = np.hstack([design, np.ones((problem.n, 1))]), cp.Variable(1)
        flat = cp.hstack([flat, c])
        # L is in units of ``value``, c in those of f
        penalty = penalty + 0.5 * (problem.intercept_decay or 0.0) * units.f**2 / units.value * cp.sum_squares(c)
    if loss.name == "squared":
        root = np.sqrt(problem.weights)
        design, target = _compressed(root[:, None] * design, root * target)
        residual = cp.Variable(len(target))
        constraints.append(residual == design @ flat - target)
        cost = 0.5 * cp.sum_squares(residual)
    else:
        f = cp.Variable(problem.n)
        fit = f == sparse.csc_matrix(design) @ flat
        constraints.append(fit)
        cost = statement(loss, f, target, problem.weights)
    return cp.Problem(cp.Minimize(cost + penalty), constraints), x, fit


def _penalty(program: ConvexProgram, x: cp.Variable, units: Units) -> tuple[cp.Expression, list[cp.Constraint]]:
    """The penalty of blocks x in these units, and the cones that state it."""
    unit = units.f / units.x
    if isinstance(program.penalty, SquaredNorm):
        return 0.5 * program.beta * unit**2 / units.value * cp.sum_squares(x), []
    t = cp.Variable(x.shape[1])
    charged = x[:-1] if program.problem.biases.first_free else x
    return program.beta * unit / units.value * cp.sum(t), [cp.SOC(t, charged, axis=0)]


def _design(program: ConvexProgram, state: Working) -> Float[np.ndarray, "n columns"]:
    """[± D_i X] over the working blocks, (n, C·d)."""
    masks = program.patterns.dense[:, state.index] * np.array(program.sides)[state.side]
    return (masks[:, :, None] * program.X[:, None, :]).reshape(len(program.y), -1)


def _compressed(
    design: Float[np.ndarray, "n columns"], y: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "r columns"] | sparse.csc_matrix, Float[np.ndarray, " r"]]:
    """The same least squares term up to a constant: by QR where there are more samples than unknowns."""
    if design.shape[0] <= design.shape[1]:
        return sparse.csc_matrix(design), y
    q, r = np.linalg.qr(design)
    return r, q.T @ y


def _cone_rows(program: ConvexProgram, state: Working) -> sparse.csr_matrix:
    """The working rows of (2D_i − I)X u_i ≥ 0, scaled to unit norm (a positive factor changes no cone)."""
    column, sample = np.nonzero(state.rows)
    sign = np.where(program.patterns.dense[sample, state.index[column]], 1.0, -1.0)
    norms = np.linalg.norm(program.X, axis=1)[sample]
    values = program.X[sample] * (sign / np.where(norms > 0, norms, 1.0))[:, None]
    d = program.X.shape[1]
    indices = column[:, None] * d + np.arange(d)
    indptr = np.arange(0, values.size + 1, d)
    return sparse.csr_matrix((values.ravel(), indices.ravel(), indptr), shape=(len(column), len(state.index) * d))


class _Best:
    """The best feasible blocks and the best dual bound met so far."""

    def __init__(self, program: ConvexProgram, start: WarmStart | None) -> None:
        self.program = program
        self.blocks = program.repair(program.zero_blocks())
        self.value = program.value(self.blocks)
        self.dual: DualBound = dual_bound(program, program.problem.zero_dual_point)
        if start is not None:
            self.offer(start.blocks, start.z)

    def offer(self, raw: Float[np.ndarray, "k P d"], z: Float[np.ndarray, " n"] | None) -> None:
        feasible = self.program.repair(raw)
        value = self.program.value(feasible)
        if value < self.value:
            self.blocks, self.value = feasible, value
        # −∂ℓ/∂f at the blocks is the more accurate z for some losses, the solver's multipliers for others
        for candidate in (self.program.dual_point(raw), z):
            dual = self.dual if candidate is None else dual_bound(self.program, candidate)
            if dual.value > self.dual.value:
                self.dual = dual

    def relative_gap(self) -> float:
        return (self.value - self.dual.value) / max(abs(self.value), 1e-300)

    def solution(self, status: Status, solver: str, seconds: float, rounds: int) -> Solution:
        return Solution.of(
            self.program, self.blocks, self.dual, status=status, solver=solver, seconds=seconds, iterations=rounds
        )
