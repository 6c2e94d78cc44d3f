r"""Cone decompositions w = u − v with u, v ∈ K_D: what turns a gated solution into a feasible relaxed point.

The cost ‖u‖ + ‖v‖ ≥ ‖w‖ is the price of the cone. Its least value for a unit vector is the cone sharpness C(K, z)
(KP Def. 4.1), an SOCP (:mod:`reluopt.solvers.cone_sharpness`). Here are the cheap feasible ones, along one interior
direction c: if c and c + εz lie in K, then z = ((c + εz) − c)/ε and C ≤ (‖c‖ + ‖c + εz‖)/ε (KP Prop. 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import nnls

from reluopt.errors import SolverError
from reluopt.programs.gated import GatedProgram
from reluopt.programs.relaxed import RelaxedProgram


@dataclass(frozen=True)
class Decomposition:
    """w = u − v with u, v in one cone (up to the rounding of their own entries)."""

    u: Float[np.ndarray, " d"]
    v: Float[np.ndarray, " d"]

    @property
    def cost(self) -> float:
        """‖u‖ + ‖v‖."""
        return float(np.linalg.norm(self.u) + np.linalg.norm(self.v))


#: (X, pattern, w) → a decomposition of w in the pattern's cone
Decomposer = Callable[[Float[np.ndarray, "n d"], Bool[np.ndarray, " n"], Float[np.ndarray, " d"]], Decomposition | None]


def cone_rows(X: Float[np.ndarray, "n d"], pattern: Bool[np.ndarray, " n"]) -> Float[np.ndarray, "k d"]:
    """The rows of (2D − I)X as unit vectors, zero rows left out (they constrain nothing)."""
    norms = np.linalg.norm(X, axis=1)
    alive = norms > 0
    return np.where(pattern, 1.0, -1.0)[alive, None] * X[alive] / norms[alive, None]


def deepest(X: Float[np.ndarray, "n d"], pattern: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " d"] | None:
    """The unit vector c deepest inside K_D: max min_i (2D_i − 1)x_iᵀc/‖x_i‖. None where K_D has no interior.

    min ‖c‖ subject to Ac ≥ 1 is a least distance problem, solved as one NNLS (Lawson & Hanson 1974, ch. 23).
    """
    A = cone_rows(X, pattern)
    if len(A) == 0:
        return np.eye(X.shape[1])[0]
    E = np.vstack([A.T, np.ones(len(A))])
    target = np.eye(len(E))[-1]
    try:
        multipliers, _ = nnls(E, target, maxiter=10 * len(A) + 100)
    except RuntimeError:
        return None
    residual = E @ multipliers - target
    if residual[-1] >= 0:
        return None
    c = residual[:-1] / np.linalg.norm(residual[:-1])
    return c if (A @ c).min() > 0 else None


def decompose_along(
    X: Float[np.ndarray, "n d"],
    pattern: Bool[np.ndarray, " n"],
    w: Float[np.ndarray, " d"],
    inner: Float[np.ndarray, " d"],
) -> Decomposition | None:
    """w = (w + τc) − τc with the smallest τ ≥ 0, for c = ``inner`` strictly inside; or −τ'c on the other side.

    Both w = (w + τc) − τc and w = τ'c − (τ'c − w) are feasible; the cheaper is returned. None where c is not inside.
    """
    A = cone_rows(X, pattern)
    depth, margin = A @ inner, A @ w
    if len(A) and depth.min() <= 0:
        return None
    tau = float(np.max(-margin / depth, initial=0.0)) * (1 + 1e-14)
    other = float(np.max(margin / depth, initial=0.0)) * (1 + 1e-14)
    choices = [Decomposition(w + tau * inner, tau * inner), Decomposition(other * inner, other * inner - w)]
    return min(choices, key=lambda choice: choice.cost)


def cheap_decomposition(
    X: Float[np.ndarray, "n d"], pattern: Bool[np.ndarray, " n"], w: Float[np.ndarray, " d"]
) -> Decomposition | None:
    """A feasible decomposition along the deepest direction of the cone; None where the cone has no interior."""
    c = deepest(X, pattern)
    return None if c is None else decompose_along(X, pattern, w, c)


def sharpness_bound(X: Float[np.ndarray, "n d"], pattern: Bool[np.ndarray, " n"], z: Float[np.ndarray, " d"]) -> float:
    """KP Prop. 4.3: C(K_D, z) ≤ (‖c‖ + ‖c + εz‖)/ε for unit z, at the deepest c and the largest ε (both signs of z).

    ``inf`` where the cone has no interior.
    """
    found = cheap_decomposition(X, pattern, z / np.linalg.norm(z))
    return math.inf if found is None else found.cost


@dataclass(frozen=True)
class RelaxedPoint:
    """A feasible point of the relaxed program made from gated blocks.

    Attributes
    ----------
    blocks : (2, P, d), inside of their cones. ``value`` : the relaxed objective there.
    factor : max_i (‖u_i‖ + ‖v_i‖)/‖w_i‖ ≥ 1; value ≤ factor · (gated objective), KP Prop. 4.2.
    """

    blocks: Float[np.ndarray, "2 P d"]
    value: float
    factor: float


def relaxed_from_gated(
    program: RelaxedProgram,
    gated: Float[np.ndarray, "1 P d"],
    decompose: Decomposer = cheap_decomposition,
) -> RelaxedPoint:
    """Decompose every gated block in its cone: the same fit, a regulariser larger by at most ``factor``.

    Raises
    ------
    SolverError : a block whose cone has no interior, or none that float64 can see.
    """
    blocks = program.zero_blocks()
    factor = 1.0
    for i in np.flatnonzero(np.linalg.norm(gated[0], axis=-1)):
        w = gated[0, i]
        parts = decompose(program.X, program.patterns.dense[:, i], w)
        if parts is None:
            raise SolverError(
                f"The cone of pattern {int(i)} has no interior in float64.", "Sample the patterns from Gaussian gates."
            )
        blocks[0, i], blocks[1, i] = parts.u, parts.v
        factor = max(factor, parts.cost / float(np.linalg.norm(w)))
    return RelaxedPoint(blocks, program.value(blocks), factor)


def gated_twin(program: RelaxedProgram) -> GatedProgram:
    """The gated program of the same problem and patterns."""
    return GatedProgram(program.problem, program.patterns)
