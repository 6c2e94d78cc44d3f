r"""The multipliers of cliques as one vector, and the quadratic form that they make of (head, s).

On the core (t, u, s) the multipliers of a group give the form (``lifting.py``)

.. math:: ẑᵀs\,t − Σ ν_i s_i (s_i − x_iᵀu) + Σ_{a<b} r_{ab} F_a F_b = hᵀHh + 2 sᵀBh − sᵀAs,\quad h = (t, u),

with F = (t, s, p), p = s − Xu; with several outputs a takes the place of t, and F = (s, p). With ball products
(``ball.py``) every form F_i has F_i(κ_i − k_iᵀu), k_i = Vᵀω_i and κ_i a little above ‖ω_i‖, as V has orthonormal rows;
κ_i adds to the r of t. The tilt ω adds ω(t² − ‖u‖²).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from reluopt.bounds.lifting import Lifting, Products
from reluopt.bounds.slopes import tilt_signs

#: V (i, d), multipliers (κ, −ω) of the second-order cone (groups, h, 1 + i), and the tilt.
BallStart = tuple[Float[Tensor, "i d"], Float[Tensor, "groups h c"], float]
#: ε of κ = √(‖ω‖² + ε²), in units of the mean of ‖ω‖.
SOFT = 1e-4


class SparseRows:
    """A sparse matrix that multiplies rows of all groups; entry j has the value ``which[j]`` of some vector.

    Entries are summed where they have one place.
    """

    def __init__(self, which: Int[Tensor, " m"], row: Int[Tensor, " m"], column: Int[Tensor, " m"], rows: int) -> None:
        order = torch.argsort(row, stable=True)
        counts = torch.bincount(row, minlength=rows)
        self._starts, self._columns, self._which = counts.cumsum(0) - counts, column[order], which[order]
        self._values = torch.zeros(0)

    def of(self, values: Float[Tensor, " k"]) -> SparseRows:
        """With these values."""
        self._values = values[self._which]
        return self

    def __matmul__(self, X: Float[Tensor, "groups g d"]) -> Float[Tensor, "groups g d"]:
        """What it makes of the rows of X."""
        flat = X.reshape(-1, X.shape[2])
        made = embedding_bag(self._columns, flat, self._starts, mode="sum", per_sample_weights=self._values)
        return made.view(X.shape)


class CliqueForm:
    """Where what is in a vector of multipliers, and what they make; X (slots, d) has rows of norm one, or zero.

    A point is the r of t with every s and p of each group (with one output), ν, what ball products need, μ where the
    last entry of u is a free bias (``spread`` is its start), and the r of the searched pairs: those with positive
    entries in ``products`` (groups, f + 2g, f + 2g), f = 1 or 0, and what
    ``search`` adds. ``z`` : ẑ (slots, C), z times the norms of the rows.
    """

    def __init__(
        self,
        X: Float[Tensor, "slots d"],
        z: Float[Tensor, "slots C"],
        products: Float[Tensor, "groups f f"],
        ball: BallStart | None,
        spread: float | None = None,
    ) -> None:
        (N, d), self.groups, self.forms, C = X.shape, products.shape[0], products.shape[1], z.shape[1]
        self.g = N // self.groups
        F = torch.eye(self.forms - 2 * self.g, C + d, dtype=X.dtype, device=X.device)
        self.lifting, self.z = Lifting(X.view(self.groups, self.g, d), F), z.view(self.groups, self.g, C)
        #: V, and the start of what ball products and tilt have in a point: ω of every form, and the tilt.
        self.span, self.of_ball, self.least_norm = X.new_zeros(0, d), X.new_zeros(0), 0.0
        #: The forms that have ball products, among the s and s − Xu of all groups.
        self.with_ball = torch.zeros(0, dtype=torch.long, device=X.device)
        if ball is not None:
            self.span, cones, tilt = ball
            omega = -cones[..., 1:].flatten(0, 1)
            self.with_ball = torch.nonzero(omega.any(1))[:, 0]
            own = omega[self.with_ball]
            self.of_ball = torch.cat([own.reshape(-1), X.new_tensor([tilt])])
            self.least_norm = SOFT * float(own.norm(dim=-1).mean()) if len(own) else 0.0
        self.biased, self.of_spread = spread is not None, X.new_tensor([] if spread is None else [spread])
        #: Where the r of t, ν, ω and tilt, μ, and the r of pairs are in a point.
        ends = np.cumsum([0, len(F) * 2 * N, N, len(self.of_ball), len(self.of_spread)])
        self.on_first, self.on_nu, self.on_ball, self.on_spread = (slice(a, b) for a, b in pairwise(ends.tolist()))
        self.on_pairs = slice(int(ends[-1]), None)
        searched = torch.triu(products, 1) > 0
        searched[:, : len(F)] = False
        self.pairs = torch.zeros(3, 0, dtype=torch.long, device=X.device)
        self.search(torch.stack(torch.nonzero(searched, as_tuple=True)))

    def point(
        self, r: Float[Tensor, "groups f f"], nu: Float[Tensor, " slots"], own: Float[Tensor, " b"]
    ) -> Float[np.ndarray, " q"]:
        """The vector of these; ``own`` is what ball products and tilt have in it."""
        f = len(self.lifting.F)
        parts = [r[:, :f, f:].reshape(-1), nu.clamp(min=0), own, self.of_spread, r[tuple(self.pairs)]]
        return torch.cat(parts).cpu().numpy()

    def search(self, new: Int[Tensor, "3 k"]) -> None:
        """Add (group, i, j), i < j, to the searched pairs; their places among products of two samples, flat."""
        self.pairs = torch.cat([self.pairs, new], 1)
        group, i, j = self.pairs
        g, f = self.g, len(self.lifting.F)
        of_p, row, column = (i >= f + g, j >= f + g), (i - f) % g, (j - f) % g
        forth, back = (group * g + row) * g + column, (group * g + column) * g + row
        both = of_p[0] & of_p[1]
        #: For the products of (s + p, s + p), (s + p, p), (p, p): which pairs, and where in a (groups, g, g) matrix.
        every, rows = torch.arange(len(group), device=i.device), self.groups * g
        all_places, with_p, only_p = (
            (torch.cat([every[one], every[two]]), torch.cat([forth[one], back[two]]))
            for one, two in ((every, every), (of_p[1], of_p[0]), (both, both))
        )
        self.places = all_places
        self.with_p, self.only_p = (
            SparseRows(which, place // g, place // g**2 * g + place % g, rows) for which, place in (with_p, only_p)
        )

    def products(self, point: Float[np.ndarray, " q"]) -> Float[Tensor, "groups f f"]:
        """r as symmetric matrices R with FᵀRF = Σ_{a<b} r_ab F_a F_b."""
        at, f = torch.as_tensor(point, device=self.z.device), len(self.lifting.F)
        R = at.new_zeros(self.groups, self.forms, self.forms)
        R[:, :f, f:] = 0.5 * self._of_head(at)
        R[tuple(self.pairs)] = 0.5 * at[self.on_pairs]
        return R + R.mT

    def _of_head(self, at: Float[Tensor, " q"]) -> Float[Tensor, "groups f h"]:
        """r of t with every s and p, with what ball products ask for."""
        own = at[self.on_first]
        if len(self.span):
            own = own.index_add(0, self.with_ball, self._kappa(self._own_omega(at)))
        return own.view(self.groups, len(self.lifting.F), 2 * self.g)

    def _kappa(self, omega: Float[Tensor, "m i"]) -> Float[Tensor, " m"]:
        """κ = √(‖ω‖² + ε²): smooth, and above ‖k‖; with a bias √(‖ω_u‖² + ε²) + √(ω_b² + ε²)."""
        return sum(
            ((part.square().sum(-1) + self.least_norm**2).sqrt() for part in self._parts(omega)), 0 * omega[..., 0]
        )

    def _parts(self, omega: Float[Tensor, "... i"]) -> list[Tensor]:
        """What of ω makes k_u, and what makes k_b."""
        return [omega[..., :-1], omega[..., -1:]] if self.biased else [omega]

    def _own_omega(self, at: Float[Tensor, " q"]) -> Float[Tensor, "m i"]:
        """ω of the forms that have ball products."""
        return at[self.on_ball][:-1].view(len(self.with_ball), len(self.span))

    def omega(self, at: Float[Tensor, " q"]) -> Float[Tensor, "groups h i"]:
        """ω of all forms but t."""
        return self._of_all(self._own_omega(at))

    def _of_all(self, own: Float[Tensor, "m c"]) -> Float[Tensor, "groups h c"]:
        """What belongs to the forms that have ball products, and 0 of those that have none."""
        found = own.new_zeros(self.groups * 2 * self.g, own.shape[1])
        found[self.with_ball] = own
        return found.view(self.groups, 2 * self.g, -1)

    def blocks(self, point: Float[np.ndarray, " q"]) -> tuple[Tensor, Tensor, Tensor]:
        """H (e, e), summed over the groups, B (groups, g, e) and A (groups, g, g)."""
        groups, g, f = self.groups, self.g, len(self.lifting.F)
        at = torch.as_tensor(point, device=self.z.device)
        of_s, of_p = (0.5 * self._of_head(at)).view(groups, f, 2, g).unbind(2)
        r, nu = 0.5 * at[self.on_pairs], at[self.on_nu].view(groups, g)
        which, places = self.places
        both = r.new_zeros(groups * g * g).index_add_(0, places, r[which]).view(groups, g, g)
        summed = Products(r.new_zeros(f, f), of_s, of_p, both, self.with_p.of(r), self.only_p.of(r))
        if not len(self.span):
            return self.lifting.blocks(self.z, nu, summed)
        k = torch.nn.functional.pad(self._of_all(self._own_omega(at) @ self.span), (0, 0, 1, 0))
        H, B, A = self.lifting.blocks(self.z, nu, summed, k)
        H += at[self.on_ball][-1] * self._tilted(len(H), at)
        return H, B, A

    def _tilted(self, size: int, like: Tensor) -> Float[Tensor, "e e"]:
        """diag(1, −I), 0 where a bias is."""
        return torch.diag(like.new_tensor(tilt_signs(size, biased=self.biased).tolist()))

    def gradient(
        self, point: Float[np.ndarray, " q"], F: Float[Tensor, "G f k"], head: Float[Tensor, "e k"]
    ) -> Float[np.ndarray, " q"]:
        """The gradient at a point of Σ hᵀHh + 2sᵀBh − sᵀAs over the columns h of ``head``, s of their forms F."""
        (group, i, j), f = self.pairs, len(self.lifting.F)
        by_first = (F[:, :f, None] * F[:, None, f:]).sum(3).reshape(-1)
        by_r = (F[group, i] * F[group, j]).sum(1)
        by_nu = -(F[:, self.lifting.s] * F[:, self.lifting.p]).sum(2).reshape(-1)
        by_ball = self._by_ball(torch.as_tensor(point, device=F.device), F, head, by_first)
        outputs = self.lifting.outputs
        by_spread = (head[outputs:-1].square().sum() - head[-1].square().sum())[None][: len(self.of_spread)]
        return torch.cat([by_first, by_nu, by_ball, by_spread, by_r]).cpu().numpy()

    def _by_ball(self, at: Tensor, F: Tensor, head: Tensor, by_first: Tensor) -> Tensor:
        """The gradient by ω and the tilt."""
        if not len(self.span):
            return F.new_zeros(0)
        omega = self._own_omega(at)
        sizes = ((part.square().sum(-1, keepdim=True) + self.least_norm**2).sqrt() for part in self._parts(omega))
        units = [part / size.clamp(min=1e-300) for part, size in zip(self._parts(omega), sizes, strict=True)]
        along = torch.cat(units, -1) * by_first[self.with_ball, None]
        by_omega = along - F[:, 1:].flatten(0, 1)[self.with_ball] @ (self.span @ head[1:]).T
        by_tilt = head[0].square().sum() - head[1 : len(head) - self.biased].square().sum()
        return torch.cat([by_omega.reshape(-1), by_tilt[None]])
