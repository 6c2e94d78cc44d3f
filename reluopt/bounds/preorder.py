"""Trees of simplicial cones as bytes in preorder: their leaves, some subtrees at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8

#: The byte of a leaf in a tree; every other byte is an edge.
LEAF = 255
#: 2^r orthants are the roots, and r(r − 1)/2 edges have to be less than LEAF.
MOST_RANK = 12
#: Nodes that are replayed together.
NODES = 2**15


def edges(r: int) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """(i, j) of the edges in their order: (0, 1), (0, 2), …, (1, 2), …"""
    return np.triu_indices(r, 1)


def orthants(r: int) -> tuple[Float[np.ndarray, "k r"], Int[np.ndarray, "c r"]]:
    """The vertices e_k (row k) and −e_k (row r + k), and the roots: orthant o has −e_k where bit k of o is set."""
    signs = (np.arange(2**r)[:, None] >> np.arange(r)) & 1
    return np.vstack([np.eye(r), 0.0 - np.eye(r)]), (np.arange(r) + r * signs).astype(np.int32)


def replayed(
    tree: UInt8[np.ndarray, " nodes"], r: int, most: int = NODES
) -> Iterator[tuple[Float[np.ndarray, "m r"], Int[np.ndarray, "c r"]]]:
    """The leaves of a tree, some subtrees at a time: vertices (m, r), and the r vertices of each leaf (c, r).

    Raises
    ------
    ValueError : bytes that are not 2^r trees.
    """
    first, second = edges(r)
    if not (len(tree) and 0 < r <= MOST_RANK and ((tree < len(first)) | (tree == LEAF)).all()):
        raise ValueError("bytes that are neither edges nor leaves")
    ends = Ends(tree)
    K, roots = orthants(r)
    stack, at = [], 0
    for cell in K[roots]:
        if at >= len(tree):
            break
        stack.append((at, cell))
        at = ends.of(at) + 1
    if at != len(tree) or len(stack) != len(roots):
        raise ValueError(f"the bytes are not {2**r} trees")
    stack.reverse()
    batch: list[tuple[int, int, np.ndarray]] = []
    while stack:
        at, cell = stack.pop()
        stop = ends.of(at) + 1
        if stop - at > most:
            i, j = first[tree[at]], second[tree[at]]
            one, two = cell.copy(), cell.copy()
            one[i] = two[j] = cell[i] + cell[j]
            stack += [(ends.of(at + 1) + 1, two), (at + 1, one)]
            continue
        batch.append((at, stop, cell))
        if sum(b - a for a, b, _ in batch) >= most:
            yield _grown(tree, batch, first, second)
            batch = []
    if batch:
        yield _grown(tree, batch, first, second)


def _grown(
    tree: UInt8[np.ndarray, " nodes"],
    batch: list[tuple[int, int, np.ndarray]],
    first: Int[np.ndarray, " e"],
    second: Int[np.ndarray, " e"],
) -> tuple[Float[np.ndarray, "m r"], Int[np.ndarray, "c r"]]:
    """The leaves of some subtrees [at, stop) with their cones, all grown at once."""
    r = len(batch[0][2])
    nodes = np.concatenate([tree[at:stop] for at, stop, _ in batch])
    sizes = np.array([stop - at for at, stop, _ in batch])
    ends = all_ends(nodes)
    here, cells = np.cumsum(sizes) - sizes, np.arange(len(batch) * r).reshape(-1, r)
    vertices, count, leaves = [np.concatenate([cell for _, _, cell in batch])], len(batch) * r, []
    K = np.empty((count + len(nodes), r))
    K[:count] = vertices[0]
    while len(here):
        edge = nodes[here]
        leaves.append(cells[edge == LEAF])
        here, cells, edge = here[edge != LEAF], cells[edge != LEAF], edge[edge != LEAF]
        rows, i, j = np.arange(len(here)), first[edge], second[edge]
        K[count : count + len(here)] = K[cells[rows, i]] + K[cells[rows, j]]
        one, two = cells.copy(), cells.copy()
        one[rows, i] = two[rows, j] = count + rows
        count += len(here)
        here, cells = np.concatenate([here + 1, ends[here + 1] + 1]), np.concatenate([one, two])
    if np.abs(K[:count]).sum(axis=1).max() >= 2.0**53:
        raise ValueError("a vertex is too large")
    return K[:count], np.concatenate(leaves)


def all_ends(nodes: UInt8[np.ndarray, " nodes"]) -> Int[np.ndarray, " nodes"]:
    """Where the subtree of each node ends: the first place at which cuts minus leaves fall below what was before it."""
    heights = np.cumsum(np.where(nodes == LEAF, -1, 1))
    span = len(nodes) + 1
    keys = (heights + span) * span + np.arange(len(nodes))
    before = np.concatenate([[0], heights[:-1]])
    order = np.sort(keys)
    return order[np.searchsorted(order, (before - 1 + span) * span + np.arange(len(nodes)))] % span


class Ends:
    """Where subtrees of a long tree end, one at a time: the lowest height of each run of nodes is kept."""

    RUN = 4096

    def __init__(self, tree: UInt8[np.ndarray, " nodes"]) -> None:
        self.heights = np.cumsum(np.where(tree == LEAF, np.int8(-1), np.int8(1)), dtype=np.int32)
        starts = np.arange(0, len(tree), self.RUN)
        self.lowest = np.minimum.reduceat(self.heights, starts) if len(tree) else np.zeros(0, np.int32)

    def of(self, at: int) -> int:
        """The last node of the subtree of ``at``.

        Raises
        ------
        ValueError : the bytes end before.
        """
        goal = (int(self.heights[at - 1]) if at else 0) - 1
        run = at // self.RUN
        place = self._in(at, (run + 1) * self.RUN, goal)
        if place is None:
            later = np.flatnonzero(self.lowest[run + 1 :] <= goal)
            if not len(later):
                raise ValueError("a tree is cut off")
            run += 1 + int(later[0])
            place = self._in(run * self.RUN, (run + 1) * self.RUN, goal)
        assert place is not None
        return place

    def _in(self, start: int, stop: int, goal: int) -> int | None:
        hits = np.flatnonzero(self.heights[start:stop] <= goal)
        return start + int(hits[0]) if len(hits) else None
