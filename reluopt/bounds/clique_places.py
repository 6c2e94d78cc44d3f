"""From slots to samples: multipliers of rows of norm one at slots of cliques become those of the rows as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from reluopt.bounds.ball import SAFETY
from reluopt.bounds.schur import Elimination


@dataclass(frozen=True, eq=False)
class CliquePlaces:
    """The sample of every slot, clique after clique; −1 where there is none.

    Attributes
    ----------
    slots, norms : (N,) samples, and the norms of their rows, by which the search divided.
    size : how many slots a clique has.
    """

    slots: Int[np.ndarray, " N"]
    norms: Float[np.ndarray, " N"]
    size: int

    @property
    def samples(self) -> Int[np.ndarray, " m"]:
        """Those at the slots that are not empty, in the order of the slots."""
        return self.slots[self.slots >= 0]

    @property
    def groups(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """The samples of every clique, in rising order."""
        return tuple(np.sort(slots[slots >= 0]) for slots in self.slots.reshape(-1, self.size))

    def _kept(self) -> Iterator[tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]]:
        """Of every clique the places of its samples in rising order, and the norms of their rows."""
        for slots, norms in zip(self.slots.reshape(-1, self.size), self.norms.reshape(-1, self.size), strict=True):
            there = np.flatnonzero(slots >= 0)
            kept = there[np.argsort(slots[there])]
            yield kept, norms[kept]

    def nu(self, side: Elimination) -> Float[np.ndarray, " m"]:
        """ν of ``samples``."""
        here = self.slots >= 0
        return side.best[side.on_nu][here] / self.norms[here] ** 2

    def products(self, side: Elimination) -> tuple[Float[np.ndarray, "_ _"], ...]:
        """r of every clique."""
        g, found = self.size, []
        f = side.forms - 2 * g
        for r, (kept, norms) in zip(side.products(side.best).cpu().numpy(), self._kept(), strict=True):
            scale = 1 / np.concatenate([np.ones(f), norms, norms])
            own = np.concatenate([np.arange(f), f + kept, f + g + kept])
            found.append(scale[:, None] * r[np.ix_(own, own)] * scale)
        return tuple(found)

    def omega(self, side: Elimination) -> tuple[Float[np.ndarray, "_ i"], ...]:
        """ω of the forms of every clique, t first, a little smaller."""
        found = []
        all_omega = side.omega(torch.as_tensor(side.best, device=side.z.device)).cpu().numpy()
        for omega, (kept, norms) in zip(all_omega, self._kept(), strict=True):
            scale = (1 - SAFETY) / np.concatenate([norms, norms])
            own = scale[:, None] * omega[np.concatenate([kept, self.size + kept])]
            found.append(np.vstack([np.zeros((1, own.shape[1])), own]))
        return tuple(found)
