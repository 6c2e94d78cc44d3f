r"""Pricing with free first-layer biases: a neuron (u, b), ‖u‖ ≤ 1, any b, with a large ‖zᵀ(Xu + b)_+‖.

At a fixed u the value is piecewise linear in b, and constant beyond its kinks where Σ_i z_i = 0, so that sorting Xu
gives the best b. A local search: u ← normalised Xᵀ(1[Xu + b ≥ 0] ∘ v) for v = ±z, or v = za with several outputs.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock

STARTS, STEPS = 128, 60


def largest_price_with_bias(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "n ..."],
    rng: np.random.Generator,
    clock: Clock | None = None,
) -> float:
    """The largest value found, a lower estimate; the last column of X is all ones, and each z sums to 0."""
    rows, Z, clock = X[:, :-1] - X[:, :-1].mean(axis=0), z.reshape(len(z), -1), clock or Clock()
    U = rng.standard_normal((rows.shape[1], STARTS))
    picked = rng.integers(len(rows), size=(2, STARTS // 2))
    U[:, : STARTS // 2] = (rows[picked[0]] - rows[picked[1]]).T
    U, A = _normalised(U), _normalised(rng.standard_normal((Z.shape[1], STARTS)))
    best = 0.0
    for _ in range(STEPS):
        V, H = Z @ A, rows @ U
        order = np.argsort(-H, axis=0)
        v, h = np.take_along_axis(V, order, 0), np.take_along_axis(H, order, 0)
        values = np.cumsum(v * h, axis=0) - h * np.cumsum(v, axis=0)  # at b = −h_k the first k are active
        at = values.argmax(axis=0)
        S = np.maximum(H - np.take_along_axis(h, at[None], 0), 0.0)
        reached = np.linalg.norm(Z.T @ S, axis=0)
        best = max(best, float(reached.max()))
        if clock.over:
            break
        U = _normalised(rows.T @ ((S > 0) * V) + 1e-300 * U)
        if Z.shape[1] > 1:
            A = _normalised(Z.T @ S + 1e-300 * A)
    return best


def _normalised(U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
    norms = np.linalg.norm(U, axis=0)
    return U / np.where(norms > 0, norms, 1.0)
