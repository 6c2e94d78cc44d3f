r"""The linear system of one Newton step over all leaves: the Hessian of their cones, and what the loss adds.

Of each node the F_i are eliminated one by one, then Y; the nodes meet in f alone, so that with their Hessians H, the
maps E from a node to f and the loss's curvature Q

.. math:: (H + EᵀQE)^{-1} r = H^{-1}(r − Eᵀw),\quad w = Q^{½}(I + Q^{½}EH^{-1}EᵀQ^{½})^{-1}Q^{½}EH^{-1}r.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.leaf_states import LeafStates

#: Numbers that the elimination of nodes may take at a time: more do not fit into a processor's cache.
AT_ONCE = 600000
#: What is added to the diagonal of a matrix that is not definite by rounding, relative to it: more until it is.
NUDGES = (1e-13, 1e-11, 1e-9, 1e-7, 1e-5)


@dataclass(frozen=True, eq=False)
class Metrics:
    """What maps steps of slacks to those of dual variables.

    Attributes
    ----------
    s, p : W⁻² of the cones of F and P. ``of_s``, ``of_p`` : dual over slack of their products with cuts.
    R, D : inverses and dual variables of the matrices. ``R0``, ``D0`` : those of Y.
    """

    s: Float[Tensor, "J n e e"]
    p: Float[Tensor, "J n e e"]
    of_s: Float[Tensor, "J n k"]
    of_p: Float[Tensor, "J n k"]
    R: Float[Tensor, "r c c"]
    D: Float[Tensor, "r c c"]
    R0: Float[Tensor, "J e e"]
    D0: Float[Tensor, "J e e"]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some nodes, eliminated: H_F = LLᵀ, Z = L⁻¹H_FY, c = L⁻¹E_Fᵀ, the Schur complement MMᵀ of Y, U = M⁻¹(E H⁻¹)_Yᵀ."""

    nodes: slice
    L: Float[Tensor, "J n e e"]
    Z: Float[Tensor, "J n e v"]
    c: Float[Tensor, "J n e"]
    M: Float[Tensor, "J v v"]
    U: Float[Tensor, "J v n"]


class NewtonSystem:
    """H + EᵀQE, factored."""

    def __init__(self, state: LeafStates, metrics: Metrics, root: Float[Tensor, "n n"]) -> None:
        self.state, self.root = state, root
        data, n = state.data, state.data.n
        step = max(1, AT_ONCE // (n * data.size**3))
        on_p = metrics.p + state.G.mT[:, None] @ (metrics.of_p[..., None] * state.G[:, None])
        on_s = metrics.s + state.G.mT[:, None] @ (metrics.of_s[..., None] * state.G[:, None])
        whole = torch.zeros(n, n, dtype=self.root.dtype)
        self.parts = []
        for first in range(0, len(state), step):
            nodes = slice(first, min(len(state), first + step))
            part = _eliminated(state, metrics, on_s[nodes], on_p[nodes], nodes)
            whole += (part.U.mT @ part.U).sum(0) + torch.diag(part.c.square().sum(-1).sum(0))
            self.parts.append(part)
        whole = torch.eye(n, dtype=whole.dtype) + root @ whole @ root
        self.coupling = _cholesky(whole)

    def solve(
        self, by_Y: Float[Tensor, "J v"], by_F: Float[Tensor, "J n e"]
    ) -> tuple[Float[Tensor, "J e e"], Float[Tensor, "J n e"]]:
        """The steps of Y and F for a right-hand side by the coordinates of Y, and by F."""
        halves, seen = [], torch.zeros_like(self.root[0])
        for part in self.parts:
            z = torch.linalg.solve_triangular(part.L, by_F[part.nodes][..., None], upper=False)[..., 0]
            rest = by_Y[part.nodes][..., None] - part.Z.flatten(1, 2).mT @ z.flatten(1)[..., None]
            g = torch.linalg.solve_triangular(part.M, rest, upper=False)
            seen = seen + ((part.c * z).sum(-1) + (part.U.mT @ g)[..., 0]).sum(0)
            halves.append((z, g[..., 0]))
        w = self.root @ torch.cholesky_solve(self.root @ seen[:, None], self.coupling)[:, 0]
        Y, F = [], []
        for part, (z, g) in zip(self.parts, halves, strict=True):
            v = torch.linalg.solve_triangular(part.M.mT, (g - part.U @ w)[..., None], upper=True)
            flat = z - part.c * w[:, None] - (part.Z @ v[:, None])[..., 0]
            F.append(torch.linalg.solve_triangular(part.L.mT, flat[..., None], upper=True)[..., 0])
            Y.append(self.state.data.unfolded(v[..., 0]))
        return torch.cat(Y), torch.cat(F) * self.state.free[..., None]


def _eliminated(
    state: LeafStates, metrics: Metrics, on_s: Float[Tensor, "J n e e"], on_p: Float[Tensor, "J n e e"], nodes: slice
) -> _Part:
    data, free, x, J = state.data, state.free[nodes], state.x[nodes], len(on_s)
    n, e = data.n, data.size
    outer = (x[..., :, None] * x[..., None, :]).view(J, n, e * e)
    HY = (on_p.reshape(J, n, e * e).mT @ outer).view(J, e, e, e, e).transpose(2, 3)
    HF, sides, lines, HY = _with_matrices(state, metrics, nodes, on_s + on_p, on_p, HY)
    HY = data.symmetric_folded(HY.reshape(J, e * e, e, e)).mT
    HY = data.symmetric_folded(HY.reshape(J, -1, e, e))
    HF = torch.where(free[..., None, None], HF, torch.eye(e, dtype=HF.dtype))
    sides[..., -1] = 0.0
    sides[..., 0, -1] = state.sign[nodes, None] * data.norms
    L = _cholesky(HF)
    # H_FY is Σ side ⊗ line, to be made symmetric: L⁻¹ is put on the sides, which are fewer
    both = torch.linalg.solve_triangular(L, sides * free[..., None, None], upper=False)
    c = both[..., -1]
    Z = data.symmetric_folded(torch.einsum("jnfka,jnkb->jnfab", both[..., :-1].unflatten(-1, (3, e)), lines))
    flat = Z.reshape(J, n * e, -1)
    M = _cholesky(0.5 * (HY + HY.mT) - flat.mT @ flat)
    through = x.new_zeros(J, n, e, e)
    through[:, :, 0] = (state.sign[nodes, None] * state.active[nodes] * data.norms)[..., None] * data.rows
    U = data.folded(through.view(J, n, e * e)) - (c[..., None, :] @ Z)[..., 0, :]
    return _Part(nodes, L, Z, c, M, torch.linalg.solve_triangular(M, U.mT, upper=False))


def _with_matrices(
    state: LeafStates, metrics: Metrics, nodes: slice, HF: Tensor, on_p: Tensor, HY: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(H_F, sides, lines, H_Y) with the Hessians tr(ΔS R ΔS' D) of the matrices S = [[Y, F_i], [·, x_iᵀf_i]], and of Y.

    H_FY is the sum of three products of a side (e, e) and a line (e,); the sides have room for one column more.
    """
    data, e, J = state.data, state.data.size, len(HF)
    j, i = state.of_rising
    here = (j >= nodes.start) & (j < nodes.stop)
    j, i, R, D = j[here] - nodes.start, i[here], metrics.R[here], metrics.D[here]
    # ΔF moves S by ẽeᵀ + eẽᵀ, ẽ = (ΔF, ½x_iᵀΔf), e the last unit vector
    half = 0.5 * data.rows[i]
    RL, DL = (A[:, :, :e] + A[:, :, e, None] * half[:, None] for A in (R, D))
    r, d = R[:, :, e], D[:, :, e]
    rl, dl = RL[:, e], DL[:, e]
    mixed = D[:, e, e, None, None] * RL + R[:, e, e, None, None] * DL
    own = mixed[:, :e] + half[:, :, None] * mixed[:, e, None]
    own = own + rl[:, :, None] * dl[:, None] + dl[:, :, None] * rl[:, None]
    sides, lines = HF.new_zeros(J, data.n, e, 3 * e + 1), HF.new_zeros(J, data.n, 3, e)
    sides[..., :e], lines[:, :, 0] = on_p, -state.x[nodes]
    sides[j, i, :, e:-1] = torch.cat([DL[:, :e].mT, RL[:, :e].mT], -1)
    lines[j, i, 1:] = torch.stack([r[:, :e], d[:, :e]], 1)
    counts = torch.bincount(j, minlength=J).tolist()
    pairs = zip(
        R[:, :e, :e].reshape(-1, e * e).split(counts), D[:, :e, :e].reshape(-1, e * e).split(counts), strict=True
    )
    products = torch.stack([one.T @ two for one, two in pairs])
    products += metrics.R0[nodes].reshape(J, e * e, 1) * metrics.D0[nodes].reshape(J, 1, e * e)
    HF = HF.index_put((j, i), own, accumulate=True)
    return HF, sides, lines, HY + products.view(J, e, e, e, e).permute(0, 4, 1, 2, 3)


def _cholesky(A: Float[Tensor, "... k k"]) -> Float[Tensor, "... k k"]:
    """The lower factor; of A with a little more on its diagonal where rounding asks for it."""
    L, failed = torch.linalg.cholesky_ex(A)
    for nudge in NUDGES:
        if not failed.any():
            break
        diagonal = A.diagonal(dim1=-2, dim2=-1).abs()
        L, failed = torch.linalg.cholesky_ex(
            A + torch.diag_embed(nudge * (diagonal + 1e-2 * diagonal.amax(-1, keepdim=True)))
        )
    return L
