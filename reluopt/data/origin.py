"""Where samples came from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Origin:
    """Where samples came from, so that a message can name the file and the row in the file's own counting.

    Attributes
    ----------
    name : the file, or the name of the data set.
    row_word : what a sample is called there ("line", "row", "image").
    row_numbers : (n,) the number of each sample there; None counts rows from 0.
    """

    name: str = "the data"
    row_word: str = "row"
    row_numbers: Int[np.ndarray, " n"] | None = None

    def row(self, i: int) -> str:
        """The name of sample i, e.g. ``line 7`` or ``row 6 (counting from 0)``."""
        if self.row_numbers is None:
            return f"{self.row_word} {i} (counting from 0)"
        return f"{self.row_word} {self.row_numbers[i]}"

    def select(self, index: Int[np.ndarray, " k"], n: int) -> Origin:
        """The origin of some of the n samples, which keep their numbers."""
        if self.row_numbers is not None:
            return dataclasses.replace(self, row_numbers=self.row_numbers[index])
        return dataclasses.replace(self, row_numbers=np.arange(n)[index])
