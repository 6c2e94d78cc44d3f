"""Section 10 of SPEC.md: trees of simplicial cones. Nothing as large as a tree's cones is ever made at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from .certificate import Certificate
from .numbers import UNDERFLOW, Array, finite, gamma, norm
from .refusal import require

LEAF = 255
MOST_RANK = 12
MOST_SUM = 2.0**53  # of a vertex: sums of whole numbers are exact below
BLOCK = 2**20  # entries of an array of samples and cones
NODES = 2**15  # nodes that are gone through at once, at most about twice as many
RUN = 2**12  # nodes of which the lowest height is kept
TIE = 2.0**-30
EXCHANGES = 8


def support_upper(c: Certificate, X: Array, z: Array) -> Fraction:
    """B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1."""
    basis, level = c.tensor("basis", None, X.shape[1]), c.tensor("level", 2)
    rank = len(basis)
    require(1 <= rank <= MOST_RANK, f"the basis has {rank} rows, not 1 to {MOST_RANK}")
    require((np.abs(basis) <= 1).all(), "an entry of the basis is above 1")
    require((level >= 0).all(), "a level is negative")
    A, stretch, off = coordinates(X, basis)
    worst = max(map(Fraction, level.tolist()))
    for side, (name, signed) in enumerate((("plus", z), ("minus", -z))):
        cones = Cones(A, signed)
        for vertices, cells in leaves(c.tensor(name, None), rank):
            worst = max(worst, Fraction(cones.worst(vertices, cells, float(level[side]))))
    return stretch * worst + Fraction(norm(z)) * off


def coordinates(X: Array, B: Array) -> tuple[Array, Fraction, Fraction]:
    """(A, ≥ ‖B‖, ≥ ‖X − AB‖_F) with A = XBᵀ as computed, whatever its error."""
    d, r = X.shape[1], len(B)
    A, size = finite(X @ B.T, "XB'"), Fraction(norm(B))
    gram = Fraction(norm(B @ B.T - np.eye(r))) + Fraction(gamma(d + 2)) * (size**2 + r) + Fraction(UNDERFLOW)
    missing = Fraction(norm(finite(X - A @ B, "X - AB")))
    terms = Fraction(norm(A)) * size + Fraction(norm(X))
    return A, 1 + gram, missing + Fraction(gamma(r + 2)) * terms + Fraction(UNDERFLOW)


class Cones:
    """Bounds of zᵀ(Ap)_+ on cones of whole-numbered vertices, for ‖p‖ ≤ 1."""

    def __init__(self, A: Array, z: Array) -> None:
        n, r = A.shape
        tops = np.abs(A).max(axis=1)
        self.up, self.z_up, self.down = A[z > 0], z[z > 0], A[z < 0]
        self.pull = finite(-z[z < 0, None] * self.down, "zA").T
        self.tie = TIE * float(tops.max())
        self.size = float(np.abs(z) @ tops) * (1 + gamma(n + 2))
        self.share = gamma(n + 2 * r + 32)
        self.root = math.sqrt(r) * (1 + gamma(4))
        require(math.isfinite(self.size), "overflow: the size of z and A is not finite")
        self.block = max(64, BLOCK // n)

    def worst(self, vertices: Array, cells: Array, level: float) -> float:
        """The largest bound of some cones (c, r), each at most ``level`` where any of its w is."""
        heights, most = np.empty(len(vertices)), 0.0
        for at in range(0, len(vertices), self.block):
            h = finite(self.up @ vertices[at : at + self.block].T, "Av")
            heights[at : at + self.block] = self.z_up @ np.maximum(h, 0.0)
        for at in range(0, len(cells), self.block):
            most = max(most, self.of(vertices, finite(heights, "z'(Av)_+"), cells[at : at + self.block], level))
        return most

    def of(self, vertices: Array, heights: Array, cells: Array, level: float) -> float:
        """The same for one block: first w along the middle of the cone, then of least norm."""
        V = np.ascontiguousarray(vertices[cells].transpose(1, 2, 0))  # [vertex, coordinate, cone]
        ones, unit = np.abs(V).sum(axis=1), V / np.sqrt((V * V).sum(axis=1))[:, None]
        middle = unit.sum(axis=0)
        theta = finite(self.down @ middle, "a'm") > self.tie
        c = finite(heights[cells].T - (V * (self.pull @ theta.astype(float))).sum(axis=1), "c")
        along = (V * middle).sum(axis=1)  # ≥ ‖v‖ > 0 but for rounding, as all vertices lie in one orthant
        bounds = self.proved(V, ones, c, middle * np.maximum(c / along, 0.0).max(axis=0))
        rest = ~(bounds <= level)
        if rest.any():
            length = ones[:, rest] / np.abs(unit[:, :, rest]).sum(axis=1)
            w = least_norm(unit[:, :, rest], c[:, rest] / length)
            bounds[rest] = np.minimum(bounds[rest], self.proved(V[:, :, rest], ones[:, rest], c[:, rest], w))
        return float(bounds.max(initial=0.0))

    def proved(self, V: Array, ones: Array, c: Array, w: Array) -> Array:
        """≥ ‖w‖ + ε√r with v_kᵀw ≥ c_k − ε|v_k|₁, for any w."""
        length = np.sqrt((finite(w, "w") ** 2).sum(axis=0)) * (1 + gamma(len(c) + 8)) + UNDERFLOW
        missing = finite(((c - (V * w).sum(axis=1)) / ones).max(axis=0), "c - Vw")
        off = np.maximum(missing, 0.0) + self.share * (self.size + length) + UNDERFLOW
        return finite((length + self.root * off) * (1 + gamma(8)), "the bound of a cone")


def least_norm(unit: Array, c: Array) -> Array:
    """w near the one of least norm with v_kᵀw ≥ c_k, v_k of norm 1: sets of active rows are exchanged as a whole."""
    gram = np.einsum("kec,lec->klc", unit, unit)
    on, lam, todo = np.ones(c.shape, dtype=bool), np.zeros(c.shape), np.arange(c.shape[1])
    for _ in range(EXCHANGES):
        G, right, now = gram[:, :, todo], c[:, todo], on[:, todo]
        found = solved(np.where(now[:, None] & now, G, 0.0), np.where(now, right, 0.0), now)
        short = right - np.einsum("klc,lc->kc", G, found)
        new = np.where(now, found > 0, short > 1e-12 * np.abs(right).max(axis=0))
        lam[:, todo], on[:, todo] = np.maximum(found, 0.0), new
        todo = todo[(new != now).any(axis=0)]
        if not len(todo):
            break
    return (unit * lam[:, None]).sum(axis=0)


def solved(G: Array, b: Array, on: Array) -> Array:
    """Gλ = b by elimination, many at once; rows that are off give 0, what is not finite becomes 0."""
    r = len(b)
    G[np.arange(r), np.arange(r)] = np.where(on, 1 + 1e-14, 1.0)
    for k in range(r - 1):
        factor = G[k + 1 :, k] / G[k, k]
        G[k + 1 :, k + 1 :] -= factor[:, None] * G[k, k + 1 :]
        b[k + 1 :] -= factor * b[k]
    for k in range(r - 1, -1, -1):
        b[k] = (b[k] - (G[k, k + 1 :] * b[k + 1 :]).sum(axis=0)) / G[k, k]
    return np.where(np.isfinite(b), b, 0.0)


# -- the trees ---------------------------------------------------------------------------------------------------------


def leaves(tree: Array, rank: int) -> Iterator[tuple[Array, Array]]:
    """The leaves of the 2^r trees, some subtrees at a time: vertices (m, r), and the r vertices of each cone (c, r)."""
    first, second = np.triu_indices(rank, 1)
    require(((tree < len(first)) | (tree == LEAF)).all(), "a tree has a byte that is neither an edge nor a leaf")
    ends, batch, count = Ends(tree), [], 0
    for at, stop, cell in subtrees(tree, rank, ends, first, second):
        batch.append((at, stop, cell))
        count += stop - at
        if count >= NODES:
            yield grown(tree, batch, first, second)
            batch, count = [], 0
    if batch:
        yield grown(tree, batch, first, second)


def subtrees(tree: Array, rank: int, ends: Ends, first: Array, second: Array) -> Iterator[tuple[int, int, Array]]:
    """(first node, node after the last, cone) of subtrees of at most NODES nodes, each node in one of them.

    Of two children the smaller one goes first: a chain of any depth leaves few cones waiting.
    """
    at = 0
    for orthant in range(2**rank):
        require(at < len(tree), f"there are fewer than {2**rank} trees")
        stop = ends.of(at) + 1
        stack = [(at, stop, np.diag([-1.0 if orthant >> k & 1 else 1.0 for k in range(rank)]))]
        while stack:
            node, end, cell = stack.pop()
            if end - node <= NODES:
                yield node, end, cell
                continue
            one, two = cell.copy(), cell.copy()
            i, j = first[tree[node]], second[tree[node]]
            one[i] = two[j] = cell[i] + cell[j]
            middle = ends.of(node + 1) + 1
            children = (node + 1, middle, one), (middle, end, two)
            stack += children if middle - node > end - middle else children[::-1]
        at = stop
    require(at == len(tree), f"there are more than {2**rank} trees")


def grown(tree: Array, batch: list[tuple[int, int, Array]], first: Array, second: Array) -> tuple[Array, Array]:
    """The leaves of some subtrees, level by level."""
    rank, nodes = len(batch[0][2]), np.concatenate([tree[at:stop] for at, stop, _ in batch])
    after, sizes = all_ends(nodes) + 1, np.array([stop - at for at, stop, _ in batch])
    here, cells, found = np.cumsum(sizes) - sizes, np.arange(len(batch) * rank).reshape(-1, rank), []
    count = cells.size
    vertices = np.empty((count + len(nodes), rank))
    vertices[:count] = np.concatenate([cell for _, _, cell in batch])
    while len(here):
        cut = nodes[here] != LEAF
        found.append(cells[~cut])
        here, cells, edge, rows = here[cut], cells[cut], nodes[here[cut]], np.arange(int(cut.sum()))
        i, j = first[edge], second[edge]
        vertices[count : count + len(rows)] = vertices[cells[rows, i]] + vertices[cells[rows, j]]
        one, two = cells.copy(), cells.copy()
        one[rows, i] = two[rows, j] = count + rows
        count += len(rows)
        here, cells = np.concatenate([here + 1, after[here + 1]]), np.concatenate([one, two])
    require((np.abs(vertices[:count]).sum(axis=1) < MOST_SUM).all(), "a vertex is 2^53 or larger")
    return vertices[:count], np.concatenate(found)


def all_ends(nodes: Array) -> Array:
    """The last node of the subtree of each node: where cuts less leaves first fall below what was before it."""
    span, place = len(nodes) + 1, np.arange(len(nodes))
    height = np.cumsum(np.where(nodes == LEAF, -1, 1))
    keys = np.sort((height + span) * span + place)
    before = np.concatenate([[0], height[:-1]])
    return keys[np.searchsorted(keys, (before - 1 + span) * span + place)] % span


class Ends:
    """Where a subtree of a long tree ends; of each run of nodes the lowest height is kept."""

    def __init__(self, tree: Array) -> None:
        require(0 < len(tree) < 2**31, "a tree is empty or has 2^31 nodes")
        steps = np.where(tree == LEAF, np.int8(-1), np.int8(1))
        self.height: Any = np.cumsum(steps, dtype=np.int32)
        self.lowest: Any = np.minimum.reduceat(self.height, np.arange(0, len(tree), RUN))

    def of(self, node: int) -> int:
        """The last node of its subtree."""
        goal = (int(self.height[node - 1]) if node else 0) - 1
        run = node // RUN
        inside = np.flatnonzero(self.height[node : (run + 1) * RUN] <= goal)
        if len(inside):
            return node + int(inside[0])
        later = np.flatnonzero(self.lowest[run + 1 :] <= goal)
        require(len(later) > 0, "a tree is cut off")
        start = (run + 1 + int(later[0])) * RUN
        return start + int(np.flatnonzero(self.height[start : start + RUN] <= goal)[0])
