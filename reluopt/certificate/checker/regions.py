"""Section 5 of SPEC.md: the regions that cover all u, one leaf at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .numbers import Array
from .refusal import require

SIGNS = -2  # in the place of a cut: one child is for z, the other one for −z


@dataclass(frozen=True)
class Tree:
    """One binary tree: of every node its cut, its parent, the side it lies on; of every leaf its node, depth and sign.

    The sign is 1 or −1 below a row of signs, else 0: both.
    """

    cut: Array
    parent: Array
    side: Array
    leaves: Array
    depth: Array
    sign: Array

    @property
    def signs(self) -> int:
        """How many signs a leaf is for."""
        return 1 if self.cut[0] == SIGNS else 2

    def path(self, leaf: int) -> tuple[list[int], list[float]]:
        """The directions that are cut by on the way from the root to a leaf, and their signs σ."""
        node, cuts, signs = int(self.leaves[leaf]), [], []
        for _ in range(int(self.depth[leaf])):
            cuts.append(int(self.cut[self.parent[node]]))
            signs.append(float(self.side[node]))
            node = int(self.parent[node])
        require(len(set(cuts)) == len(cuts), f"leaf {leaf} is cut twice by one direction")
        return cuts[::-1], signs[::-1]


def read_tree(table: Array, directions: int) -> Tree:
    """The tree of a table with rows (k, i, j); refuses one that is not one binary tree over all of its rows."""
    nodes, count = len(table), (len(table) + 1) // 2
    require(nodes % 2 == 1, "a binary tree has an odd number of nodes")
    parent, side, depth = np.full(nodes, -1), np.zeros(nodes), np.zeros(nodes, dtype=np.int64)
    leaves, owner = np.full(count, -1), np.zeros(nodes, dtype=np.int64)
    for node in range(nodes):
        cut, above, below = map(int, table[node])
        require(node == 0 or parent[node] >= 0, f"node {node} is not reached")
        if cut == -1:
            require(below == -1 and 0 <= above < count, f"node {node} is a malformed leaf")
            require(leaves[above] == -1, f"leaf {above} is used twice")
            leaves[above] = node
            continue
        of_signs = node == 0 and cut == SIGNS
        require(of_signs or 0 <= cut < directions, f"node {node} cuts by direction {cut}, which does not exist")
        for child, sign in ((above, 1), (below, -1)):
            require(node < child < nodes, f"node {node} has the child {child}, outside of the rows below it")
            require(parent[child] == -1, f"node {child} is reached twice")
            parent[child], side[child], depth[child] = node, sign, depth[node] + (not of_signs)
            owner[child] = sign if of_signs else owner[node]
    require((leaves >= 0).all(), "the leaves are not numbered 0, 1, 2, ...")
    return Tree(table[:, 0], parent, side, leaves, depth[leaves], owner[leaves])


@dataclass(frozen=True)
class Leaf:
    """One region: its signs, its cuts (k, d), its groups of paired samples, where its numbers lie in the tensors."""

    number: int
    signs: tuple[int, ...]
    cuts: Array
    groups: list[Array]
    forms: slice
    squares: list[slice]
    rows: list[slice] = field(default_factory=list)

    @property
    def paired(self) -> Array:
        """The samples of all groups."""
        return np.concatenate([*self.groups, np.zeros(0, np.int64)])


@dataclass(frozen=True)
class Regions:
    """All regions; ``forms`` is Φ, ``squares`` the length of r, ``rows`` Σφ over the groups."""

    tree: Tree
    directions: Array
    groups: Array
    paired: Array
    forms: int
    squares: int
    rows: int

    def __len__(self) -> int:
        return len(self.tree.leaves)

    def __iter__(self) -> Iterator[Leaf]:
        """The leaves, each made when it is asked for."""
        form = row = sample = square = first = 0
        for number in range(len(self)):
            cuts, signs = self.tree.path(number)
            groups, squares, rows = [], [], []
            while row < len(self.groups) and self.groups[row, 0] == number:
                size = int(self.groups[row, 1])
                groups.append(self.paired[sample : sample + size])
                width = 1 + len(cuts) + 2 * size
                squares.append(slice(square, square + width**2))
                rows.append(slice(first, first + width))
                row, sample, square, first = row + 1, sample + size, squares[-1].stop, rows[-1].stop
            signed = np.array(signs)[:, None] * self.directions[cuts]
            own = (int(self.tree.sign[number]),) if self.tree.signs == 1 else (1, -1)
            leaf = Leaf(number, own, signed, groups, slice(form, form + 1 + len(cuts)), squares, rows)
            _check_groups(leaf)
            form = leaf.forms.stop
            yield leaf


def _check_groups(leaf: Leaf) -> None:
    for group in leaf.groups:
        require((group[1:] > group[:-1]).all(), f"the samples of a group of leaf {leaf.number} are not in rising order")
    require(len(np.unique(leaf.paired)) == len(leaf.paired), f"leaf {leaf.number} has a sample twice in its groups")


def read_regions(tree: Array, directions: Array, groups: Array, paired: Array, n: int) -> Regions:
    """The regions, and the sizes that tree and groups imply for all multipliers, before anything is built."""
    whole = read_tree(tree, len(directions))
    count, owner, size = len(whole.leaves), groups[:, 0], groups[:, 1]
    require(((owner >= 0) & (owner < count)).all(), "a group names a leaf that does not exist")
    require((owner[1:] >= owner[:-1]).all(), "the groups are not in the order of their leaves")
    require(((size >= 0) & (size <= n)).all(), "a group has a size outside of 0 ... n")
    members = squares = rows = 0
    for leaf, p in zip(owner, size, strict=True):  # whole numbers of Python, which do not overflow
        width = 1 + int(whole.depth[leaf]) + 2 * int(p)
        members, squares, rows = members + int(p), squares + width**2, rows + width
    require(members == len(paired), "'paired' has another length than the groups together")
    require(((paired >= 0) & (paired < n)).all(), "a group names a sample that does not exist")
    forms = count + sum(map(int, whole.depth))
    return Regions(whole, directions, groups, paired, forms, squares, rows)


def decided(X: Array, cuts: Array) -> Array:
    """+1 for samples with x_i = σg for a cut, −1 for the others with x_i = −σg, 0 for the rest."""
    sign = np.zeros(len(X))
    for target in (-1.0, 1.0):  # on both sides x_iᵀu = 0, and either is right; +1 has the last word
        for cut in target * cuts:
            near = np.flatnonzero(X[:, 0] == cut[0])
            sign[near[(X[near] == cut).all(axis=1)]] = target
    return sign
