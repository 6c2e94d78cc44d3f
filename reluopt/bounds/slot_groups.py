"""Where the forms of slots in groups stand: α (or none), every s, every s − Xu of one sign, then those of the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from reluopt.bounds.pair_products import PairProducts


@dataclass
class SlotGroups:
    """Groups of ``size`` of all ``slots``, of so many ``signs``; ``lead`` forms of the head come first."""

    signs: int
    lead: int
    slots: int
    size: int

    @property
    def number(self) -> int:
        """How many groups there are."""
        return self.slots // self.size

    @property
    def _each(self) -> int:
        """Forms of one sign."""
        return self.lead + 2 * self.slots

    def pairs(self, first: Float[Tensor, "q f h"], nu: Float[Tensor, "q N"]) -> PairProducts:
        """The products that every form has: with those of the head, and s_i (s_i − x_iᵀu) = 0."""
        begin = self._each * torch.arange(self.signs, device=nu.device)[:, None]
        every = self.lead + torch.arange(2 * self.slots, device=nu.device)
        own = torch.stack([(begin + part).flatten() for part in (every[: self.slots], every[self.slots :])])
        with_head = torch.stack([(begin + 0 * every).flatten(), (begin + every).flatten()])[:, : first.numel()]
        equations = torch.arange(first.numel() + nu.numel(), device=nu.device) >= first.numel()
        values = torch.cat([first.flatten(), -nu.flatten()])
        return PairProducts(torch.cat([with_head, own], 1), values, equations, self.signs * self._each)

    def gathered(self, of_forms: Shaped[Tensor, "q h ..."]) -> Shaped[Tensor, "q G f ..."]:
        """What belongs to every s and s − Xu, group after group."""
        q, _, *rest = of_forms.shape
        return of_forms.view(q, 2, self.number, self.size, *rest).transpose(1, 2).flatten(2, 3)

    def forms(self, device: torch.device) -> Int[Tensor, "G f"]:
        """The forms s and s − Xu of every group of every sign."""
        every = torch.arange(self.signs * self._each, device=device).view(self.signs, -1)
        return self.gathered(every[:, self.lead :]).flatten(0, 1)

    def matrices(self, pairs: PairProducts, sign: int) -> Float[Tensor, "G f f"]:
        """The multipliers of one sign that are not of equations: a symmetric matrix of every group's forms."""
        f, N, g = self.lead, self.slots, self.size
        found = pairs.values.new_zeros(self.number, f + 2 * g, f + 2 * g)
        (a, b), values = pairs.inequalities
        here = a // self._each == sign
        a, b = (side[here] % self._each - f for side in (a, b))
        i, j = (torch.where(side < 0, side + f, f + side // N * g + side % N % g) for side in (a, b))
        group = b % N // g
        found[group, i, j] = found[group, j, i] = values[here]
        return found
