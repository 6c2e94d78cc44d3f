r"""Cone sharpness: the cheapest decomposition z = u − v with u, v ∈ K_D, as a second-order cone program.

C(K, z) = min{‖u‖ + ‖v‖ : u − v = z, u, v ∈ K} (KP Def. 4.1). Substituting v = u − z leaves d variables:
min ‖u‖ + ‖u − z‖ subject to Au ≥ max(0, Az) for the cone's unit rows A. Dual: max gᵀz over the g with
‖proj_K(g)‖ ≤ 1 and ‖proj_K(−g)‖ ≤ 1, so any g, scaled, bounds C from below.
"""

from __future__ import annotations

from dataclasses import dataclass

import clarabel
import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from reluopt.errors import DataError, SolverError
from reluopt.programs import cones
from reluopt.programs.decomposition import Decomposition, cone_rows, decompose_along, deepest


@dataclass(frozen=True)
class Sharpness:
    """A bracket ``lower`` ≤ C(K, z) ≤ ``value`` (in float64, not proved), with the decomposition that attains it."""

    decomposition: Decomposition
    value: float
    lower: float


def sharpness(X: Float[np.ndarray, "n d"], pattern: Bool[np.ndarray, " n"], z: Float[np.ndarray, " d"]) -> Sharpness:
    """C(K_D, z/‖z‖) with the cheapest decomposition of z itself.

    Raises
    ------
    DataError : z = 0. SolverError : K_D has no interior (then some z have no decomposition), or the solver failed.
    """
    size = float(np.linalg.norm(z))
    if not (np.isfinite(size) and size > 0):
        raise DataError("The direction z is zero or not finite.", "Give a nonzero direction.")
    inner = deepest(X, pattern)
    if inner is None:
        raise SolverError("The cone has no interior in float64.", "Take the pattern from a Gaussian gate.")
    unit = z / size
    u, g = _solve(cone_rows(X, pattern), unit)
    best = _feasible(X, pattern, unit, u, inner)
    norms = max(cones.project(X, pattern, g).norm, cones.project(X, pattern, -g).norm)
    lower = max(1.0, float(g @ unit) / norms) if norms > 0 else 1.0
    value = max(1.0, best.cost)  # ‖u‖ + ‖v‖ ≥ ‖u − v‖ = 1, but for rounding
    return Sharpness(Decomposition(size * best.u, size * best.v), value, min(lower, value))


def minimum_norm_decomposition(
    X: Float[np.ndarray, "n d"], pattern: Bool[np.ndarray, " n"], w: Float[np.ndarray, " d"]
) -> Decomposition:
    """The w = u − v in K_D of the smallest ‖u‖ + ‖v‖; see :func:`sharpness` for what can go wrong."""
    return sharpness(X, pattern, w).decomposition


def _solve(
    A: Float[np.ndarray, "k d"], z: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """(u, g) by Clarabel over the variables (u, s, t): rows Au ≥ max(0, Az), then ‖u‖ ≤ s and ‖u − z‖ ≤ t."""
    k, d = A.shape
    soc = np.zeros((2 * (d + 1), d + 2))
    soc[0, d] = soc[d + 1, d + 1] = -1.0
    soc[1 : d + 1, :d] = soc[d + 2 :, :d] = -np.eye(d)
    G = np.vstack([np.hstack([-A, np.zeros((k, 2))]), soc])
    h = np.concatenate([-np.maximum(0.0, A @ z), np.zeros(d + 1), [0.0], -z])
    sizes = [clarabel.NonnegativeConeT(k)] if k else []
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    solver = clarabel.DefaultSolver(
        sparse.csc_matrix((d + 2, d + 2)),
        np.concatenate([np.zeros(d), np.ones(2)]),
        sparse.csc_matrix(G),
        h,
        [*sizes, clarabel.SecondOrderConeT(d + 1), clarabel.SecondOrderConeT(d + 1)],
        settings,
    )
    solution = solver.solve()
    u, duals = np.array(solution.x)[:d], np.array(solution.z)
    if not (np.isfinite(u).all() and np.isfinite(duals).all()):
        raise SolverError("Clarabel found no decomposition.", "Standardise X.")
    # with multipliers λ of the rows split between Au ≥ 0 (where Az < 0) and Av ≥ 0, g = ∇‖u‖ − Aᵀλ over the former
    return u, -duals[k + 1 : k + d + 1] - A.T @ np.where(A @ z < 0, duals[:k], 0.0)


def _feasible(
    X: Float[np.ndarray, "n d"],
    pattern: Bool[np.ndarray, " n"],
    z: Float[np.ndarray, " d"],
    u: Float[np.ndarray, " d"],
    inner: Float[np.ndarray, " d"],
) -> Decomposition:
    """u and u − z shifted into the cone along ``inner``, or the decomposition along ``inner`` where that is cheaper."""
    A = cone_rows(X, pattern)
    short = np.maximum(0.0, A @ z) - A @ u
    tau = float(np.max(short / (A @ inner), initial=0.0)) * (1 + 1e-12)
    shifted = u + tau * inner
    along = decompose_along(X, pattern, z, inner)
    assert along is not None
    return min([Decomposition(shifted, shifted - z), along], key=lambda choice: choice.cost)
