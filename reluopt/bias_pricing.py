r"""Pricing with free first-layer biases: a neuron (v, b), ‖v‖ ≤ 1, any b, with a large ‖zᵀ(Xv + b)_+‖.

The biases are the weights on the last column of X, which is constant. At a fixed v the value is piecewise linear in b,
and constant beyond its kinks where Σ_i z_i = 0, so that sorting Xv gives the best b. The rough search alternates: v ←
normalised Xᵀ(1[Xv + b ≥ 0] ∘ w) for w = ±z, or w = za with several outputs.

The exact ascent of :mod:`reluopt.ascent` goes on the sphere ‖(v, b/s)‖ = 1: with a large s that is ‖v‖ = 1, as all
kinks have |b| at most about ‖v‖ in the units of :class:`Rows`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock

#: Steps of the rough search.
STEPS = 6
#: s: the ascent takes a neuron for 1 + b̃²/2s² times as large as it is, |b̃| ≤ 1.
STRETCH = 1e3
#: What is left of v in the ascent where a neuron is a constant, whose price is 0 where Σ_i z_i = 0.
CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Rows:
    """X = (Z, c) in the rows (Z − γ, ρ), ρ the largest norm of these: a kink of (v, b̃) has |b̃| ≤ ‖v‖.

    ``ones`` : c, the constant of the last column.
    """

    centred: Float[np.ndarray, "n e"]
    centre: Float[np.ndarray, " e"]
    reach: float
    ones: float

    @classmethod
    def of(cls, X: Float[np.ndarray, "n d"]) -> Rows:
        """Around the mean."""
        centre = X[:, :-1].mean(axis=0)
        rows = X[:, :-1] - centre
        return cls(rows, centre, float(np.sqrt(np.square(rows).sum(axis=1).max())) or 1.0, float(X[0, -1]))

    def with_reach(self) -> Float[np.ndarray, "n d"]:
        """(Z − γ, ρ)."""
        return np.hstack([self.centred, np.full((len(self.centred), 1), self.reach)])

    def stretched(self) -> Float[np.ndarray, "n d"]:
        """(Z − γ, ρs), the rows of the ascent."""
        return np.hstack([self.centred, np.full((len(self.centred), 1), self.reach * STRETCH)])

    def inside(self, U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
        """Columns (v, b) as (v, b̃) with ‖v‖ = 1; as 0 where they are constants."""
        norms = np.linalg.norm(U[:-1], axis=0)
        bias = (U[-1] * self.ones + self.centre @ U[:-1]) / self.reach
        return np.vstack([U[:-1], bias]) * np.where(norms > 0, 1.0 / np.where(norms > 0, norms, 1.0), 0.0)

    def outside(self, U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
        """Columns (v, b̃) as (v, b)."""
        return np.vstack([U[:-1], (U[-1] * self.reach - self.centre @ U[:-1]) / self.ones])

    def on_sphere(self, U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
        """Columns (v, b̃) on the sphere of the ascent."""
        return _normalised(np.vstack([U[:-1], U[-1] / STRETCH]))

    def off_sphere(self, U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
        """Back to ‖v‖ = 1; as 0 where the ascent has left nothing of v."""
        norms = np.linalg.norm(U[:-1], axis=0)
        return np.vstack([U[:-1], U[-1] * STRETCH]) * np.where(
            norms > CONSTANT, 1.0 / np.where(norms > CONSTANT, norms, 1.0), 0.0
        )


def roughly(
    rows: Rows,
    z: Float[np.ndarray, "n C"],
    V: Float[np.ndarray, "e s"],
    A: Float[np.ndarray, "C s"],
    clock: Clock,
    *,
    turns: bool,
    steps: int = STEPS,
) -> Float[np.ndarray, "d s"]:
    """Columns (v, b̃), each the best of a few steps from a v towards a large (za)ᵀ(Xv + b)_+.

    ``A`` : the unit a of each column. ``turns`` : let each a follow its u, a ← normalised zᵀ(Xv + b)_+.
    """
    V = _normalised(V)
    best, found = np.full(V.shape[1], -np.inf), np.zeros((len(V) + 1, V.shape[1]))
    for _ in range(steps):
        W, H = z @ A, rows.centred @ V
        values, kinks = best_biases(H, W)
        better = values > best
        best[better] = values[better]
        found[:, better] = np.vstack([V, -kinks / rows.reach])[:, better]
        if clock.over:
            break
        S = np.maximum(H - kinks, 0.0)
        V = _normalised(rows.centred.T @ ((S > 0) * W) + 1e-300 * V)
        if turns:
            A = _normalised(z.T @ S + 1e-300 * A)
    return found


def best_biases(
    H: Float[np.ndarray, "n s"], W: Float[np.ndarray, "n s"]
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """(values, kinks) of every column: the largest Σ_i w_i (h_i − h)_+ over the kinks h, where all w sum to 0."""
    order = np.argsort(-H.T, axis=1)
    w, h = np.take_along_axis(W.T, order, 1), np.take_along_axis(H.T, order, 1)
    values = np.cumsum(w * h, axis=1) - h * np.cumsum(w, axis=1)  # at b = −h_k the first k are active
    at = values.argmax(axis=1)[:, None]
    return np.take_along_axis(values, at, 1)[:, 0], np.take_along_axis(h, at, 1)[:, 0]


def _normalised(U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
    norms = np.linalg.norm(U, axis=0)
    return U / np.where(norms > 0, norms, 1.0)
