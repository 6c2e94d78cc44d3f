r"""The leaves of branch and bound as one batch: their programs, and a point inside of all cones, primal and dual.

A node is a leaf and a sign ±. Its neurons' moments are Y ≥ E[(1,u)(1,u)ᵀ] times their strength, Y_00 = tr Y_uu, and
F_i = E[s_i(1,u)] of every free sample, rows of norm one. In the second-order cone, and with products with all cuts
gᵀu ≥ 0 of the leaf that are ≥ 0, are

.. math:: F_i,\quad P_i = F_i − Y x̂_i,\quad Y ĝ\ \text{of every cut};\qquad [[Y, F_i], [·, x_iᵀf_i]] ⪰ 0,\quad Y ⪰ 0,

the matrices of samples that are *rising* only (others have z_i < 0). A sample that cuts keeps the place of its P_i with
−ĝ for x̂_i and F_i = 0, which is Yĝ. All nodes share f = Σ ± ‖x_i‖E[s_i], z = −κℓ'(f).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reluopt.bounds.leaf_blocks import bordered
from reluopt.bounds.second_order import inside, inverse
from reluopt.losses.squared import Squared
from reluopt.problem import Problem

#: By how much products with cuts may be below 0, in units of the mean strength of a node: where the cuts decide a
#: sample there are no points inside otherwise.
ROOM = 1e-5
#: μ at the start, in units of β times the strength of a node over 1 + d.
CENTRE = 0.3

#: The samples that a leaf is cut by, each with the sign of x_iᵀu on it.
Path = tuple[tuple[int, int], ...]


class LeafData:
    """What all leaves share: rows of norm one after a 0, their norms, the loss and β of a problem in scaled units."""

    def __init__(self, problem: Problem, X: Float[np.ndarray, "n d"]) -> None:
        """``X`` : the rows as the data has them, which tells which are the same, or opposite."""
        norms = np.linalg.norm(problem.X, axis=1)
        rows = problem.X / np.where(norms > 0, norms, 1.0)[:, None]
        self.rows = torch.as_tensor(np.pad(rows, ((0, 0), (1, 0))))
        self.norms, self.y, self.kappa = (torch.as_tensor(part) for part in (norms, problem.y, problem.weights))
        self.beta, self.loss, self.n, self.size = problem.beta, problem.loss, len(rows), 1 + rows.shape[1]
        self.zero_sum = False
        same, opposite = ((X[:, None] == sign * X[None]).all(2) for sign in (1.0, -1.0))
        #: 1 where two rows are the same, −1 where they are opposite.
        self.alike = torch.as_tensor(same.astype(np.int64) - opposite)
        a, b = np.triu_indices(self.size)
        a, b = a[1:], b[1:]
        #: Y has the entries of these two places for each of its coordinates; those of the diagonal also add to Y_00.
        self.places = torch.as_tensor(a * self.size + b), torch.as_tensor(np.where(a == b, 0, b * self.size + a))

    def nearest_to(self, z: Float[np.ndarray, " n"], *, zero_sum: bool) -> LeafData:
        """The same with the loss ½‖f − z‖², whose dual optimum is the point nearest to z; with Σ_i z_i = 0 if asked."""
        other = copy(self)
        other.loss, other.y, other.kappa, other.zero_sum = (
            Squared(),
            torch.as_tensor(z),
            torch.ones_like(self.y),
            zero_sum,
        )
        return other

    def value(self, f: Float[Tensor, " n"]) -> float:
        """Σκℓ(f); of the best intercept, if z is to have no sum."""
        if self.zero_sum:
            return 0.5 * float(self.dual_point(f).square().sum())
        return float((self.kappa * self.loss.value(f, self.y)).sum())

    def dual_point(self, f: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """z = −κℓ'(f)."""
        z = -self.kappa * self.loss.gradient(f, self.y)
        return z - z.mean() if self.zero_sum else z

    def root(self, f: Float[Tensor, " n"]) -> Float[Tensor, "n n"]:
        """The symmetric root of what maps steps of f to those of −z."""
        if self.zero_sum:
            return torch.eye(self.n, dtype=f.dtype) - 1.0 / self.n
        return torch.diag((self.kappa * self.loss.curvature(f, self.y)).sqrt())

    def folded(self, G: Float[Tensor, "... ee"]) -> Float[Tensor, "... v"]:
        """From a gradient by all entries of Y to that by its coordinates."""
        return G[..., self.places[0]] + G[..., self.places[1]]

    def symmetric_folded(self, G: Float[Tensor, "... e e"]) -> Float[Tensor, "... v"]:
        """The same of matrices, ``folded`` with less to gather."""
        S = (G + G.mT).flatten(-2)
        found, on = S[..., self.places[0]], self.places[1] == 0
        found[..., on] = 0.5 * (found[..., on] + S[..., :1])
        return found

    def unfolded(self, v: Float[Tensor, "J v"]) -> Float[Tensor, "J e e"]:
        """The symmetric matrices of these coordinates."""
        Y = v.new_zeros(len(v), self.size**2)
        Y.index_add_(1, self.places[0], v).index_add_(1, self.places[1], v)
        return Y.view(-1, self.size, self.size)


@dataclass(frozen=True, eq=False)
class LeafStates:
    """J nodes.

    Attributes
    ----------
    data : what they share. ``sign`` : (J,) 1 or −1. ``count`` : (J,) of cuts.
    free, held, rising : (J, n) which samples have F, which P, which a matrix. ``active`` : (J, n) 1 where a cut, or a
        row like it, makes s_i = x_iᵀu, else 0.
    x : (J, n, e) the rows that P is made with. ``G`` : (J, k, e) the cuts, and rows of 0.
    on_s, on_p : (J, n, k) the products with cuts of F and P.
    Y, F : the moments. ``s``, ``p``, ``of_s``, ``of_p`` : slacks of the cones of F and P, and of their products with
        cuts; ``ds``, ``dp``, ``es``, ``ep`` : their dual variables, ``D``, ``D0`` : those of the matrices and of Y.
        ``D`` has the matrices in the order of ``of_rising`` alone.
    room : how far below 0 the products with cuts may be.
    """

    data: LeafData
    sign: Float[Tensor, " J"]
    count: Int[Tensor, " J"]
    free: Bool[Tensor, "J n"]
    held: Bool[Tensor, "J n"]
    rising: Bool[Tensor, "J n"]
    active: Float[Tensor, "J n"]
    x: Float[Tensor, "J n e"]
    G: Float[Tensor, "J k e"]
    on_s: Bool[Tensor, "J n k"]
    on_p: Bool[Tensor, "J n k"]
    Y: Float[Tensor, "J e e"]
    F: Float[Tensor, "J n e"]
    s: Float[Tensor, "J n e"]
    p: Float[Tensor, "J n e"]
    of_s: Float[Tensor, "J n k"]
    of_p: Float[Tensor, "J n k"]
    ds: Float[Tensor, "J n e"]
    dp: Float[Tensor, "J n e"]
    es: Float[Tensor, "J n k"]
    ep: Float[Tensor, "J n k"]
    D: Float[Tensor, "r c c"]
    D0: Float[Tensor, "J e e"]
    room: float

    @classmethod
    def start(
        cls,
        data: LeafData,
        nodes: Sequence[tuple[float, Path]],
        rising: Bool[np.ndarray, "J n"],
        strength: float,
    ) -> LeafStates:
        """Nodes (sign, path), neurons of all directions alike; ``strength`` : of all neurons together.

        ``rising`` : which samples have matrices where they are free.
        """
        where = _Geometry(data, nodes)
        free, held, x, e, tau = where.free, where.held, where.x, data.size, strength / len(nodes)
        d, there, matrices = e - 1, free[..., None], free & torch.as_tensor(rising)
        Y = torch.diag(torch.cat([x.new_ones(1), x.new_full((d,), 1.0 / d)]))
        F = data.rows / (2 * d)
        F[:, 0] = 0.4 / math.sqrt(d) if d > 1 else 0.55
        Y, F = (tau * Y).expand(len(nodes), e, e).clone(), tau * F * there
        mu, P = CENTRE * data.beta * tau / e, F - x @ Y
        s, p = (inside(part, 1e-2 * tau) for part in (F, P))
        of_s, of_p = ((part @ where.G.mT).clamp(min=0.1 * tau / d) for part in (F, P))
        state = cls(
            data, where.sign, where.count, free, held, matrices, where.active, x, where.G, where.on_s, where.on_p, Y, F,
            s, p, of_s, of_p, mu * inverse(s), mu * inverse(p), mu / of_s, mu / of_p,
            x.new_zeros(0, 1 + e, 1 + e), mu * torch.linalg.inv(Y), ROOM * tau,
        )  # fmt: skip
        return replace(state, D=mu * inverse_blocks(state)[0]).settled()

    def __len__(self) -> int:
        return len(self.sign)

    def settled(self) -> LeafStates:
        """With slacks and dual variables of one where there are no constraints."""
        one = self.Y.new_zeros(self.data.size)
        one[0] = 1.0
        free, held = self.free[..., None], self.held[..., None]
        kept: dict[str, Any] = {name: torch.where(free, getattr(self, name), one) for name in ("s", "ds")}
        kept |= {name: torch.where(held, getattr(self, name), one) for name in ("p", "dp")}
        kept |= {name: torch.where(self.on_s, getattr(self, name), 1.0) for name in ("of_s", "es")}
        kept |= {name: torch.where(self.on_p, getattr(self, name), 1.0) for name in ("of_p", "ep")}
        return replace(self, F=self.F * free, **kept)

    # -- what they are -------------------------------------------------------------------------------------------------

    @property
    def fit(self) -> Float[Tensor, " n"]:
        """f = Σ ± ‖x_i‖ E[s_i]."""
        on_cuts = self.active * (self.Y[:, 0] @ self.data.rows.T)
        return self.data.norms * (self.sign[:, None] * (self.F[..., 0] * self.free + on_cuts)).sum(0)

    @property
    def of_rising(self) -> tuple[Int[Tensor, " r"], Int[Tensor, " r"]]:
        """Nodes and samples of all matrices."""
        j, i = torch.nonzero(self.rising, as_tuple=True)
        return j, i

    def doubt(self, z: Float[Tensor, " n"]) -> Float[Tensor, "J n"]:
        """|z_i| times what is undecided of a free sample, min(E[s_i], E[s_i − x_iᵀu]) ≥ 0."""
        mean = self.Y[:, 0] @ self.data.rows.T
        low = torch.minimum(self.F[..., 0], self.F[..., 0] - mean).clamp(min=0)
        return self.data.norms * z.abs() * low * self.free


class _Geometry:
    """Who is free, held, active in the nodes' leaves, with which rows and cuts."""

    def __init__(self, data: LeafData, nodes: Sequence[tuple[float, Path]]) -> None:
        J, n, e, k = len(nodes), data.n, data.size, max(len(path) for _, path in nodes)
        self.sign = torch.tensor([sign for sign, _ in nodes], dtype=data.rows.dtype)
        self.count = torch.tensor([len(path) for _, path in nodes])
        self.free = (data.norms > 0).repeat(J, 1)
        self.held, self.active = self.free.clone(), torch.zeros(J, n, dtype=data.rows.dtype)
        self.x, self.G = data.rows.repeat(J, 1, 1), data.rows.new_zeros(J, k, e)
        place = torch.full((J, n), -1)
        for j, (_, path) in enumerate(nodes):
            for i, side in path:
                alike = data.alike[i]
                self.free[j, alike != 0] = self.held[j, alike != 0] = False
                self.active[j, alike == side] = 1.0
            for c, (i, side) in enumerate(path):
                self.held[j, i], place[j, i] = True, c
                self.x[j, i], self.G[j, c] = -side * data.rows[i], side * data.rows[i]
        there = torch.arange(k) < self.count[:, None]
        self.on_s = self.free[..., None] & there[:, None]
        self.on_p = torch.where(self.free[..., None], there[:, None], torch.arange(k) < place[..., None])


def inverse_blocks(state: LeafStates) -> tuple[Float[Tensor, "r c c"], Float[Tensor, " r"]]:
    """The inverses of the matrices [[Y, F_i], [·, x_iᵀf_i]] and their Schur complements x_iᵀf_i − F_iᵀY⁻¹F_i."""
    (j, i), e = state.of_rising, state.data.size
    return bordered(torch.linalg.inv(state.Y)[j], state.F[j, i], state.data.rows[i], e)
