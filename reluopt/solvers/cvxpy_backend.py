r"""Pattern programs through CVXPY: Clarabel (interior point) or SCS (first order).

The statement is built from explicit sparse matrices, so it takes no Python loop over patterns. Cones have n rows a
block, of which few matter: only violated rows are stated, and more are added until none is violated ("lazy").
Blocks are added the same way, by their dual norm. A subprogram with fewer rows has a smaller optimum, and the dual
bound of every round is valid for the whole program, so whenever time ends the bracket so far stands.
"""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass, field

import cvxpy as cp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from reluopt.errors import ConfigError
from reluopt.programs.dual import DualBound, block_norms, dual_bound
from reluopt.programs.pattern_program import PatternProgram
from reluopt.solvers.solution import Solution, Status

log = logging.getLogger(__name__)

BACKENDS = ("clarabel", "scs")


@dataclass(frozen=True, kw_only=True)
class CvxpySolver:
    """Solve pattern programs with CVXPY.

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

    def solve(self, program: PatternProgram, warm_start: Float[np.ndarray, "k P d"] | None = None) -> Solution:
        """Bracket the program's optimum; ``warm_start`` blocks (of a network, say) choose the first rows and blocks."""
        clock = _Clock(self.time_limit)
        # under ridge every block is active, and an exact fit may need every block
        lazy = self.lazy and program.penalty_power == 1 and not program.exact_fit
        state = _Working.first(program, warm_start) if lazy else _Working.whole(program)
        best = _Best(program, warm_start)
        status, rounds = Status.ITERATION_LIMIT, 0
        while rounds < self.max_rounds:
            if clock.left() <= 0:
                status = Status.TIME_LIMIT
                break
            blocks, z, said = self._solve_subprogram(program, state, clock.left())
            rounds += 1
            if blocks is None:
                status = Status.TIME_LIMIT if clock.left() <= 0 else said
                break
            best.offer(blocks, z)
            log.info("round %d: %d rows, gap %.2e", rounds, state.rows.sum(), best.relative_gap())
            if best.relative_gap() <= self.tolerance:
                status = Status.CONVERGED
                break
            if not state.grow(program, blocks):
                status = said if said is not Status.CONVERGED else Status.INACCURATE
                break
        return best.solution(status, self.name, clock.spent(), rounds)

    def _solve_subprogram(
        self, program: PatternProgram, state: _Working, seconds: float
    ) -> tuple[Float[np.ndarray, "k P d"] | None, Float[np.ndarray, " n"] | None, Status]:
        """Optimal blocks over the working rows and blocks, and the multipliers of an exact fit, where there are any."""
        scale_x = float(np.linalg.norm(program.X, axis=1).max()) or 1.0
        scale_y = float(np.linalg.norm(program.y)) or 1.0
        problem, x, fit = _statement(program, state, scale_x, scale_y)
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
        blocks[state.side, state.index] = x.value.T * (scale_y / scale_x)
        # −dual_value is a multiple of z; the dual bound scales it
        z = None if fit is None else -np.asarray(fit.dual_value, dtype=np.float64)
        return blocks, z, Status.CONVERGED if problem.status == cp.OPTIMAL else Status.INACCURATE

    def _options(self, seconds: float) -> dict[str, object]:
        limit = min(seconds, 1e8)
        precision = max(self.tolerance / 10, 1e-10)
        if self.backend == "clarabel":
            return {
                "solver": cp.CLARABEL,
                "time_limit": limit,
                "tol_gap_rel": precision,
                "tol_gap_abs": precision,
                "tol_feas": precision,
            }
        return {"solver": cp.SCS, "time_limit_secs": limit, "eps": precision, "max_iters": 1_000_000}


def _statement(
    program: PatternProgram, state: _Working, scale_x: float, scale_y: float
) -> tuple[cp.Problem, cp.Variable, cp.Constraint | None]:
    """The subprogram in units where X has rows of norm ≤ 1 and ‖y‖ = 1; its blocks; its fit where that is exact."""
    count, d = len(state.index), program.X.shape[1]
    x = cp.Variable((d, count))
    flat = cp.vec(x, order="F")
    design, target = _design(program, state) / scale_x, program.y / scale_y
    constraints: list[cp.Constraint] = []
    weight = program.beta / (scale_x * scale_y)
    if program.penalty_power == 2:
        penalty = 0.5 * program.beta / scale_x**2 * cp.sum_squares(x)
    else:
        t = cp.Variable(count)
        constraints.append(cp.SOC(t, x, axis=0))
        penalty = weight * cp.sum(t)
    if program.exact_fit:
        fit = sparse.csc_matrix(design) @ flat == target
        return cp.Problem(cp.Minimize(penalty), [*constraints, fit]), x, fit
    design, target = _compressed(design, target)
    residual = cp.Variable(len(target))
    constraints.append(residual == design @ flat - target)
    if state.rows.any():
        constraints.append(_cone_rows(program, state) @ flat >= 0)
    return cp.Problem(cp.Minimize(0.5 * cp.sum_squares(residual) + penalty), constraints), x, None


def _design(program: PatternProgram, state: _Working) -> Float[np.ndarray, "n columns"]:
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


def _cone_rows(program: PatternProgram, state: _Working) -> sparse.csr_matrix:
    """The working rows of (2D_i − I)X u_i ≥ 0, scaled to unit norm (a positive factor changes no cone)."""
    column, sample = np.nonzero(state.rows)
    sign = np.where(program.patterns.dense[sample, state.index[column]], 1.0, -1.0)
    norms = np.linalg.norm(program.X, axis=1)[sample]
    values = program.X[sample] * (sign / np.where(norms > 0, norms, 1.0))[:, None]
    d = program.X.shape[1]
    indices = column[:, None] * d + np.arange(d)
    indptr = np.arange(0, values.size + 1, d)
    return sparse.csr_matrix((values.ravel(), indices.ravel(), indptr), shape=(len(column), len(state.index) * d))


@dataclass
class _Clock:
    limit: float | None
    start: float = field(default_factory=time.perf_counter)

    def spent(self) -> float:
        return time.perf_counter() - self.start

    def left(self) -> float:
        return np.inf if self.limit is None else self.limit - self.spent()


@dataclass
class _Working:
    """Which blocks (side, index) and which of their cone rows (C, n) the subprogram states."""

    side: Int[np.ndarray, " C"]
    index: Int[np.ndarray, " C"]
    rows: Bool[np.ndarray, "C n"]

    @classmethod
    def whole(cls, program: PatternProgram) -> _Working:
        side, index = np.divmod(np.arange(program.shape[0] * program.shape[1]), program.shape[1])
        return cls(side, index, np.full((len(index), len(program.y)), program.has_cones))

    @classmethod
    def first(cls, program: PatternProgram, warm_start: Float[np.ndarray, "k P d"] | None) -> _Working:
        """All blocks where nothing is known; else the warm start's, with the rows nearest to a kink."""
        state = cls.whole(program)
        state.rows[:] = False
        if warm_start is None:
            return state
        used = np.linalg.norm(warm_start, axis=-1)[state.side, state.index] > 0
        if not used.any():
            return state
        state = cls(state.side[used], state.index[used], state.rows[used])
        if program.has_cones:
            margins = np.abs(program.X @ warm_start[state.side, state.index].T).T
            nearest = np.argsort(margins, axis=1)[:, : program.X.shape[1]]
            np.put_along_axis(state.rows, nearest, True, axis=1)
        return state

    def grow(self, program: PatternProgram, blocks: Float[np.ndarray, "k P d"]) -> bool:
        """Add violated rows (the 2d worst a block) and blocks with a dual norm above β; False if none is."""
        more_rows = program.has_cones and self._grow_rows(program, blocks)
        return self._grow_blocks(program, blocks) or more_rows

    def _grow_rows(self, program: PatternProgram, blocks: Float[np.ndarray, "k P d"]) -> bool:
        used = blocks[self.side, self.index]
        signs = program.patterns.signs[:, self.index].T
        margins = np.where(self.rows, 0.0, signs * (used @ program.X.T))
        scale = np.linalg.norm(used, axis=1)[:, None] * np.linalg.norm(program.X, axis=1)[None, :]
        margins[margins >= -1e-12 * scale] = 0.0
        worst = np.argsort(margins, axis=1)[:, : 2 * program.X.shape[1]]
        new = np.zeros_like(self.rows)
        np.put_along_axis(new, worst, np.take_along_axis(margins, worst, axis=1) < 0, axis=1)
        self.rows |= new
        return bool(new.any())

    def _grow_blocks(self, program: PatternProgram, blocks: Float[np.ndarray, "k P d"]) -> bool:
        missing = np.ones(program.shape[:2], dtype=bool)
        missing[self.side, self.index] = False
        if not missing.any():
            return False
        # the working blocks hold their dual constraint by optimality; only the missing ones are priced
        side, index = np.nonzero(missing & (block_norms(program, program.dual_point(blocks)) > program.beta))
        self.side, self.index = np.append(self.side, side), np.append(self.index, index)
        self.rows = np.vstack([self.rows, np.zeros((len(index), self.rows.shape[1]), dtype=bool)])
        return len(index) > 0


class _Best:
    """The best feasible blocks and the best dual bound met so far."""

    def __init__(self, program: PatternProgram, warm_start: Float[np.ndarray, "k P d"] | None) -> None:
        self.program = program
        self.blocks = program.repair(program.zero_blocks())
        self.value = program.value(self.blocks)
        self.dual: DualBound = dual_bound(program, program.y)
        if warm_start is not None:
            self.offer(warm_start)

    def offer(self, raw: Float[np.ndarray, "k P d"], z: Float[np.ndarray, " n"] | None = None) -> None:
        feasible = self.program.repair(raw)
        value = self.program.value(feasible)
        if value < self.value:
            self.blocks, self.value = feasible, value
        dual = dual_bound(self.program, self.program.dual_point(raw) if z is None else z)
        if dual.value > self.dual.value:
            self.dual = dual

    def relative_gap(self) -> float:
        return (self.value - self.dual.value) / max(abs(self.value), 1e-300)

    def solution(self, status: Status, solver: str, seconds: float, rounds: int) -> Solution:
        violation = self.program.cone_violation(self.blocks)
        return Solution(self.blocks, self.value, self.dual, violation, status, solver, seconds, rounds)
