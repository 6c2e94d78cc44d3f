"""Images as pooled patches: the rule that makes the rows of a problem, and their pooling, of rows of pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.data.checks import require_spread, varies
from reluopt.data.samples import image_of, require_images
from reluopt.data.settings import Preprocessing
from reluopt.errors import ConfigError, DataError
from reluopt.pooling import Pooling, patches


@dataclass(frozen=True)
class Patching:
    """f = A (X̂u)_+ α on the patches X̂ of images: a convolution, ReLU, pooling over each image and a linear layer.

    Attributes
    ----------
    shape : (channels, height, width) of the images; their pixels stand in a row, channel after channel.
    size, stride : of the square patches. ``pool`` : "average" or "sum".
    bias : whether a one follows the pixels of a patch.
    scaling : "standardise", "centre" or "none", of all pixels of the images that are trained on together.
    shift, scale : pixels become (pixel − shift)/scale.
    """

    shape: tuple[int, int, int]
    size: int
    stride: int
    pool: str
    bias: bool
    scaling: str = "none"
    shift: float = 0.0
    scale: float = 1.0

    def fitted(self, X: Float[np.ndarray, "n d"], name: str) -> Patching:
        """The same with shift and scale of these images.

        Raises
        ------
        DataError : all pixels are the same, which scaling would make zero.
        """
        if self.scaling == "none":
            return self
        require_spread(X.min(), X.max(), len(X), ["the brightness of the images"], name)
        if not varies(X.min(), X.max(), len(X)):
            raise DataError(
                f"{name}: all pixels of the {len(X)} images are the same.",
                "Choose a larger or other subset, or images that vary.",
            )
        return replace(self, shift=float(X.mean()), scale=float(X.std()) if self.scaling == "standardise" else 1.0)

    @property
    def width(self) -> int:
        """Columns of a patch."""
        return self.shape[0] * self.size**2 + self.bias

    @property
    def how_in_torch(self) -> str:
        """What makes a convolution of torch of a network on these patches."""
        if self.pool != "average":
            return "Train with pooling = average, which is a convolution of torch."
        size = f"{self.size}, {self.stride}, channels={self.shape[0]}, bias_column={self.bias}"
        scaled = "" if self.scaling == "none" else f"; it takes (pixels - {self.shift!r})/{self.scale!r}"
        return f"reluopt.convolution.to_convolution(model.network, {size}) is a convolution of torch{scaled}."

    def flat(self, X: np.ndarray, name: str) -> np.ndarray:
        """Images with their pixels in a row; rows stay.

        Raises
        ------
        DataError : images of another size.
        """
        image = image_of(X)
        if image is None:
            return X
        require_images(image, self.shape, name)
        return X.reshape(len(X), math.prod(image))

    def apply(self, X: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "N e"], Pooling]:
        """The patches (N, e) of images (n, channels·height·width), and their pooling.

        Raises
        ------
        DataError : a size or a stride that does not fit the images.
        """
        images = ((X - self.shift) / self.scale).reshape(-1, *self.shape)
        rows, pooling = patches(images, self.size, self.stride, pool=self.pool)
        return (np.hstack([rows, np.ones((len(rows), 1))]) if self.bias else rows), pooling

    def to_mapping(self) -> dict[str, Any]:
        """The rule as plain values."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Patching:
        """The inverse of :meth:`to_mapping`."""
        channels, height, width = mapping["shape"]
        return cls(**{**mapping, "shape": (channels, height, width)})


def patching_of(
    image: tuple[int, int, int] | None,
    size: int | None,
    stride: int | None,
    pool: str | None,
    usual: Preprocessing,
    name: str,
) -> Patching | None:
    """The rule that the settings ask for, with scaling and bias as usual; None where they ask for no patches.

    Raises
    ------
    ConfigError : a stride or a pooling without patches, patches of data that are no images, or that do not fit them.
    """
    if size is None:
        for word, value in (("stride", stride), ("pooling", pool)):
            if value is not None:
                raise ConfigError(f"'{word}' is set without 'patches'.", "Give the size of the patches too.")
        return None
    if image is None:
        raise ConfigError(
            f"'patches' is set, and {name} has no images.",
            "Give a folder of IDX files, digits, or an .npz file whose X is (n, height, width) or "
            "(n, channels, height, width).",
        )
    if size > min(image[1:]):
        raise ConfigError(f"Patches of size {size} do not fit images of {image[1]}×{image[2]}.", "Give a smaller size.")
    if usual.scaling == "unit_rows":
        raise ConfigError(
            "'patches' and scaling = unit_rows are given.", "Choose standardise, centre or none, of all pixels."
        )
    step, scaling = size if stride is None else stride, str(usual.scaling)
    return Patching(image, size, step, pool or "average", bool(usual.bias), scaling)
