"""A data set in numbers, as ``reluopt data`` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.data.dataset import Dataset
from reluopt.losses.protocol import is_one_hot


@dataclass(frozen=True)
class Description:
    """What a data set looks like. Singular values and norms are those of the prepared X.

    Attributes
    ----------
    rank : numerical rank, the number of singular values above max(n, d)·ε·σ_1.
    largest_singular_value : σ_1 of X.
    condition : σ_1/σ_rank.
    row_norm_min, row_norm_median, row_norm_max : of ‖x_i‖.
    duplicate_rows : rows of X that repeat an earlier row.
    contradicting_rows : among them, distinct targets beyond the first of equal rows (no network can fit them all).
    zero_columns : columns of X that are all zero.
    has_bias_column : whether X, or every patch of its images, ends in a one.
    patches : of images that are trained on as patches: how many distinct ones, and their columns; else None.
    classes : samples a class, by its label, for classes, else None. ``outputs`` : C.
    """

    name: str
    fingerprint: str
    n: int
    d: int
    has_bias_column: bool
    rank: int
    largest_singular_value: float
    condition: float
    row_norm_min: float
    row_norm_median: float
    row_norm_max: float
    duplicate_rows: int
    contradicting_rows: int
    zero_columns: int
    target_min: float
    target_max: float
    target_mean: float
    target_std: float
    target_norm: float
    classes: dict[str, int] | None
    outputs: int = 1
    patches: dict[str, int] | None = None

    def to_mapping(self) -> dict[str, Any]:
        """The description as a plain mapping, ready for JSON."""
        return asdict(self)


def describe(dataset: Dataset) -> Description:
    """Describe a data set; takes one singular value decomposition of X, O(n·d·min(n, d))."""
    X, y = dataset.X, dataset.y
    (rows, pooling), bias = dataset.pooled, dataset.has_bias_column
    if dataset.preparation is not None and dataset.preparation.patching is not None:
        bias = dataset.preparation.patching.bias
    singular = np.linalg.svd(X, compute_uv=False)
    rank = int((singular > max(X.shape) * np.finfo(np.float64).eps * singular[0]).sum())
    norms = np.sqrt(np.einsum("ij,ij->i", X, X))
    distinct = _distinct_rows(X)
    return Description(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        n=dataset.n,
        d=dataset.d,
        has_bias_column=bias,
        rank=rank,
        largest_singular_value=float(singular[0]),
        condition=float(singular[0] / singular[rank - 1]),
        row_norm_min=float(norms.min()),
        row_norm_median=float(np.median(norms)),
        row_norm_max=float(norms.max()),
        duplicate_rows=dataset.n - distinct,
        contradicting_rows=_distinct_rows(np.column_stack([X, y])) - distinct,
        zero_columns=int((~X.any(axis=0)).sum()),
        target_min=float(y.min()),
        target_max=float(y.max()),
        target_mean=float(y.mean()),
        target_std=float(y.std()),
        target_norm=float(np.linalg.norm(y)),
        classes=_classes(dataset),
        outputs=1 if y.ndim == 1 else y.shape[1],
        patches=None if pooling is None else {"distinct": len(rows), "columns": rows.shape[1]},
    )


def _classes(dataset: Dataset) -> dict[str, int] | None:
    y, labels = dataset.y, dataset.labels or {}
    if y.ndim == 2:
        named = (labels[str(k)] if str(k) in labels else str(k) for k in range(y.shape[1]))
        return dict(zip(named, map(int, y.sum(axis=0)), strict=True)) if is_one_hot(y) else None
    return {"-1": int((y == -1).sum()), "+1": int((y == 1).sum())} if np.isin(y, (-1.0, 1.0)).all() else None


def _distinct_rows(X: Float[np.ndarray, "n d"]) -> int:
    """Number of distinct rows, compared byte by byte (−0 counts as 0)."""
    rows = np.ascontiguousarray(X + 0.0)
    return len(np.unique(rows.view(np.dtype((np.void, rows.strides[0]))).ravel()))
