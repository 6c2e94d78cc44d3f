"""Where the pseudo-inverses of many faces are kept: of cones that have a face, as large as it is, as far as room is."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: Numbers that are simply allocated for all cones at once (256 MiB in float64).
DENSE = 1 << 25
#: Numbers that are held at most (512 MiB in float64); what is beyond is let go, and found again from its rows.
MOST = 1 << 26
#: Slots of the smallest face.
LEAST = 8


class FaceStore:
    """B (r, d) of each of m cones, zero until it is put; r is the largest number of slots.

    Faces are kept in shelves of 8, 16, 32, ... slots, so that m·r·d numbers are never held for faces that are small or
    empty. Where that product is moderate, one shelf of r slots holds them all. No shelf grows past ``MOST`` numbers of
    all: what finds no place is let go, and ``missing`` says so.
    """

    def __init__(self, m: int, r: int, d: int, like: Tensor) -> None:
        self.r, self.d, self.like, self.most = r, d, like, MOST
        self.size = torch.zeros(m, dtype=torch.int64, device=like.device)
        self.place = torch.zeros_like(self.size)
        self.missing = torch.zeros(m, dtype=torch.bool, device=like.device)
        self.shelves: dict[int, Tensor] = {}
        self.free: dict[int, list[int]] = {}
        self.dense = m * r * d <= min(DENSE, MOST)
        if self.dense:
            self.shelves[r] = like.new_zeros(m, r, d)
            self.size += r
            self.place += torch.arange(m, device=like.device)

    @property
    def numbers(self) -> int:
        """How many numbers are held."""
        return sum(shelf.numel() for shelf in self.shelves.values())

    def take(self, cones: Int[Tensor, " c"]) -> Float[Tensor, "c r d"]:
        """A copy of some; zero where they are ``missing``."""
        if self.dense:
            return self.shelves[self.r][cones]
        out, size = self.like.new_zeros(len(cones), self.r, self.d), self.size[cones]
        for slots, shelf in self.shelves.items():
            on = size == slots
            out[on, :slots] = shelf[self.place[cones[on]]]
        return out

    def put(self, cones: Int[Tensor, " c"], B: Float[Tensor, "c r d"], used: Int[Tensor, " c"]) -> None:
        """Keep these; ``used`` (c,) slots of each are not zero."""
        if self.dense:
            self.shelves[self.r][cones] = B
            return
        slots, wanted = LEAST, torch.full_like(used, self.r)
        while slots < self.r:
            wanted = torch.where((used <= slots) & (wanted == self.r), slots, wanted)
            slots *= 2
        self._move(cones, torch.maximum(wanted, self.size[cones]))
        size = self.size[cones]
        for slots in size[~self.missing[cones]].unique().tolist():
            on = size == slots
            self.shelves[slots][self.place[cones[on]]] = B[on, :slots]

    def _move(self, cones: Tensor, wanted: Tensor) -> None:
        """Give every cone a place on a shelf that is large enough; shelves that nobody uses any more go."""
        small = wanted > self.size[cones]
        for cone, old in zip(cones[small].tolist(), self.size[cones[small]].tolist(), strict=True):
            if old:
                self.free[old].append(int(self.place[cone]))
        self.size[cones[small]], self.missing[cones[small]] = 0, True
        for slots in wanted[small].unique().tolist():
            here = cones[small & (wanted == slots)][: self._room(slots)]
            if len(here) == 0:
                continue
            places = torch.tensor(self._places(slots, len(here)), dtype=torch.int64, device=here.device)
            self.size[here], self.place[here], self.missing[here] = slots, places, False
        for slots in [slots for slots, free in self.free.items() if len(free) == len(self.shelves[slots])]:
            del self.shelves[slots], self.free[slots]

    def _room(self, slots: int) -> int:
        """How many more faces of these slots can be held."""
        return len(self.free.get(slots, [])) + max(0, self.most - self.numbers) // (slots * self.d)

    def _places(self, slots: int, count: int) -> list[int]:
        """So many places on the shelf of these slots, which grows where it is full."""
        free, shelf = self.free.setdefault(slots, []), self.shelves.get(slots)
        if len(free) < count:
            before = 0 if shelf is None else len(shelf)
            more = count - len(free)
            spare = min(before // 4, self._room(slots) - len(free) - more)
            grown = self.like.new_zeros(before + more + spare, slots, self.d)
            if shelf is not None:
                grown[:before] = shelf
            self.shelves[slots] = grown
            free.extend(range(before, len(grown)))
        self.free[slots] = free[count:]
        return free[:count]


class UnitRows:
    """The rows of X (n, d) as unit vectors (zero rows stay), made once for all the cones that share them."""

    def __init__(self, X: Float[Tensor, "n d"]) -> None:
        norms = X.norm(dim=1)
        self.scale = norms.where(norms > 0, torch.ones_like(norms))
        self.unit = X / self.scale[:, None]
