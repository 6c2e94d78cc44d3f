r"""Blocks of C > 1 outputs: a matrix V_D (d, C) for every pattern, free or made of neurons in the pattern's cone.

.. math:: f = Σ_i D_i X V_i,\qquad \text{gated: } β Σ‖V_i‖_*,\qquad
          \text{relaxed: } β Σ‖V_i‖_{K_i,*},\ ‖V‖_{K,*} = \min Σ_k‖u_k‖‖a_k‖ : V = Σ_k u_k a_kᵀ,\ u_k ∈ K

with the nuclear norm ‖V‖_* (Sahiner, Ergen, Pauly & Pilanci, ICLR 2021). For C > 1 the norm of the cone has no finite
form, so that relaxed blocks are the neurons themselves: rows (u, a), several slots a pattern. One output has two, v and
w, whose a is 1 and −1.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.penalties import Penalty
from reluopt.programs.places import InCones, repaired_in_cones

Matrix = Float[np.ndarray, "n d"]
Matrices = Float[np.ndarray, "1 P d C"]
Neurons = Float[np.ndarray, "k P e"]


class NuclearNorm(Penalty):
    """β Σ‖V_i‖_*, the least Σ‖u‖‖a‖ of neurons u aᵀ that make up V_i, without cones."""

    name: ClassVar[str] = "nuclear norm"

    def value(self, blocks: Matrices, beta: float) -> float:
        """β Σ‖V_i‖_*."""
        return float(beta * np.linalg.svd(blocks, compute_uv=False).sum())

    def subgradient(self, blocks: Matrices, g: Matrices, beta: float) -> Matrices:
        """The smallest element of β∂‖V‖_* − g: βPQᵀ − g, and beside the ranges of V = PΣQᵀ what exceeds β."""
        left, sizes, right = np.linalg.svd(blocks, full_matrices=False)
        on = sizes > 1e-12 * np.maximum(sizes.max(axis=-1, keepdims=True), 1e-300)
        P, Q = left * on[..., None, :], right * on[..., :, None]
        aside = g - P @ (P.swapaxes(-1, -2) @ g)
        aside = aside - (aside @ Q.swapaxes(-1, -2)) @ Q
        p, excess, q = np.linalg.svd(aside, full_matrices=False)
        clipped = (p * np.minimum(excess, beta)[..., None, :]) @ q
        return beta * (P @ Q) + clipped - g

    def radius(self, beta: float) -> float:
        """β, for the spectral norm."""
        return beta

    def dual_cost(self, g: Matrices, beta: float) -> float:
        """Nothing: the dual has constraints instead."""
        return 0.0


class NeuronNorm(Penalty):
    """β Σ‖u‖‖a‖ over the neurons (u, a) of every pattern; ``outputs`` numbers of a row are a.

    So many last entries of u as are ``free`` have no part in its norm.
    """

    name: ClassVar[str] = "neuron norm"

    def __init__(self, outputs: int, free: int = 0) -> None:
        self.outputs, self.free = outputs, free

    def value(self, blocks: Neurons, beta: float) -> float:
        """β Σ‖u‖‖a‖."""
        U, a = split(blocks, self.outputs)
        return float(beta * (np.linalg.norm(self._charged(U), axis=-1) * np.linalg.norm(a, axis=-1)).sum())

    def _charged(self, U: np.ndarray) -> np.ndarray:
        """U (..., d) with 0 in its free entries."""
        return np.where(np.arange(U.shape[-1]) < U.shape[-1] - self.free, U, 0.0)

    def subgradient(self, blocks: Neurons, g: Matrices, beta: float) -> Neurons:
        """(β‖a‖u/‖u‖ − ga, β‖u‖a/‖a‖ − gᵀu), 0 at a zero neuron: the value is not convex in (u, a)."""
        U, a = split(blocks, self.outputs)
        charged = self._charged(U)
        norms, sizes = (np.linalg.norm(part, axis=-1, keepdims=True) for part in (charged, a))
        by_U = beta * sizes * charged / np.where(norms > 0, norms, 1.0) - (g @ a[..., None])[..., 0]
        by_a = beta * norms * a / np.where(sizes > 0, sizes, 1.0) - (U[..., None, :] @ g)[..., 0, :]
        alive = (norms > 0) & (sizes > 0)
        return np.where(alive, np.concatenate([by_U, by_a], axis=-1), 0.0)

    def radius(self, beta: float) -> float:
        """β, for max ‖gᵀu‖ over unit u of the cone."""
        return beta

    def dual_cost(self, g: Matrices, beta: float) -> float:
        """Nothing: the dual has constraints instead."""
        return 0.0


class FreeMatrices:
    """One matrix (d, C) a pattern, without a constraint. Blocks are (1, P, d, C)."""

    cones: ClassVar[bool] = False
    sides: ClassVar[tuple[float, ...]] = (1.0,)

    def shape(self, patterns: int, d: int, outputs: int) -> tuple[int, ...]:
        """(1, P, d, C)."""
        return 1, patterns, d, outputs

    def fit(self, X: Matrix, patterns: PatternSet, blocks: Matrices) -> Float[np.ndarray, "n C"]:
        """Σ D_i X V_i."""
        f = np.zeros((len(X), blocks.shape[-1]))
        for k in range(blocks.shape[-1]):  # an output at a time: one product with X for all patterns
            f[:, k] = (X @ blocks[0, :, :, k].T).sum(axis=1, where=patterns.dense)
        return f

    def correlations(self, X: Matrix, patterns: PatternSet, z: Float[np.ndarray, "n C"]) -> Matrices:
        """Xᵀ D_i z of every pattern."""
        return matrix_correlations(X, patterns, z)

    def violation(self, X: Matrix, patterns: PatternSet, blocks: Matrices) -> float:
        """0: every point is feasible."""
        return 0.0

    def repair(self, X: Matrix, patterns: PatternSet, blocks: Matrices) -> Matrices:
        """Nothing to repair."""
        return blocks


class NeuronsInCones(InCones):
    """Neurons (u, a) with u ∈ K_{D_i}, any number of slots a pattern. Blocks are (k, P, d + C), k ≥ 1."""

    sides: ClassVar[tuple[float, ...]] = (1.0,)

    def __init__(self, outputs: int, free: int = 0) -> None:
        self.outputs, self.free = outputs, free

    def shape(self, patterns: int, d: int, outputs: int) -> tuple[int, ...]:
        """(1, P, d + C): one slot, of any number that blocks may have."""
        return 1, patterns, d + outputs

    def fit(self, X: Matrix, patterns: PatternSet, blocks: Neurons) -> Float[np.ndarray, "n C"]:
        """Σ_k Σ_i D_i X u_ki a_kiᵀ."""
        U, a = split(blocks, self.outputs)
        slot, i = np.nonzero(U.any(axis=-1) & a.any(axis=-1))
        return ((X @ U[slot, i].T) * patterns.dense[:, i]) @ a[slot, i]

    def correlations(self, X: Matrix, patterns: PatternSet, z: Float[np.ndarray, "n C"]) -> Matrices:
        """Xᵀ D_i z of every pattern."""
        return matrix_correlations(X, patterns, z)

    def violation(self, X: Matrix, patterns: PatternSet, blocks: Neurons) -> float:
        """The largest violation of (2D_i − I)Xu ≥ 0 among balanced neurons, in units of the preactivations."""
        return super().violation(X, patterns, split(self._balanced(blocks), self.outputs)[0])

    def repair(self, X: Matrix, patterns: PatternSet, blocks: Neurons) -> Neurons:
        """The neurons with every u moved into its cone."""
        U, a = split(blocks, self.outputs)
        return np.concatenate([repaired_in_cones(X, patterns, U), a], axis=-1)

    def _balanced(self, blocks: Neurons) -> Neurons:
        U, a = split(blocks.reshape(-1, blocks.shape[-1]), self.outputs)
        charged = U[:, : U.shape[1] - self.free]
        return np.concatenate(neurons.balanced(U, a, charged), axis=-1).reshape(blocks.shape)


def split(blocks: Float[np.ndarray, "... e"], outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """(u, a) of rows of d + C numbers."""
    return blocks[..., :-outputs], blocks[..., -outputs:]


def matrix_correlations(X: Matrix, patterns: PatternSet, z: Float[np.ndarray, "n C"]) -> Matrices:
    """Xᵀ D_i z (1, P, d, C), an output at a time."""
    columns = [(patterns.dense * z[:, [k]]).T @ X for k in range(z.shape[1])]
    return np.stack(columns, axis=-1)[None]
