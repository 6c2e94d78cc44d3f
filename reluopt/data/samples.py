"""Samples as they were read, before any preprocessing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from reluopt.data.checks import check_shapes
from reluopt.data.origin import Origin
from reluopt.data.reading import Reading
from reluopt.errors import DataError


@dataclass(frozen=True, eq=False)
class Samples:
    """Raw samples: ``X`` (n, d) of any real type, ``y`` (n,) of numbers or of text labels, or (n, C) of numbers.

    Attributes
    ----------
    divisor : the stored X stands for X/divisor (255 for pixels kept as bytes, which saves memory).
    digit_labels : y holds digits 0 to 9, of which two classes are made as 0-4 and 5-9.
    reading : how they came of a table, if they did.
    gaps : X may have NaN, which become the means of the samples that are trained on.
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
    gaps: bool = False

    def __post_init__(self) -> None:
        check_shapes(self.X, self.y, self.feature_names, self.origin)

    def select(self, index: Int[np.ndarray, " k"]) -> Samples:
        """Some of the samples, in the order of ``index``."""
        origin = self.origin.select(index, len(self.X))
        return dataclasses.replace(self, X=self.X[index], y=self.y[index], origin=origin)


def image_of(X: np.ndarray) -> tuple[int, int, int] | None:
    """(channels, height, width) of images (n, height, width) or (n, channels, height, width); None of anything else."""
    if X.ndim not in (3, 4):
        return None
    channels, height, width = X.shape[-3:] if X.ndim == 4 else (1, *X.shape[1:])
    return channels, height, width


def pixel_names(image: tuple[int, int, int]) -> tuple[str, ...]:
    """The names of the pixels of images, in the order of :class:`Samples`."""
    channels, height, width = image
    place = [f"{i}_{j}" for i in range(height) for j in range(width)]
    return tuple(f"pixel_{c}_{at}" if channels > 1 else f"pixel_{at}" for c in range(channels) for at in place)


def require_images(found: tuple[int, int, int] | None, wanted: tuple[int, int, int] | None, name: str) -> None:
    """Refuse images of another size than those that are trained on.

    Raises
    ------
    DataError : they have another size, or one of the two has no images.
    """
    if found != wanted:
        sizes = [("no images" if one is None else f"images of {'×'.join(map(str, one))}") for one in (found, wanted)]
        raise DataError(
            f"{name} has {sizes[0]}, and those that are trained on are {sizes[1]} (channels × height × width).",
            "Give images of that size, in the same order of axes.",
        )
