r"""The master problem of cutting planes: the best z under cuts aᵀz ≤ β, and the network of the cuts' neurons behind it.

.. math:: \max_z Σ κD(z/κ)  s.t. aᵀz ≤ β  =  \min_{c ≥ 0} Σ κℓ(Σ_k c_k a_k) + β Σ c_k,  z = −κℓ'(f)

For the squared loss z is the point of the cuts nearest to y, for losses whose D is linear (hinge, absolute, quantile) a
linear program; for all others Newton's method on the right side solves a weighted problem of the first kind a step.
"""

from __future__ import annotations

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
    """The z (n,) that maximises the dual objective subject to aᵀz ≤ β for every cut a."""
    loss, y = problem.loss, problem.y
    if isinstance(loss, Squared) and not problem.is_weighted:
        return _nearest(y, cuts, problem.beta)[0]
    low, high = problem.dual_domain()
    if (
        not loss.smooth
        and (loss.dual_curvature(y, y) == 0).all()
        and np.isfinite(low).all()
        and np.isfinite(high).all()
    ):
        gain = loss.dual_gradient(0.0 * y, y)
        bounds = np.stack([low, high], axis=1)
        found = linprog(-gain, A_ub=cuts, b_ub=np.full(len(cuts), problem.beta), bounds=bounds, method="highs")
        if found.x is not None:
            return np.clip(found.x, low, high)
    return _by_newton(problem, cuts)


def _by_newton(problem: Problem, cuts: Float[np.ndarray, "c n"]) -> Float[np.ndarray, " n"]:
    """Newton's method over c ≥ 0, each step a nonnegative lasso in the metric of the curvatures."""
    loss, y, kappa = problem.loss.smoothed(ENVELOPE), problem.y, problem.weights
    on, c = kappa > 0, np.zeros(len(cuts))

    def value(c: Float[np.ndarray, " c"]) -> float:
        return float(kappa @ loss.value(c @ cuts, y)) + problem.beta * float(c.sum())

    now = value(c)
    for _ in range(STEPS):
        f = c @ cuts
        slope, curvature = kappa * loss.gradient(f, y), kappa * loss.curvature(f, y)
        curvature = np.maximum(curvature, FLAT * (float(curvature.max()) or 1.0))[on]
        root = np.sqrt(curvature)
        target = (f[on] - slope[on] / curvature) * root
        following = _nearest(target, cuts[:, on] * root, problem.beta)[1]
        step, better = 1.0, value(following)
        promised = float((following - c) @ (cuts @ slope + problem.beta))
        while better > now + 1e-4 * step * promised and step > 1e-10:
            step *= 0.5
            better = value(c + step * (following - c))
        if not now - better > ENOUGH * abs(now):
            break
        c, now = c + step * (following - c), better
    return -kappa * loss.gradient(c @ cuts, y)


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
