r"""Pricing: search the neuron u, ‖u‖ ≤ 1, with the largest |zᵀ(Xu)_+|.

If it exceeds β at the residual z = y − f of a network, adding the neuron u with a small weight lowers L: the
network is not globally optimal. At z = y the maximum is β_max, above which the optimum is the zero network.
The problem is not concave; a local search from many starts gives a lower estimate, never a proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.errors import DataError


@dataclass(frozen=True)
class Price:
    """The best neuron found: unit direction u (d,), sign of its output weight, value |zᵀ(Xu)_+|, all local maxima."""

    direction: Float[np.ndarray, " d"]
    sign: float
    value: float
    candidates: Float[np.ndarray, "d K"]
    candidate_values: Float[np.ndarray, " K"]


def price(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, " n"],
    rng: np.random.Generator,
    *,
    starts: int | None = None,
    iterations: int = 100,
) -> Price:
    """Multi-start local search: u ← normalised Xᵀ(1[Xu ≥ 0] ∘ ±z), with the step halved where it does not ascend.

    256 starts unless given, fewer for large X.

    Half of the starts are Gaussian, half are rows of X and their negatives; both signs of z are searched. Values
    are ± zᵀ(Xu)_+; ``candidates`` are the end points with a positive value, best first (repetitions included).

    Raises
    ------
    DataError : z of another length than X has rows.
    """
    if z.shape != (len(X),):
        raise DataError(f"z has shape {z.shape} for {len(X)} samples.", "Give one entry a sample.")
    # fewer starts on large data, so that one iteration stays near a billion products
    count = starts if starts is not None else int(np.clip(2**28 // X.size, 32, 256))
    # each start is searched for both signs of z: column j belongs to signs[j]
    U = _starts(X, count, rng)
    U, signs = np.hstack([U, U]), np.repeat([1.0, -1.0], U.shape[1])
    value, gradient = _value_and_gradient(X, z, U, signs)
    step = np.full(U.shape[1], np.inf)
    for _ in range(iterations):
        # an infinite step is the pure fixed point; a finite one mixes the old direction in
        trial = _normalised(gradient + U * (np.linalg.norm(gradient, axis=0) / step))
        trial_value, trial_gradient = _value_and_gradient(X, z, trial, signs)
        up = trial_value > value * (1 + 1e-12)
        if not up.any() and (step[~up] < 1e-3).all():
            break
        U[:, up], value[up], gradient[:, up] = trial[:, up], trial_value[up], trial_gradient[:, up]
        step = np.where(up, np.minimum(step * 4, np.inf), np.where(np.isinf(step), 1.0, step / 2))
    order = np.argsort(-value)
    order = order[: max(1, int((value > 0).sum()))]
    best = order[0]
    return Price(U[:, best], float(signs[best]), float(max(value[best], 0.0)), U[:, order], value[order])


def beta_max_estimate(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], *, seed: int = 0) -> float:
    """β_max = max_{‖u‖≤1} |yᵀ(Xu)_+| by local search: a lower estimate of the true one (math section 1)."""
    return price(X, y, np.random.default_rng(seed)).value


def _starts(X: Float[np.ndarray, "n d"], count: int, rng: np.random.Generator) -> Float[np.ndarray, "d s"]:
    rows = X[rng.integers(len(X), size=count // 4)].T
    gaussian = rng.standard_normal((X.shape[1], count - 2 * rows.shape[1]))
    return _normalised(np.hstack([gaussian, rows, -rows]))


def _value_and_gradient(
    X: Float[np.ndarray, "n d"], z: Float[np.ndarray, " n"], U: Float[np.ndarray, "d s"], signs: Float[np.ndarray, " s"]
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "d s"]]:
    """± zᵀ(Xu)_+ and its gradient ± Xᵀ(1[Xu ≥ 0] ∘ z) for every column u."""
    gradient = X.T @ ((X @ U >= 0) * z[:, None]) * signs
    return (gradient * U).sum(axis=0), gradient


def _normalised(U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
    norms = np.linalg.norm(U, axis=0)
    return U / np.where(norms > 0, norms, 1.0)
