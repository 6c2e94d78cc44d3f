r"""The lasso over given neurons: min_w Σ κ_i ℓ((Aw)_i, y_i) + β‖w‖₁ with the columns A = (X u_k)_+ of unit directions.

An intercept is the weight on one more column, of ones, without that penalty.

It is the convex program with one direction a block, and a weight w_k is the neuron (√|w_k| u_k, ±√|w_k|): every w is
a network with L = L_bal = this objective. The columns are many and nearly parallel, so coordinates one at a time are
slow; here Newton steps on the support (exact for the squared loss) change the support by many weights at once.

Source of the idea: feature-sign search, Lee, Battle, Raina & Ng, NeurIPS 2006; orthant-wise projection,
Andrew & Gao, ICML 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock
from reluopt.problem import Problem

#: Columns that may enter in one step; relative optimality at which to stop; steps.
MOST_NEW, OPTIMAL, MOST_STEPS = 100, 1e-7, 200
#: Share of the largest possible curvature that is added to every sample's: the first after a failed step. With all of
#: it the quadratic model lies above the loss, so that its step descends.
DAMPING = 1e-3
#: Ridge of Newton's matrix, relative to its mean diagonal: columns may be parallel.
RIDGE = 1e-11


@dataclass
class _Point:
    """Weights w (K,), their fit f = Aw (n,), the objective."""

    w: Float[np.ndarray, " K"]
    f: Float[np.ndarray, " n"]
    value: float


@dataclass
class _Penalties:
    """What the weights cost: Σ level_k|w_k| + ½ Σ ridge_k w_k²; (K,) each. ``beta`` is the unit of tolerances."""

    level: Float[np.ndarray, " K"]
    ridge: Float[np.ndarray, " K"]
    beta: float

    @classmethod
    def of(cls, problem: Problem, count: int) -> _Penalties:
        """β for neurons, what the problem says for an intercept, which is the last."""
        level, ridge = np.full(count, problem.beta), np.zeros(count)
        if problem.biases.intercept:
            level[-1], ridge[-1] = 0.0, problem.intercept_cost
        return cls(level, ridge, problem.beta)

    def paid(self, w: Float[np.ndarray, " K"]) -> float:
        """What the weights w cost."""
        return float(self.level @ np.abs(w) + 0.5 * self.ridge @ (w * w))


def lasso(
    problem: Problem,
    A: Float[np.ndarray, "n K"],
    w: Float[np.ndarray, " J"],
    clock: Clock | None = None,
    optimal: float = OPTIMAL,
) -> tuple[Float[np.ndarray, " J"], float]:
    """(weights, objective), never above the objective of the start ``w``.

    The loss must be smooth; take ``loss.smoothed`` of one with kinks. ``optimal`` : stop where the subgradient has a
    part in [−1, 1]·``optimal``·β of zero in every coordinate. With an intercept ``w`` has its c behind the weights.
    """
    rows, damping = np.ascontiguousarray(A.T), 0.0  # columns are taken out by the dozen
    if problem.biases.intercept:
        rows = np.vstack([rows, np.ones(len(A))])
    penalties = _Penalties.of(problem, len(w))
    at = _point(problem, penalties, w, _fit(rows, w))
    for _ in range(MOST_STEPS):
        slope = rows @ problem.dual_point(at.f) - penalties.ridge * at.w
        signs = _signs(penalties, slope, at.w, optimal)
        if signs is None or (clock is not None and clock.over):
            break
        following, whole = _step(problem, penalties, rows, at, slope, signs, damping)
        if following is not None:
            settled = at.value - following.value <= 1e-12 * abs(at.value)
            at = following
            if settled and damping == 0.0:
                break
        elif damping >= 1.0:
            break
        damping = _next_damping(damping, whole)
    at = _point(problem, penalties, at.w, _fit(rows, at.w))  # without the rounding of many steps
    return at.w, at.value


def _next_damping(damping: float, whole: bool) -> float:
    if not whole:
        return min(max(10.0 * damping, DAMPING), 1.0)
    return 0.1 * damping if damping > DAMPING else 0.0


def _point(problem: Problem, penalties: _Penalties, w: Float[np.ndarray, " K"], f: Float[np.ndarray, " n"]) -> _Point:
    return _Point(w, f, problem.loss_value(f) + penalties.paid(w))


def _fit(rows: Float[np.ndarray, "K n"], w: Float[np.ndarray, " K"]) -> Float[np.ndarray, " n"]:
    used = w != 0
    return w[used] @ rows[used]


def _signs(
    penalties: _Penalties, slope: Float[np.ndarray, " K"], w: Float[np.ndarray, " K"], optimal: float
) -> Float[np.ndarray, " K"] | None:
    """Signs of the weights that the next step may move, 0 for those that stay; None at an optimum.

    What has no kink at 0 may always move: its sign is said to be 1.
    """
    smooth = penalties.level == 0
    signs, used = np.where(smooth, 1.0, np.sign(w)), (w != 0) | smooth
    inside = np.abs(slope - penalties.level * signs)[used].max(initial=0.0)
    excess = np.where(used, 0.0, np.abs(slope) - penalties.level)
    outside = excess.max(initial=0.0)
    if max(inside, outside) <= optimal * penalties.beta:
        return None
    if outside > 2.0 * inside:
        new = np.argsort(-excess, kind="stable")[:MOST_NEW]
        new = new[excess[new] > 0]
        signs[new] = np.sign(slope[new])
    return signs


def _step(
    problem: Problem,
    penalties: _Penalties,
    rows: Float[np.ndarray, "K n"],
    at: _Point,
    slope: Float[np.ndarray, " K"],
    signs: Float[np.ndarray, " K"],
    damping: float,
) -> tuple[_Point | None, bool]:
    """A Newton step within the orthant of ``signs``, None where none descends; whether its whole length did."""
    index = np.flatnonzero(signs)
    columns = rows[index]
    most = problem.loss.lipschitz
    curvature = problem.weights * (problem.loss.curvature(at.f, problem.targets) + damping * most)
    if (curvature == curvature[0]).all():
        matrix = curvature[0] * (columns @ columns.T)
    else:
        scaled = columns * np.sqrt(curvature)
        matrix = scaled @ scaled.T
    mean = most * float((columns * columns).sum()) / len(index) or 1.0
    matrix[np.diag_indices(len(index))] += RIDGE * mean + penalties.ridge[index]
    signs = np.where(penalties.level == 0, 0.0, signs)[index]  # what has no kink has no side to keep
    slope = slope[index] - penalties.level[index] * signs
    keep = np.arange(len(index))
    while True:  # a new weight must move to its own side
        direction = np.linalg.solve(matrix[np.ix_(keep, keep)], slope[keep])
        wrong = (at.w[index[keep]] == 0) & (signs[keep] != 0) & (direction * signs[keep] <= 0)
        if not wrong.any():
            break
        keep = keep[~wrong]
        if not len(keep):
            return None, False
    if len(keep) < len(index):
        index, columns, slope, signs = index[keep], columns[keep], slope[keep], signs[keep]
    return _searched(problem, penalties, columns, at, index, signs, direction, float(slope @ direction))


def _searched(
    problem: Problem,
    penalties: _Penalties,
    columns: Float[np.ndarray, "k n"],
    at: _Point,
    index: np.ndarray,
    signs: Float[np.ndarray, " k"],
    direction: Float[np.ndarray, " k"],
    promise: float,
) -> tuple[_Point | None, bool]:
    """Step lengths 1, ½, the first weight that reaches zero, and halves of it; weights that would cross zero stop.

    ``promise`` is the slope; half of it is what the quadratic model says that the whole step gains.
    """
    before = at.w[index]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(direction * signs < 0, -before / direction, np.inf)
    first, best = min(1.0, float(crossing.min(initial=np.inf))), None
    for length in dict.fromkeys([1.0, 0.5, *(first * 0.5**k for k in range(6))]):
        moved = before + length * direction
        moved[(moved * signs < 0) | (crossing <= length)] = 0.0
        w = at.w.copy()
        w[index] = moved
        trial = _point(problem, penalties, w, at.f + (moved - before) @ columns)
        if trial.value < (at if best is None else best).value:
            best = trial
        if at.value - trial.value >= 0.1 * length * promise:
            return trial, length == 1.0
    return best, False
