r"""Activations as variables: the forms of the core v = (a, u, s), their adjoint, and how s is eliminated.

The head h = (a, u) of a neuron has one output, a = α (on a leaf a = 1 and h = (1, u)), or C of them; s = (Xu)_+. With
rows F of forms of the head, a group of samples has the forms

.. math:: G v = (F h,\; s,\; s − Xu) = Q h + S s,\qquad Q = (F; 0; −X̂),\; S = (0; I; I),\; X̂ = (0, X),

all ≥ 0; with several outputs there are no rows F. Multipliers r of their products, ν of s_i² = s_i x_iᵀu, a dual point
z, and ball products k (rows of K̂ = (0, k): F_i(κ − k_iᵀu) ≥ 0 for κ ≥ ‖k_i‖, ‖u‖ ≤ 1) make a form of each group,

.. math:: Σ_j [s_j z_jᵀa − ν_j (s_j² − s_j x_jᵀu)] + (Gv)ᵀ(r Gv − K̂h) = hᵀHh + 2 sᵀBh − sᵀAs,

    H = QᵀrQ − sym(QᵀK̂),\quad B = SᵀrQ − ½SᵀK̂ + ½(z, diag(ν) X),\quad A = diag(ν) − SᵀrS,

which for A = LLᵀ, B = LY is at most hᵀ(H + YᵀY)h. Everything works on numpy arrays and on torch tensors, and on many
groups of one size at once: X (groups, p, d).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import torch

from reluopt.losses.protocol import namespace

Array = Any  # numpy.ndarray or torch.Tensor


class Products(NamedTuple):
    """A symmetric r as sums over the places where an s stands: what H, B and A need of it.

    Attributes
    ----------
    of_head : (f, f), r of the forms of the head. ``on_s``, ``on_p`` : (…, f, p), its columns of s and of s − Xu.
    both : SᵀrS (…, p, p). ``cross`` : Sᵀr at the columns of s − Xu. ``of_p`` : r of the s − Xu among each other.
    """

    of_head: Array
    on_s: Array
    on_p: Array
    both: Array
    cross: Array
    of_p: Array


@dataclass(frozen=True, eq=False)
class Lifting:
    """The forms of samples X (…, p, d), with the forms F (f, e) of the head, e = C + d."""

    X: Array
    F: Array

    @property
    def outputs(self) -> int:
        """How many entries of the head stand before u."""
        return int(self.F.shape[1] - self.X.shape[-1])

    @property
    def s(self) -> slice:
        """Where s stands among the forms."""
        return slice(len(self.F), len(self.F) + self.X.shape[-2])

    @property
    def p(self) -> slice:
        """Where s − Xu stands among the forms."""
        return slice(self.s.stop, self.s.stop + self.X.shape[-2])

    def images(self, U: Array) -> Array:
        """XU for U (…, d, k): (…, *X.shape[:-1], k)."""
        flat, k = self.X.reshape(-1, self.X.shape[-1]), U.shape[-1]
        if U.ndim == 2:
            return (flat @ U).reshape(*self.X.shape[:-1], k)
        sides = (flat @ namespace(U).concatenate([*U], 1)).reshape(len(flat), len(U), k)
        return namespace(U).swapaxes(sides, 0, 1).reshape(len(U), *self.X.shape[:-1], k)

    def forms(self, head: Array, s: Array) -> Array:
        """Gv for head (…, e, k) and s (…, *X.shape[:-1], k)."""
        xp, f, k = namespace(s), len(self.F), s.shape[-1]
        lead = self.F @ head
        if self.X.ndim == 3:
            lead = lead[..., None, :, :]
        lead = xp.broadcast_to(lead, (*s.shape[:-2], f, k))
        return xp.concatenate([lead, s, s - self.images(head[..., self.outputs :, :])], -2)

    def adjoint(self, values: Array) -> tuple[Array, Array]:
        """(by head, by s) of ⟨values, Gv⟩ for values (…, f + 2p, k): that of the head is summed over the groups."""
        xp, grouped = namespace(values), self.X.ndim == 3
        by_p, lead = values[..., self.p, :], values[..., : len(self.F), :]
        flat, k = self.X.reshape(-1, self.X.shape[-1]), values.shape[-1]
        many = values.ndim > self.X.ndim
        columns = xp.concatenate([part.reshape(-1, k) for part in (by_p if many else [by_p])], 1)
        by_u = flat.T @ columns
        by_u = xp.swapaxes(by_u.reshape(-1, len(by_p), k), 0, 1) if many else by_u
        head = self.F.T @ (lead.sum(-3) if grouped else lead)
        head[..., self.outputs :, :] -= by_u
        return head, values[..., self.s, :] + by_p

    def summed(self, r: Array) -> Products:
        """A symmetric r (…, f + 2p, f + 2p) as ``Products``."""
        f, rows = len(self.F), r[..., self.s, :] + r[..., self.p, :]
        both = rows[..., self.s] + rows[..., self.p]
        return Products(
            r[..., :f, :f], r[..., :f, self.s], r[..., :f, self.p], both, rows[..., self.p], r[..., self.p, self.p]
        )

    def blocks(self, z: Array, nu: Array, r: Products, k: Array | None = None) -> tuple[Array, Array, Array]:
        """(H, B, A); H is summed over the groups.

        Parameters
        ----------
        z : (…, p) or (…, p, C). ``nu`` : (…, p). ``k`` : (…, f + 2p, d), rows of ball products, or none.
        """
        xp, X, F, C = namespace(nu), self.X, self.F, self.outputs
        d = X.shape[-1]
        A, every = -r.both, xp.arange(nu.shape[-1])
        A[..., every, every] += nu
        B = xp.swapaxes(r.on_s + r.on_p, -1, -2) @ F
        B[..., :C] += 0.5 * z.reshape(*X.shape[:-1], C)
        B[..., C:] += 0.5 * nu[..., None] * X - r.cross @ X
        flat, on_p = X.reshape(-1, d), r.of_p @ X
        H = F.T @ _over_groups(r.of_head) @ F
        H[C:, C:] += flat.T @ on_p.reshape(-1, d)
        mixed = F.T @ _over_groups(r.on_p @ X)
        if k is not None:
            on_u = k[..., self.p, :]
            B[..., C:] -= 0.5 * (k[..., self.s, :] + on_u)
            H[C:, C:] += _symmetric(flat.T @ on_u.reshape(-1, d))
            mixed = mixed + 0.5 * F.T @ _over_groups(k[..., : len(F), :])
        H[:, C:] -= mixed
        H[C:] -= mixed.T
        return H, B, A

    def matrix(self, z: Array, nu: Array, r: Array, k: Array | None = None) -> Array:
        """The symmetric matrix of one group's form on v."""
        H, B, A = self.blocks(z, nu, self.summed(r), k)
        xp = namespace(A)
        return xp.concatenate([xp.concatenate([H, B.T], 1), xp.concatenate([B, -A], 1)], 0)


def _over_groups(part: Array) -> Array:
    return part.sum(0) if part.ndim == 3 else part


def _symmetric(part: Array) -> Array:
    return 0.5 * (part + part.T)


def eliminated(B: Array, A: Array) -> tuple[Array, Array] | None:
    """(L, Y) with A = LLᵀ and B = LY as computed, of one group or many; None where an A is not definite."""
    if namespace(A) is torch:
        L, failed = torch.linalg.cholesky_ex(A)
        return None if failed.any() else (L, torch.linalg.solve_triangular(L, B, upper=False))
    try:
        L = np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        return None
    return L, scipy.linalg.solve_triangular(L, B, lower=True, check_finite=False) if L.size else B
