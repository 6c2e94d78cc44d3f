r"""The cones K_D = {u : (2D − I)Xu ≥ 0} of activation patterns: projection and the dual norm.

Moreau: g = proj_K(g) − Aᵀλ with A = (2D − I)X and λ ≥ 0 the solution of the non-negative least squares problem
min_{λ≥0} ‖g + Aᵀλ‖, whose value is ‖proj_K(g)‖ = sup{gᵀu : u ∈ K, ‖u‖ ≤ 1}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import nnls

from reluopt.programs.cone_faces import ConeFaces
from reluopt.programs.face_store import UnitRows

#: The largest move of a block, relative to its norm, that counts as a repair of rounding.
MOST_SHIFT = 1e-6


@dataclass(frozen=True)
class ConeProjection:
    """proj_K(g) with the multipliers λ ≥ 0 that prove ‖proj_K(g)‖ ≤ ``norm``."""

    point: Float[np.ndarray, " d"]
    multipliers: Float[np.ndarray, " n"]
    norm: float


def project(X: Float[np.ndarray, "n d"], pattern: Bool[np.ndarray, " n"], g: Float[np.ndarray, " d"]) -> ConeProjection:
    """Project g on K_D by NNLS. Any λ ≥ 0 bounds the norm from above, so the result is safe to use in a dual.

    Where the NNLS routine gives up (it does on badly scaled data), λ = 0 is returned: still a valid bound
    ‖g‖ on the norm, but then ``point`` is g itself and may lie outside of the cone.
    """
    A = np.where(pattern, 1.0, -1.0)[:, None] * X
    if (A @ g >= 0).all():
        return ConeProjection(g, np.zeros(len(X)), float(np.linalg.norm(g)))
    try:
        multipliers, _ = nnls(A.T, -g, maxiter=10 * len(X) + 100)
    except RuntimeError:
        return ConeProjection(g, np.zeros(len(X)), float(np.linalg.norm(g)))
    point = g + multipliers @ A
    return ConeProjection(point, multipliers, float(np.linalg.norm(point)))


def unit_rows(X: Float[np.ndarray, "n d"]) -> UnitRows:
    """The rows of X as unit vectors, to be shared by all calls of :func:`lowering_multipliers` on one X."""
    return UnitRows(torch.from_numpy(X))


def lowering_multipliers(
    rows: UnitRows,
    pattern: Bool[np.ndarray, " n"],
    g: Float[np.ndarray, " d"],
    *,
    enough: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> Float[np.ndarray, " n"]:
    """λ ≥ 0 that makes ‖g + Aᵀλ‖ small: the projection's, or an earlier one once the norm is at most ``enough``.

    On large data most cones of a dual bound drop below what matters after a few rows, long before they are solved.
    """
    signs = torch.from_numpy(np.where(pattern, 1.0, -1.0)[None])
    only = torch.zeros(1, dtype=torch.int64)
    faces = ConeFaces(rows, signs, only)
    faces.project(torch.from_numpy(g[None]), only, enough=enough, stop=stop)
    return faces.multipliers(only)[0].numpy()


def interior_shift(
    X: Float[np.ndarray, "n d"],
    pattern: Bool[np.ndarray, " n"],
    u: Float[np.ndarray, " d"],
    inner: Float[np.ndarray, " d"],
) -> Float[np.ndarray, " d"] | None:
    """u + τc with the smallest τ ≥ 0 that brings u into K_D, for c strictly inside it; None where c is not.

    It is meant for what rounding left: None too where it would move u by more than ``MOST_SHIFT``·‖u‖, as happens
    with a c so near the border that u would have to follow it far out.

    Rows with x_iᵀc = 0 are allowed only where x_i = 0 (those never constrain).
    """
    signs = np.where(pattern, 1.0, -1.0)
    margin, depth = signs * (X @ u), signs * (X @ inner)
    short = margin < 0
    if not short.any():
        return u
    if (depth[short] <= 0).any():
        return None
    tau = float((-margin[short] / depth[short]).max()) * (1 + 1e-12)
    if tau * np.linalg.norm(inner) > MOST_SHIFT * np.linalg.norm(u):
        return None
    shifted = u + tau * inner
    return shifted if (signs * (X @ shifted) >= -1e-15 * np.abs(X).max() * np.linalg.norm(shifted)).all() else None
