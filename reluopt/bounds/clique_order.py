"""Groups of neighbouring samples: those whose products of activations tighten a bound, in a binary tree of groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

#: Steps of the power iteration that finds how to halve a set of samples.
STEPS = 15


def nested_order(images: Sequence[Float[np.ndarray, "n k"]], levels: int, smallest: int) -> Int[np.ndarray, " slots"]:
    """An order of the samples in which any 2^a·smallest neighbouring places, from a multiple of it, are alike.

    Samples are alike where their images are nearly parallel or nearly opposite: the kernel is Σ cos². Each set is
    halved where its kernel's second direction has its median.

    Parameters
    ----------
    images : features of the samples, one array a sign of z; only their directions count.
    levels, smallest : 2^levels groups of ``smallest`` places at the finest; there must be a place for each sample.

    Returns
    -------
    The sample at each place, −1 where there is none (these places are the last).
    """
    unit = [image / np.maximum(np.linalg.norm(image, axis=1, keepdims=True), 1e-300) for image in images]
    order = np.concatenate(_halved(unit, np.arange(len(unit[0])), levels, smallest))
    return np.concatenate([order, np.full(smallest * 2**levels - len(order), -1)])


def _halved(
    images: Sequence[Float[np.ndarray, "n k"]], samples: Int[np.ndarray, " m"], levels: int, smallest: int
) -> list[Int[np.ndarray, " _"]]:
    if levels == 0 or len(samples) <= 1:
        return [np.sort(samples)]
    order = samples[np.argsort(_second_direction([image[samples] for image in images]), kind="stable")]
    middle = smallest * 2 ** (levels - 1)
    return _halved(images, order[:middle], levels - 1, smallest) + _halved(images, order[middle:], levels - 1, smallest)


def _second_direction(images: Sequence[Float[np.ndarray, "n k"]]) -> Float[np.ndarray, " n"]:
    """The top eigenvector of the centred kernel, by power iteration: (Kv)_i = f_iᵀ (Σ_j v_j f_j f_jᵀ) f_i."""
    v = np.random.default_rng(len(images[0])).standard_normal(len(images[0]))
    for _ in range(STEPS):
        v = v - v.mean()
        v = v / (np.linalg.norm(v) or 1.0)
        v = sum(((f @ (f.T @ (v[:, None] * f))) * f).sum(axis=1) for f in images)
    return v
