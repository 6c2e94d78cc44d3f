"""Two trees of cuts by the hyperplanes of samples: one whose leaves bound z, one whose leaves bound −z.

Neurons of the two signs are in different places, so that each tree is deep where its own are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from reluopt.bounds.evidence import SIGNS
from reluopt.bounds.leaf_states import Path


class SignTrees:
    """Both trees, as far as they are cut.

    Attributes
    ----------
    leaves : (sign, path) of the leaves of both, in the order of their numbers.
    """

    def __init__(self) -> None:
        self.leaves: list[tuple[float, Path]] = [(1.0, ()), (-1.0, ())]
        self._table, self._row = [[SIGNS, 1, 2], [-1, 0, -1], [-1, 1, -1]], [1, 2]

    def __len__(self) -> int:
        return len(self.leaves)

    def cut(self, leaf: int, sample: int) -> None:
        """Two leaves in the place of one: the second is the last of all."""
        (sign, path), first = self.leaves[leaf], len(self._table)
        self._table[self._row[leaf]] = [sample, first, first + 1]
        self._table += [[-1, leaf, -1], [-1, len(self.leaves), -1]]
        self._row[leaf] = first
        self._row.append(first + 1)
        self.leaves[leaf] = sign, (*path, (sample, 1))
        self.leaves.append((sign, (*path, (sample, -1))))

    def table(self) -> Int[np.ndarray, "rows 3"]:
        """One tree of both, which begins with the row of signs (``evidence.py``)."""
        return np.array(self._table)
