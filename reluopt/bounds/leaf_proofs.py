r"""From the dual variables of leaves' programs to the multipliers that prove their bounds.

Those of F_i and P_i are κ and −k of products of s_i and p_i with the ball, those of their products with cuts are r, ν_i
is the last entry of a matrix's. Whatever they violate of the dual equations counts in the bound, so that any iterate
proves something (``certificate/SPEC.md``, section 6).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluopt.bounds.ball import SAFETY, Ball
from reluopt.bounds.evidence import Multipliers
from reluopt.bounds.leaf_states import LeafStates
from reluopt.bounds.slopes import Slopes

#: ν at least, in units of β, and in units of |z| where a row is zero.
SMALLEST_NU, IDLE_NU = 1e-7, 1e12


def read_off(state: LeafStates, z: Float[Tensor, " n"]) -> list[Multipliers]:
    """The multipliers of every node in scaled units, every free sample in a group of its own."""
    data, e = state.data, state.data.size
    own = state.sign[:, None] * data.norms * z
    on_s = (state.ds + (state.es * state.on_s) @ state.G) * state.free[..., None]
    on_p = (state.dp + (state.ep * state.on_p) @ state.G) * state.held[..., None]
    rising = own.new_zeros(len(state), data.n, 1 + e)
    rising[state.of_rising] = state.D[..., e]
    psi = (on_s + on_p) * state.free[..., None]
    psi[..., 0] += own * state.free
    # ν_i is no smaller than what is violated of the equation of F_i, which then counts in proportion
    off = (psi + rising[..., e:] * data.rows + 2 * rising[..., :e]).norm(dim=-1)
    nu = torch.maximum(rising[..., e], off)
    nu = nu.clamp(min=SMALLEST_NU * data.beta) * state.free
    sign = torch.tensor([1.0, *[-1.0] * (e - 1)], dtype=nu.dtype)
    # the equation of Y at a feasible point: D0 and the matrices' dual variables with what P makes are, on the diagonal,
    # β − ω and ω, …; and λI − tilt·diag(1, −1, …) with λ = β/2 is diag(β − ω, ω, …)
    of_matrices = own.new_zeros(len(state), e)
    of_matrices.index_add_(0, state.of_rising[0], state.D.diagonal(dim1=-2, dim2=-1)[..., :e])
    sums = (state.D0.diagonal(dim1=-2, dim2=-1) + of_matrices - (on_p * state.x).sum(1)) @ sign
    tilt = (data.beta - sums) / e - 0.5 * data.beta
    return [_of_node(state, j, z, nu[j], float(tilt[j])) for j in range(len(state))]


def _of_node(state: LeafStates, j: int, z: Float[Tensor, " n"], nu: Float[Tensor, " n"], tilt: float) -> Multipliers:
    data, k = state.data, int(state.count[j])
    norms, d = data.norms.numpy(), data.size - 1
    there = norms > 0
    unit = np.where(there, norms, 1.0)
    free = np.flatnonzero((state.free[j] | ~torch.as_tensor(there)).numpy())
    # the sample of every cut, in their order
    cuts = _samples_of_cuts(state, j)
    cones = [
        (part[j] * mask[j][:, None]).numpy() / unit[:, None]
        for part, mask in ((state.ds, state.free), (state.dp, state.held))
    ]
    lines = [
        (part[j] * mask[j]).numpy()[:, :k] / unit[:, None] / unit[cuts]
        for part, mask in ((state.es, state.on_s), (state.ep, state.on_p))
    ]
    m = len(free)
    r, omega = np.zeros((m, 3 + k, 3 + k)), np.zeros((m, 3 + k, d))
    for form, cone, line in zip((1 + k, 2 + k), cones, lines, strict=True):
        omega[:, form] = -cone[free, 1:]
        r[:, 0, form] = _above(cone[free, 0], omega[:, form])
        r[:, 1 : 1 + k, form] = line[free].clip(0.0)
    square, rows = np.zeros((1 + k, 1 + k)), np.zeros((1 + k, d))
    rows[1:] = -cones[1][cuts, 1:]
    square[0, 1:] = _above(cones[1][cuts, 0], rows[1:])
    square[1:, 1:] = np.tril(lines[1][cuts], -1).clip(0.0)
    own = float(state.sign[j]) * z.numpy()
    weights = nu.numpy() / unit**2
    weights[~there] = np.maximum(IDLE_NU * np.abs(own[~there]), 1.0)
    r[~there[free], 0, 1 + k] = np.maximum(-own[free], 0.0)[~there[free]]
    zeros = np.zeros((1 + k, data.n))
    return Multipliers(
        zeros, zeros.copy(), weights, (*r, square), Slopes(np.zeros((0, d)), np.zeros(data.n), tilt),
        Ball(np.eye(d), (*omega, rows)),
    )  # fmt: skip


def _samples_of_cuts(state: LeafStates, j: int) -> Int[np.ndarray, " k"]:
    """In the order of the cuts: how many products of cuts a sample that cuts has tells which it is."""
    cutting = torch.nonzero(state.held[j] & ~state.free[j])[:, 0]
    return cutting[state.on_p[j, cutting].sum(1).argsort()].numpy()


def _above(kappa: Float[np.ndarray, " m"], rows: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
    """κ ≥ ‖k‖ with room for rounding."""
    return np.maximum(kappa, np.linalg.norm(rows, axis=1) * (1 + SAFETY) + 1e-300)
