"""The growing trees of simplicial branch and bound: cones above a level are cut, all of them at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

from reluopt.bounds.preorder import LEAF, edges, orthants
from reluopt.bounds.simplices import Cones
from reluopt.clock import Clock

#: Whole numbers above this are not added any more.
LARGEST = 2**30
#: What an edge counts beside the product of its ends' shares of the maximiser.
EVERYWHERE = 0.05
#: Maximisers of bounds that are looked at before every round of cuts.
SOME = 32


class Growing:
    """An array that grows at its end."""

    def __init__(self, values: np.ndarray) -> None:
        self.all, self.count = values.copy(), len(values)

    def add(self, values: np.ndarray) -> None:
        """Put more rows at the end."""
        need = self.count + len(values)
        if need > len(self.all):
            grown = np.empty((max(need, 2 * len(self.all)), *self.all.shape[1:]), dtype=self.all.dtype)
            grown[: self.count] = self.all[: self.count]
            self.all = grown
        self.all[self.count : need] = values
        self.count = need

    @property
    def now(self) -> np.ndarray:
        """The rows there are."""
        return self.all[: self.count]


class SimplicialTree:
    """The tree of one sign: leaves with their cones and bounds, and every cut so far."""

    def __init__(self, cones: Cones) -> None:
        r = cones.r
        K, roots = orthants(r)
        self.cones, (self.first, self.second) = cones, edges(r)
        self.K, self.heights = Growing(K), Growing(cones.heights(K))
        self.cells, self.node = Growing(roots), Growing(np.arange(len(roots), dtype=np.int32))
        self.bounds = Growing(np.full(len(roots), np.inf))
        #: the edge to cut, LEAF where it is not known yet
        self.edge = Growing(np.full(len(roots), LEAF, dtype=np.uint8))
        self.tree = Growing(np.full(len(roots), LEAF, dtype=np.uint8))
        self.cuts: list[tuple[np.ndarray, int]] = []
        #: (k, r) directions at which z itself exceeds the level that was asked for
        self.dearer = np.zeros((0, r))
        for at in cones.blocks(len(roots)):
            self._bound(np.arange(len(roots))[at], 0.0)

    def moved(self, cones: Cones) -> SimplicialTree:
        """The same tree at another dual point of the same data."""
        self.cones, self.heights = cones, Growing(cones.heights(self.K.now))
        level = self.level
        self.bounds.now[:], self.edge.now[:] = np.inf, LEAF
        for at in cones.blocks(self.leaves):
            self._bound(np.arange(self.leaves)[at], level)
        return self

    @property
    def level(self) -> float:
        """What is proved of all leaves."""
        return float(self.bounds.now.max())

    @property
    def leaves(self) -> int:
        """How many."""
        return self.bounds.count

    def refine(self, level: float, clock: Clock, most: int) -> bool:
        """Cut until every leaf is at most ``level``; False where clock, ``most`` leaves or whole numbers end it.

        Also False where some direction itself is above the level: then ``dearer`` has it.
        """
        while True:
            above = np.flatnonzero(self.bounds.now > level)
            if not len(above):
                return True
            worst = self.worst(SOME)
            self.dearer = worst[self.cones.values(worst) > level]
            if len(self.dearer):
                return False
            for at in self.cones.blocks(len(above)):
                if clock.over or self.leaves >= most or not self._cut(above[at], level):
                    return False

    def worst(self, count: int) -> Float[np.ndarray, "k r"]:
        """Maximisers (unit rows) of the bounds of the worst leaves: where a neuron dearer than β would be."""
        order = np.argsort(-self.bounds.now, kind="stable")[:count]
        _, lam, unit = self.cones.bounds(self.K.now, self.heights.now, self.cells.now[order], 0.0)
        found = (unit * lam[:, None]).sum(axis=0).T
        return found[found.any(axis=1)] / np.linalg.norm(found[found.any(axis=1)], axis=1, keepdims=True)

    def preorder(self) -> UInt8[np.ndarray, " nodes"]:
        """The trees as bytes in preorder."""
        nodes = self.tree.now
        size = np.ones(len(nodes), dtype=np.int32)
        for parents, start in reversed(self.cuts):
            both = size[start : start + 2 * len(parents)].reshape(-1, 2)
            size[parents] += both[:, 0] + both[:, 1]
        place = np.zeros(len(nodes), dtype=np.int32)
        roots = 2**self.cones.r
        place[:roots] = np.cumsum(size[:roots]) - size[:roots]
        for parents, start in self.cuts:
            place[start : start + 2 * len(parents) : 2] = place[parents] + 1
            place[start + 1 : start + 2 * len(parents) : 2] = (
                place[parents] + 1 + size[start : start + 2 * len(parents) : 2]
            )
        found = np.empty_like(nodes)
        found[place] = nodes
        return found

    def _bound(self, leaves: Int[np.ndarray, " c"], level: float) -> None:
        """Bound some leaves, and choose the edge to cut of those above the level."""
        found, lam, unit = self.cones.bounds(self.K.now, self.heights.now, self.cells.now[leaves], level)
        self.bounds.now[leaves] = found  # its own: a checker does not know its parent's
        open_ = np.flatnonzero(found > level)
        if len(open_) and len(self.first):
            share, unit = lam[:, open_] / lam[:, open_].sum(axis=0).clip(1e-300), unit[:, :, open_]
            i, j = self.first, self.second
            width = 1.0 - (unit[i] * unit[j]).sum(axis=1)
            self.edge.now[leaves[open_]] = (width * (share[i] * share[j] + EVERYWHERE)).argmax(axis=0)

    def _cut(self, leaves: Int[np.ndarray, " c"], level: float) -> bool:
        """Cut leaves at their edges; those that were not bounded as well as can be are bounded first."""
        unknown = leaves[self.edge.now[leaves] == LEAF]
        if len(unknown):
            self._bound(unknown, level)
            leaves = leaves[self.bounds.now[leaves] > level]
        edge = self.edge.now[leaves]
        if not len(leaves):
            return True
        if (edge == LEAF).any():
            return False  # one dimension: there is nothing to cut
        rows, cells = np.arange(len(leaves)), self.cells.now[leaves]
        a, b = cells[rows, self.first[edge]], cells[rows, self.second[edge]]
        new = self.K.now[a] + self.K.now[b]
        if np.abs(new).max() > LARGEST:
            return False
        one, two = cells.copy(), cells.copy()
        one[rows, self.first[edge]] = two[rows, self.second[edge]] = self.K.count + rows
        self.K.add(new)
        self.heights.add(self.cones.heights(new))
        nodes, start = self.node.now[leaves].copy(), self.tree.count
        self.tree.now[nodes] = edge
        self.tree.add(np.full(2 * len(leaves), LEAF, dtype=np.uint8))
        self.cuts.append((nodes, start))
        self._replace(leaves, one, two, start)
        for part in (leaves, np.arange(self.leaves - len(leaves), self.leaves)):
            self._bound(part, level)
        return True

    def _replace(
        self, leaves: Int[np.ndarray, " c"], one: Int[np.ndarray, "c r"], two: Int[np.ndarray, "c r"], start: int
    ) -> None:
        """The first children in the place of their parents, the second ones at the end; both inherit the bound."""
        numbers = np.arange(start, start + 2 * len(leaves), dtype=np.int32)
        self.cells.now[leaves], self.node.now[leaves], self.edge.now[leaves] = one, numbers[::2], LEAF
        self.cells.add(two)
        self.node.add(numbers[1::2])
        self.edge.add(np.full(len(leaves), LEAF, dtype=np.uint8))
        self.bounds.add(self.bounds.now[leaves])
