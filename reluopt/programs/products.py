"""Products with a pattern set's design [± D_i X], which is never formed: one product with X, then the pattern mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from reluopt.patterns.pattern_set import PatternSet

Matrix = Float[np.ndarray, "n d"]
Vector = Float[np.ndarray, " n"]
Blocks = Float[np.ndarray, "k P d"]


def fit_of(X: Matrix, patterns: PatternSet, sides: Sequence[float], blocks: Blocks) -> Vector:
    """f = Σ_side ± Σ_i D_i X u_i."""
    combined = np.tensordot(np.array(sides), blocks, axes=1)
    return (X @ combined.T).sum(axis=1, where=patterns.dense)


def correlations_of(X: Matrix, patterns: PatternSet, sides: Sequence[float], z: Vector) -> Blocks:
    """± Xᵀ D_i z for every side and pattern."""
    g = (patterns.dense * z[:, None]).T @ X
    return np.array(sides)[:, None, None] * g[None]


def pattern_gram(X: Matrix, patterns: PatternSet) -> Float[np.ndarray, "n n"]:
    """A = Σ_i D_i X Xᵀ D_i = (XXᵀ) ∘ (number of patterns in which both samples are active), in O(n²(d + P))."""
    active = patterns.dense.astype(np.float64)
    return (X @ X.T) * (active @ active.T)
