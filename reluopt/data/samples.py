"""Samples as they were read, before any preprocessing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from reluopt.data.checks import check_shapes
from reluopt.data.origin import Origin
from reluopt.data.reading import Reading


@dataclass(frozen=True, eq=False)
class Samples:
    """Raw samples: ``X`` (n, d) of any real type, ``y`` (n,) of numbers or of text labels, or (n, C) of numbers.

    Attributes
    ----------
    divisor : the stored X stands for X/divisor (255 for pixels kept as bytes, which saves memory).
    digit_labels : y holds digits 0 to 9, of which two classes are made as 0-4 and 5-9.
    reading : how they came of a table, if they did.
    image : (channels, height, width) of images, whose pixels are the features, channel after channel.

    Raises
    ------
    DataError : shapes that do not fit, or fewer than two samples.
    """

    X: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    origin: Origin
    divisor: float = 1.0
    digit_labels: bool = False
    reading: Reading | None = None
    image: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        check_shapes(self.X, self.y, self.feature_names, self.origin)

    def select(self, index: Int[np.ndarray, " k"]) -> Samples:
        """Some of the samples, in the order of ``index``."""
        origin = self.origin.select(index, len(self.X))
        return dataclasses.replace(self, X=self.X[index], y=self.y[index], origin=origin)
