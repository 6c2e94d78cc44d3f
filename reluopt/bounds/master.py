r"""The master problem of cutting planes: the best z under cuts aᵀz ≤ β, and the network of the cuts' neurons behind it.

.. math:: \max_z Σ κD(z/κ)  s.t. aᵀz ≤ β  =  \min_{c ≥ 0} Σ κℓ(Σ_k c_k a_k) + β Σ c_k,  z = −κℓ'(f)

For the squared loss z is the point of the cuts nearest to y, for losses whose D is linear (hinge, absolute, quantile) a
linear program; for all others Newton's method on the right side solves a weighted problem of the first kind a step. An
output intercept is one more variable of the right side, ½·decay·c² of its own, and Σz = decay·c on the left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog, nnls

from reluopt.losses.squared import Squared
from reluopt.problem import Problem

#: Newton's steps, the decrease relative to the value at which they end, and the envelope's step for a loss with kinks
#: whose D is not linear.
STEPS, ENOUGH, ENVELOPE = 200, 1e-13, 1e-4
#: Curvatures below this part of the largest one are raised to it.
FLAT = 1e-4


def best_under_cuts(problem: Problem, cuts: Float[np.ndarray, "c n"]) -> Float[np.ndarray, " n"]:
    """The z (n,) of the largest dual value with aᵀz ≤ β for every cut a; without cuts that of the zero network."""
    if not len(cuts):  # and scipy's nnls ends the process where a matrix has no columns
        return problem.zero_dual_point
    loss, y, decay = problem.loss, problem.y, problem.intercept_decay
    if isinstance(loss, Squared) and not problem.is_weighted:
        apart, _ = _without_intercept(np.ones_like(y), decay)
        return problem.settled(apart(_nearest(apart(y), apart(cuts), problem.beta)[0]))
    low, high = problem.dual_domain()
    if (
        not decay
        and not loss.smooth
        and (loss.dual_curvature(y, y) == 0).all()
        and np.isfinite(low).all()
        and np.isfinite(high).all()
    ):
        gain = loss.dual_gradient(0.0 * y, y)
        bounds = np.stack([low, high], axis=1)
        sums = {} if decay is None else {"A_eq": np.ones((1, len(y))), "b_eq": np.zeros(1)}
        most = {"A_ub": cuts, "b_ub": np.full(len(cuts), problem.beta)} if len(cuts) else {}
        found = linprog(-gain, **most, **sums, bounds=bounds, method="highs")
        if found.x is not None:
            return problem.settled(np.clip(found.x, low, high))
    return _by_newton(problem, cuts)


def _by_newton(problem: Problem, cuts: Float[np.ndarray, "c n"]) -> Float[np.ndarray, " n"]:
    """Newton's method over c ≥ 0 and the intercept, each step a nonnegative lasso in the metric of the curvatures."""
    loss, y, kappa, decay = problem.loss.smoothed(ENVELOPE), problem.y, problem.weights, problem.intercept_decay
    on, ones = kappa > 0, np.full(1 if decay is not None else 0, 1.0)
    c = np.append(np.zeros(len(cuts)), ones * problem.constant[0])
    cuts = np.vstack([cuts, *(ones[:, None] * np.ones_like(y))])
    paid = np.append(np.full(len(cuts) - len(ones), problem.beta), 0.0 * ones)

    def value(c: Float[np.ndarray, " c"]) -> float:
        return float(kappa @ loss.value(c @ cuts, y)) + float(paid @ c) + 0.5 * (decay or 0.0) * float(c[-1]) ** 2

    now = value(c)
    for _ in range(STEPS):
        f = c @ cuts
        slope, curvature = kappa * loss.gradient(f, y), kappa * loss.curvature(f, y)
        curvature = np.maximum(curvature, FLAT * (float(curvature.max()) or 1.0))[on]
        root = np.sqrt(curvature)
        target = (f[on] - slope[on] / curvature) * root
        apart, best = _without_intercept(root, decay)
        own = cuts[: len(cuts) - len(ones), on] * root
        following = _nearest(apart(target), apart(own), problem.beta)[1]
        following = np.append(following, ones * best(target - following @ own))
        step, better = 1.0, value(following)
        gradient = cuts @ slope + paid
        gradient[len(cuts) - len(ones) :] += (decay or 0.0) * c[len(cuts) - len(ones) :]
        promised = float((following - c) @ gradient)
        while better > now + 1e-4 * step * promised and step > 1e-10:
            step *= 0.5
            better = value(c + step * (following - c))
        if not now - better > ENOUGH * abs(now):
            break
        c, now = c + step * (following - c), better
    if decay is None:
        return -kappa * loss.gradient(c @ cuts, y)
    return problem.balanced_dual_point(c[:-1] @ cuts[:-1], ENVELOPE)


def _without_intercept(
    w: Float[np.ndarray, " n"], decay: float | None
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], float]]:
    """(S, c) with ½‖S r‖² = min over c of ½‖r − cw‖² + ½·decay·c², reached at c(r); S = I and c = 0 without one.

    S = I − τwwᵀ is the root of I − wwᵀ/(‖w‖² + decay).
    """
    if decay is None:
        return (lambda rows: rows), (lambda r: 0.0)
    square = float(w @ w)
    left = math.sqrt(decay / (square + decay))
    tau = (1.0 - left) / square
    return (lambda rows: rows - tau * np.multiply.outer(rows @ w, w)), (lambda r: float(w @ r) / (square + decay))


def _nearest(
    y: Float[np.ndarray, " n"], cuts: Float[np.ndarray, "c n"], beta: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " c"]]:
    """(z, c): the nearest point to y with aᵀz ≤ β for every cut, z = y − Σ c a, c ≥ 0.

    Least distance programming (Lawson & Hanson, ch. 23).
    """
    size = float(np.linalg.norm(y)) or 1.0
    reach = (cuts @ y - beta) / size
    system = np.vstack([-cuts.T, reach])
    target = np.zeros(len(y) + 1)
    target[-1] = 1.0
    if len(y) > 2 * len(cuts):  # the same least squares in as many rows as there are unknowns, and one
        small: Any = np.linalg.qr(np.column_stack([system, target]), mode="r")
        weights, _ = nnls(small[:, :-1], small[:, -1], maxiter=50 * len(cuts) + 1000)
    else:
        weights, _ = nnls(system, target, maxiter=50 * len(cuts) + 1000)
    residual = system @ weights - target
    if residual[-1] == 0:
        return y, np.zeros(len(cuts))
    return y + size * (-residual[:-1] / residual[-1]), -size * weights / residual[-1]
