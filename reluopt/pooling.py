r"""Pooled rows: f = A (X u)_+ α with a linear map A (n, N) from the N rows of X to the n samples.

Averages over the patches of an image make a two-layer convolutional network (Ergen & Pilanci 2020), those over the
members of a set a deep set. The dual vector of the rows is v = Aᵀz, and everything about neurons holds with it:
‖vᵀ(Xu)_+‖ ≤ β in the place of ‖zᵀ(Xu)_+‖ ≤ β. A is kept sparse: sample i has the next ``sizes[i]`` of ``rows``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse

from reluopt.errors import DataError
from reluopt.gate import LARGEST, as_finite, as_numbers, as_whole
from reluopt.rigor import rounding


@dataclass(frozen=True, eq=False)
class Pooling:
    """A (n, N), sparse: row i has ``weights`` at the columns ``rows``, those of the sample i after those of i − 1.

    Parameters
    ----------
    sizes : (n,) how many rows of X each sample has, at least one. ``rows`` : (Σ sizes,) which. ``weights`` : their
        entries of A, of any sign, not zero. ``total`` : N, the number of rows of X.

    Raises
    ------
    DataError : arrays that do not fit together, a row twice in a sample, weights that are 0 or not finite.
    """

    sizes: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " e"]
    weights: Float[np.ndarray, " e"]
    total: int

    def __post_init__(self) -> None:
        for name, gate in (("sizes", as_whole), ("rows", as_whole), ("weights", as_numbers)):
            object.__setattr__(self, name, gate(getattr(self, name), name))
        _whole_number(self.total, "total")
        sizes, rows, weights = self.sizes, self.rows, self.weights
        fits = sizes.ndim == rows.ndim == weights.ndim == 1 and len(sizes) > 0 and (sizes > 0).all()
        if not (fits and len(rows) == len(weights) == sizes.sum() and rows.min() >= 0 and rows.max() < self.total):
            raise DataError(
                f"Pooling of {sizes.size} samples with {sizes.sum()} entries, {rows.size} rows of {self.total} and "
                f"{weights.size} weights.",
                "Give every sample one row at least, and every row a place below the number of rows of X.",
            )
        usable = (weights != 0) & (np.abs(weights) <= LARGEST)
        if not usable.all():
            raise DataError("A weight of the pooling is 0, NaN, infinite or huge.", "Leave rows of weight 0 out.")
        if len(np.unique(self.samples * self.total + rows)) < len(rows):
            raise DataError("A sample has the same row twice.", "Add the weights up.")

    # -- ways to make one --------------------------------------------------------------------------------------------

    @classmethod
    def sum(cls, groups: Any) -> Pooling:
        """Sums over groups of rows: ``groups`` (N,) holds the sample 0 … n − 1 of every row.

        Raises
        ------
        DataError : no whole numbers, or a sample without rows.
        """
        groups = as_whole(groups, "groups")
        if groups.ndim != 1 or len(groups) == 0 or groups.min() < 0:
            raise DataError("The groups are not whole numbers (N,) from 0.", "Give the sample of every row.")
        if groups.max() >= len(groups):
            raise DataError(
                f"The groups have the sample {groups.max()}, and there are only {len(groups)} rows.",
                "Number the samples 0 … n − 1, each with one row at least.",
            )
        sizes = np.bincount(groups)
        return cls(sizes, np.argsort(groups, kind="stable"), np.ones(len(groups)), len(groups))

    @classmethod
    def average(cls, groups: Any) -> Pooling:
        """Means over groups of rows, see :meth:`sum`."""
        summed = cls.sum(groups)
        return cls(summed.sizes, summed.rows, 1.0 / np.repeat(summed.sizes, summed.sizes), summed.total)

    @classmethod
    def of_matrix(cls, A: Any) -> Pooling:
        """Any A (n, N), dense or sparse.

        Raises
        ------
        DataError : no matrix of numbers, or a sample without rows.
        """
        dense = None if sparse.issparse(A) else as_numbers(A, "A")
        shape, kind = (A.shape, A.dtype) if dense is None else (dense.shape, dense.dtype)
        if len(shape) != 2 or kind.kind not in "fiub":
            raise DataError(
                f"A has shape {shape} and values of type {kind}.", "Give A as a matrix (n, N) of real numbers."
            )
        matrix = sparse.csr_array(A if dense is None else dense, dtype=np.float64)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return cls(np.diff(matrix.indptr), matrix.indices, matrix.data, matrix.shape[1])

    # -- what it does ------------------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.sizes)

    @cached_property
    def samples(self) -> Int[np.ndarray, " e"]:
        """The sample of every entry."""
        return np.repeat(np.arange(self.n), self.sizes)

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """A as a sparse matrix, of copies: scipy sorts the entries of a row where they are."""
        ends = np.concatenate([[0], np.cumsum(self.sizes)])
        return sparse.csr_array((self.weights.copy(), self.rows.copy(), ends), shape=(self.n, self.total))

    @cached_property
    def parts(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        """(A₊, A₋): A = A₊ − A₋, both ≥ 0."""
        return sparse.csr_array(self.matrix.maximum(0)), sparse.csr_array((-self.matrix).maximum(0))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(sizes, rows, weights): what a fingerprint covers and a certificate holds."""
        return self.sizes, self.rows, self.weights

    def forward(self, values: Any) -> Any:
        """A values, of (N, ...) numpy or torch, shape (n, ...)."""
        if isinstance(values, torch.Tensor):
            samples, rows = (torch.from_numpy(part).to(values.device) for part in (self.samples, self.rows))
            weights = torch.from_numpy(self.weights).to(values).view(-1, *[1] * (values.ndim - 1))
            return values.new_zeros(self.n, *values.shape[1:]).index_add(0, samples, weights * values[rows])
        return self.matrix @ values

    def back(self, z: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "N ..."]:
        """Aᵀz, of (n, ...), shape (N, ...)."""
        return self.matrix.T @ z

    def select(self, index: Int[np.ndarray, " k"]) -> Pooling:
        """The pooling of some samples over the same rows."""
        kept = self.matrix[np.arange(self.n)[index]]
        return Pooling(np.diff(kept.indptr), kept.indices, kept.data, self.total)

    def merged(self, X: Float[np.ndarray, "N d"]) -> tuple[Float[np.ndarray, "M d"], Pooling]:
        """(X', pooling') with equal rows of X as one row: the same f for every network, and tighter bounds.

        Equal patches (blank ones of images) have one activation then, in whose entry of Aᵀz the samples cancel.
        """
        rows, place = np.unique(X, axis=0, return_inverse=True)
        to = sparse.csr_array((np.ones(len(X)), (np.arange(len(X)), place.ravel())), shape=(len(X), len(rows)))
        summed = sparse.csr_array(self.matrix @ to)
        summed.eliminate_zeros()
        summed.sort_indices()
        if (np.diff(summed.indptr) == 0).any():  # the weights of a sample cancel in all of its rows
            return X, self
        return np.ascontiguousarray(rows), Pooling(np.diff(summed.indptr), summed.indices, summed.data, len(rows))

    # -- rounding ----------------------------------------------------------------------------------------------------

    def back_error(self, z: Float[np.ndarray, "n ..."]) -> float:
        """≥ ‖fl(Aᵀz) − Aᵀz‖_F, whatever the order of its sums."""
        most = int(np.bincount(self.rows).max())
        reach = abs(self.matrix).T @ np.abs(z)
        return rounding.frobenius_upper(rounding.gamma(2 * most + 4) * reach + rounding.TINY * (most + 1))

    def interval(
        self, low: Float[np.ndarray, "N ..."], high: Float[np.ndarray, "N ..."]
    ) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
        """An interval around A s for every s in [low, high], rounding accounted for."""
        up, down = self.parts
        size = abs(self.matrix) @ np.maximum(np.abs(low), np.abs(high))
        most = int(self.sizes.max())
        off = rounding.gamma(2 * most + 8) * size * (1 + rounding.gamma(most + 8)) + rounding.TINY * (most + 1)
        bottom, top = up @ low - down @ high - off, up @ high - down @ low + off
        return np.nextafter(bottom, -np.inf), np.nextafter(top, np.inf)


def patches(
    images: Any, size: int, stride: int | None = None, *, pool: str = "average"
) -> tuple[Float[np.ndarray, "N d"], Pooling]:
    """The square patches of images as rows (N, channels·size²), and their pooling: averages or sums over each image.

    A row holds the channels one after another, each row after row, as the weight of ``torch.nn.Conv2d`` does.

    Parameters
    ----------
    images : (n, height, width) or (n, channels, height, width).
    size : of the patches. ``stride`` : the step between them, ``size`` unless given. Pixels beyond the last whole patch
        are left out, as a convolution without padding does.
    pool : "average" or "sum".

    Raises
    ------
    DataError : images of another shape, missing pixels, a size or stride that does not fit, another pooling.
    """
    images, step = as_finite(images, "images"), size if stride is None else stride
    _whole_number(size, "size")
    _whole_number(step, "stride")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape or not 1 <= size <= min(images.shape[2:], default=0) or step < 1:
        raise DataError(
            f"Patches of size {size} with step {step}, of images {images.shape}.",
            "Give images (n, height, width) or (n, channels, height, width), and a size that fits.",
        )
    if pool not in ("average", "sum"):
        raise DataError(f"There is no pooling '{pool}'.", "Give 'average' or 'sum'.")
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(2, 3))[:, :, ::step, ::step]
    n, channels, high, wide = windows.shape[:4]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * high * wide, channels * size * size)
    groups = np.repeat(np.arange(n), high * wide)
    return np.ascontiguousarray(rows), Pooling.average(groups) if pool == "average" else Pooling.sum(groups)


def bags(members: Sequence[Any], *, pool: str = "sum") -> tuple[Float[np.ndarray, "N d"], Pooling]:
    """Sets of different sizes as rows (N, d) and their pooling (deep sets): sums, or averages, over each set.

    Parameters
    ----------
    members : for every sample its members, (k_i, d) with k_i ≥ 1.

    Raises
    ------
    DataError : an empty set, members of different widths or that are no numbers, another pooling.
    """
    if not hasattr(members, "__iter__"):
        raise DataError(
            f"The members are a {type(members).__name__}.", "Give a sequence with (k_i, d) for each sample."
        )
    sets = [np.atleast_2d(as_finite(part, f"members[{i}]")) for i, part in enumerate(members)]
    if not sets or any(part.ndim != 2 or 0 in part.shape or part.shape[1:] != sets[0].shape[1:] for part in sets):
        raise DataError("A set is empty, or its members have another width.", "Give (k_i, d) with k_i ≥ 1 for each.")
    if pool not in ("average", "sum"):
        raise DataError(f"There is no pooling '{pool}'.", "Give 'average' or 'sum'.")
    groups = np.repeat(np.arange(len(sets)), [len(part) for part in sets])
    return np.vstack(sets), Pooling.average(groups) if pool == "average" else Pooling.sum(groups)


def _whole_number(value: Any, name: str) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise DataError(f"{name} is {value!r}.", f"Give {name} as a whole number.")
