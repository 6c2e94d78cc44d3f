r"""Multipliers of E[F_a F_b] ≥ 0 in the augmented Lagrangian, of the few pairs of forms that hold the moments back.

Of all products within cliques about one in a hundred has a multiplier that is not zero. Those are listed, with what
belongs to every form: products with the head and s_i (s_i − x_iᵀu) = 0. Over the list,

.. math:: Σ (λ'² − λ²)/2ρ,\quad λ' = (λ − ρ E[F_a F_b])_+,

where λ' is not cut off at zero for an equation. After every update all products are looked at: what is violated most
is listed, and what has no multiplier for a while leaves the list again.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

#: So many pairs a form join the list at a time, those that are violated most.
NEW = 4
#: Violations below this fraction of E[F_a²], on average, stay: where both forms are zero nothing holds them.
SMALL = 1e-4
#: Products of one block of a look at all of them.
BLOCK = 2**21


class PairProducts:
    """λ of pairs (a, b), a < b, of the rows of F (rows, k).

    Parameters
    ----------
    pairs, values : the pairs that stay in the list, and their λ. ``equations`` : which of them are equations.
    rows : how many forms there are.
    """

    def __init__(
        self, pairs: Int[Tensor, "2 m"], values: Float[Tensor, " m"], equations: Bool[Tensor, " m"], rows: int
    ) -> None:
        self.rows, self.kept, self.equations = rows, pairs.shape[1], equations
        self.pairs, self.values = pairs, values
        #: Whether a pair had no multiplier at the last look.
        self.idle = torch.zeros(0, dtype=torch.bool, device=pairs.device)
        self._listed()

    def _listed(self) -> None:
        """The pairs as the places of a sparse symmetric matrix, row after row."""
        forth, back = self.pairs.flatten(), self.pairs.flip(0).flatten()
        order = torch.argsort(forth * self.rows + back)
        counts = torch.bincount(forth, minlength=self.rows)
        self._starts = counts.cumsum(0) - counts
        self._columns, self._which = back[order], order % self.pairs.shape[1]
        #: −∞ where λ has no sign.
        self._least = torch.zeros_like(self.values)
        self._least[: self.kept][self.equations] = -torch.inf
        self._rows = [self.values.new_zeros(0), self.values.new_zeros(0)]

    @property
    def of_equations(self) -> Float[Tensor, " m"]:
        """λ of the equations."""
        return self.values[: self.kept][self.equations]

    @property
    def inequalities(self) -> tuple[Int[Tensor, "2 m"], Float[Tensor, " m"]]:
        """All other pairs and their λ."""
        which = torch.ones_like(self.values, dtype=torch.bool)
        which[: self.kept] = ~self.equations
        return self.pairs[:, which], self.values[which]

    @property
    def square(self) -> float:
        """Σ λ²."""
        return float(self.values @ self.values)

    def _moved(self, F: Float[Tensor, "r k"], penalty: float) -> Float[Tensor, " m"]:
        """λ'."""
        if self._rows[0].shape[1:] != F.shape[1:]:
            self._rows = [F.new_empty(self.pairs.shape[1], F.shape[1]) for _ in (0, 1)]
        first, second = (
            torch.index_select(F, 0, which, out=rows) for which, rows in zip(self.pairs, self._rows, strict=True)
        )
        moved = torch.addcmul(self.values, (first.mul_(second)).sum(1), self.values.new_tensor(-penalty))
        return torch.maximum(moved, self._least, out=moved)

    def lagrangian(self, F: Float[Tensor, "r k"], penalty: float) -> tuple[float, Float[Tensor, "r k"]]:
        """What is added to the Lagrangian, but for λ², and its gradient by F."""
        moved = self._moved(F, penalty)
        by_F = embedding_bag(self._columns, F, self._starts, mode="sum", per_sample_weights=-moved[self._which])
        return float(moved @ moved) / (2 * penalty), by_F

    def move(self, F: Float[Tensor, "r k"], penalty: float) -> None:
        """A step of the method of multipliers."""
        self.values = self._moved(F, penalty)

    def look(self, F: Float[Tensor, "r k"], groups: Int[Tensor, "G f"]) -> None:
        """List what is violated most among all products within ``groups`` of forms; drop what was idle twice."""
        new, sizes = self._violated(F, groups)
        most = NEW * self.rows
        if len(sizes) > most:
            new = new[:, torch.topk(sizes, most, largest=False).indices]
        idle = self.values[self.kept :] <= 0
        stays = ~idle
        stays[: len(self.idle)] |= ~self.idle
        pairs, values = self.pairs[:, self.kept :][:, stays], self.values[self.kept :][stays]
        self.idle = torch.cat([idle[stays], torch.zeros_like(new[0], dtype=torch.bool)])
        self.pairs = torch.cat([self.pairs[:, : self.kept], pairs, new], 1)
        self.values = torch.cat([self.values[: self.kept], values, torch.zeros_like(new[0], dtype=values.dtype)])
        self._listed()

    def _violated(
        self, F: Float[Tensor, "r k"], groups: Int[Tensor, "G f"]
    ) -> tuple[Int[Tensor, "2 m"], Float[Tensor, " m"]]:
        """Pairs with products below zero that are not in the list, and these products."""
        listed, least = self.pairs[0] * self.rows + self.pairs[1], -SMALL * float(F.square().sum()) / self.rows
        found = []
        for part in groups.split(max(1, BLOCK // groups.shape[1] ** 2)):
            products = F[part] @ F[part].mT
            g, a, b = torch.nonzero(products.triu_(1) < least, as_tuple=True)
            one, two = part[g, a], part[g, b]
            pairs = torch.stack([torch.minimum(one, two), torch.maximum(one, two)])
            new = ~torch.isin(pairs[0] * self.rows + pairs[1], listed)
            found.append((pairs[:, new], products[g, a, b][new]))
        return torch.cat([pairs for pairs, _ in found], 1), torch.cat([sizes for _, sizes in found])
