r"""Pricing: search the neuron u, ‖u‖ ≤ 1, with the largest |zᵀ(Xu)_+|, or ‖zᵀ(Xu)_+‖ where z is (n, C).

If it exceeds β at the dual point z of a network, adding the neuron u with a small weight lowers L: the network is not
globally optimal. At the dual point of the zero network the maximum is β_max, above which the optimum is the zero
network. The problem is not concave; a local search from many starts gives a lower estimate, never a proof. With free
first-layer biases u = (v, b) and ‖v‖ ≤ 1, see :mod:`reluopt.bias_pricing`.

Nothing here knows the loss: it is in z alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from reluopt.ascent import climb, climb_outputs, outputs_of
from reluopt.bias_pricing import Rows, roughly
from reluopt.clock import Clock
from reluopt.errors import DataError
from reluopt.gate import as_finite, as_matrix, given
from reluopt.problem import Problem

logger = logging.getLogger(__name__)

#: Two directions of one sign whose cosine is above this are one maximiser.
SAME = 1.0 - 1e-6
#: The rough search in float32: its steps, the relative gain and the step control at which a start is done, and the
#: cosine of two directions that are one.
ROUGH_STEPS, ROUGH_GAIN, ROUGH_SHORTEST, ROUGH_SAME = 20, 1e-5, 1e-3, 1.0 - 1e-5
#: With several outputs so many of the distinct best climb on, each for so many output directions in turn.
BEST, ROUNDS = 64, 5

#: Directions (k, d) and the sign of z (k,) that each is searched for.
Starts = tuple[Float[np.ndarray, "_ d"], Float[np.ndarray, " _"]]


@dataclass(frozen=True)
class Price:
    """The best neuron found: unit direction u (d,), sign of its output weight, value |zᵀ(Xu)_+|, all local maxima.

    With C > 1 outputs a unit vector (C,) takes the place of each sign: the direction of the output weights.
    """

    direction: Float[np.ndarray, " d"]
    sign: float | Float[np.ndarray, " C"]
    value: float
    candidates: Float[np.ndarray, "d K"]
    candidate_values: Float[np.ndarray, " K"]
    candidate_signs: Float[np.ndarray, "K ..."]

    def above(self, limit: float, most: int) -> Maximisers:
        """The local maximisers with a value above ``limit``, the dearest ``most`` of them."""
        count = min(most, int((self.candidate_values > limit).sum()))
        return Maximisers(self.candidates[:, :count].T, self.candidate_signs[:count], self.candidate_values[:count])


@dataclass(frozen=True)
class Maximisers:
    """Distinct local maximisers of ±zᵀ(Xu)_+ over ‖u‖ ≤ 1, best first: unit rows (k, d), signs, values (k,)."""

    directions: Float[np.ndarray, "k d"]
    signs: Float[np.ndarray, "k ..."]
    values: Float[np.ndarray, " k"]


def price(
    X: Any,
    z: Any,
    rng: np.random.Generator,
    *,
    starts: int | None = None,
    iterations: int = 100,
    near: Sequence[Starts] = (),
    clock: Clock | None = None,
) -> Price:
    """Multi-start local search: u ← normalised Xᵀ(1[Xu ≥ 0] ∘ ±z), with the step halved where it does not ascend.

    Half of the starts are Gaussian, half are rows of X and their negatives; both signs of z are searched, all as
    columns of one matrix product: a few steps of all in float32, then the distinct best in float64. Values are
    ± zᵀ(Xu)_+; ``candidates`` are the distinct end points with a positive value, best first.

    Parameters
    ----------
    X : the features (n, d), an array, a tensor, a table, lists or a data set; or the problem that has
        them, and its free biases.
    z : the dual point (n,) or (n, C), such as ``problem.dual_point(f)``; a problem brings it to its pooled rows, and to
        sums of exactly 0 where free first-layer biases ask for it.
    starts : 256 unless given, fewer for large X.
    clock : what was reached when it is over is returned.
    near : more starts, each (directions (k, d), signs (k,)): neurons, :func:`kink_flips` of them, factors of a bound.

    Raises
    ------
    DataError : z of another length than X has rows.
    """
    problem, clock = X if isinstance(X, Problem) else None, clock or Clock()
    if problem is not None:
        X, z = problem.X, problem.spread(z)
    else:
        rows, _, pooling = given(X)
        X, z = as_matrix(rows), as_finite(z, "z")
        z = z if pooling is None or len(z) != pooling.n else pooling.back(z)
    if z.ndim not in (1, 2) or len(z) != len(X):
        raise DataError(f"z has shape {z.shape} for {len(X)} samples.", "Give one entry a sample.")
    # fewer starts on large data, so that one iteration stays near a billion products
    count = starts if starts is not None else int(np.clip(2**28 // X.size, 32, 256))
    if problem is not None and problem.biases.first_free:
        return _priced_with_bias(Rows.of(X), X, problem.settled(z), (count, rng), iterations, near, clock)
    # each start is searched for both signs of z: column j belongs to signs[j]
    U = _starts(X, count, rng)
    if z.ndim == 2:
        U = np.hstack([U, *(_normalised(more.T) for more, _ in near)])
        return _priced_outputs(X, z, U, iterations, clock)
    U, signs = np.hstack([U, U]), np.repeat([1.0, -1.0], U.shape[1])
    for more, sides in near:
        U, signs = np.hstack([U, _normalised(more.T)]), np.concatenate([signs, sides])
    U, signs = _roughly(X, z, U, signs, clock)
    U, value = climb(X, z, U, signs, iterations, clock)
    return _best_first(U, U, value, signs, signs)


def _priced_outputs(
    X: Float[np.ndarray, "n d"], z: Float[np.ndarray, "n C"], U: Float[np.ndarray, "d s"], iterations: int, clock: Clock
) -> Price:
    """The same for ‖zᵀ(Xu)_+‖: no two signs, and the direction of the output weights beside u."""
    U, same = _roughly(X, z, U, np.ones(U.shape[1]), clock)
    best = np.argsort(-outputs_of(X, z, U)[0], kind="stable")[:BEST]
    U, value, a = climb_outputs(X, z, U[:, best], iterations, ROUNDS, clock)
    return _best_first(U, U, value, a, same[best])


def _priced_with_bias(
    rows: Rows,
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "n ..."],
    random: tuple[int, np.random.Generator],
    iterations: int,
    near: Sequence[Starts],
    clock: Clock,
) -> Price:
    """The same over (v, b), ‖v‖ ≤ 1."""
    several = z.ndim == 2
    U, A = _rough_starts(rows, X, z, random, near, clock)
    S = np.maximum(rows.with_reach() @ U, 0.0)
    value = np.linalg.norm(z.T @ S, axis=0) if several else A[0] * (z @ S)
    same = np.ones(U.shape[1]) if several else A[0]
    keep = _distinct(_normalised(U), value, same, ROUGH_SAME)[: BEST if several else None]
    U, same = rows.on_sphere(U[:, keep]), same[keep]
    if several:
        U = climb_outputs(rows.stretched(), z, U, iterations, ROUNDS, clock)[0]
    else:
        U = climb(rows.stretched(), z, U, same, iterations, clock)[0]
    U = rows.off_sphere(U)
    unit, U = _normalised(U), rows.outside(U)
    value, signs = outputs_of(X, z, U) if several else (same * (z @ np.maximum(X @ U, 0.0)), same)
    return _best_first(U, unit, value, signs, same)


def _rough_starts(
    rows: Rows,
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "n ..."],
    random: tuple[int, np.random.Generator],
    near: Sequence[Starts],
    clock: Clock,
) -> tuple[Float[np.ndarray, "d s"], Float[np.ndarray, "C s"]]:
    """Columns (v, b̃) and the unit a of each, its sign with one output.

    What is near is there twice: as it is, and after a few steps with the best biases.
    """
    V, Z = _starts(rows.centred, *random), z.reshape(len(z), -1)
    own = np.hstack([np.empty((X.shape[1], 0)), *(more.T for more, _ in near)])
    if z.ndim == 2:
        A = _normalised(random[1].standard_normal((Z.shape[1], V.shape[1])))
        sides = outputs_of(X, z, own)[1].T
    else:
        V, A = np.hstack([V, V]), np.repeat([[1.0, -1.0]], V.shape[1], axis=1)
        sides = np.concatenate([np.empty(0), *(signs for _, signs in near)])[None]
    V, A = np.hstack([V, own[:-1]]), np.hstack([A, sides])
    U = roughly(rows, Z, V, A, clock, turns=z.ndim == 2)
    return np.hstack([U, rows.inside(own)]), np.hstack([A, sides])


def _best_first(
    U: Float[np.ndarray, "d s"],
    unit: Float[np.ndarray, "d s"],
    value: Float[np.ndarray, " s"],
    signs: Float[np.ndarray, "s ..."],
    same: Float[np.ndarray, " s"],
) -> Price:
    """The distinct columns with a positive value, by their unit vectors and what must be the same of them."""
    order = _distinct(unit, value, same, SAME)
    order = order[: max(1, int((value[order] > 0).sum()))]
    best = order[0]
    sign = signs[best] if signs.ndim == 2 else float(signs[best])
    return Price(U[:, best], sign, float(max(value[best], 0.0)), U[:, order], value[order], signs[order])


def kink_flips(
    X: Float[np.ndarray, "n d"], U: Float[np.ndarray, "m d"], most: int, width: float = 1e-3
) -> tuple[Float[np.ndarray, "k d"], Int[np.ndarray, " k"]]:
    """Each u_j mirrored at the hyperplanes of the samples that it nearly touches, |x_iᵀu_j| < width·‖x_i‖‖u_j‖.

    u − 2 (x_iᵀu) x_i/‖x_i‖² has the sign of sample i flipped. Those of the ``most`` nearest pairs (i, j)
    of all, and their j.
    """
    rows, norms = np.linalg.norm(X, axis=1), np.linalg.norm(U, axis=1)
    size = np.outer(np.where(rows > 0, rows, np.inf), np.where(norms > 0, norms, np.inf))
    preactivations = X @ U.T
    distance = np.abs(preactivations / size)
    sample, neuron = np.nonzero((distance < width) & np.isfinite(size))
    nearest = np.argsort(distance[sample, neuron], kind="stable")[:most]
    sample, neuron = sample[nearest], neuron[nearest]
    return U[neuron] - (2.0 * preactivations[sample, neuron] / rows[sample] ** 2)[:, None] * X[sample], neuron


def _ascend(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "n ..."],
    U: Float[np.ndarray, "d s"],
    signs: Float[np.ndarray, " s"],
    clock: Clock,
) -> Float[np.ndarray, " s"]:
    """Move every column of U, in place, by u ← normalised Xᵀ(1[Xu ≥ 0] ∘ ±z); the values there.

    Where that does not ascend the old direction is mixed in.
    """
    value, gradient = _value_and_gradient(X, z, U, signs)
    step, alive = np.full(U.shape[1], np.inf, dtype=U.dtype), np.arange(U.shape[1])
    for _ in range(ROUGH_STEPS):
        if not len(alive) or clock.over:
            break
        # an infinite step is the pure fixed point; a finite one mixes the old direction in
        g = gradient[:, alive]
        trial = _normalised(g + U[:, alive] * (np.linalg.norm(g, axis=0) / step[alive]))
        trial_value, trial_gradient = _value_and_gradient(X, z, trial, signs[alive])
        gain = trial_value - value[alive]
        up = gain > 0
        moved, stuck = alive[up], alive[~up]
        U[:, moved], value[moved], gradient[:, moved] = trial[:, up], trial_value[up], trial_gradient[:, up]
        step[moved] = np.minimum(step[moved] * 4, np.inf)
        step[stuck] = np.where(np.isinf(step[stuck]), 1.0, step[stuck] / 2)
        done = np.where(up, gain < ROUGH_GAIN * np.abs(value[alive]), step[alive] < ROUGH_SHORTEST)
        alive = alive[~done]
    return value


def _roughly(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "n ..."],
    U: Float[np.ndarray, "d s"],
    signs: Float[np.ndarray, " s"],
    clock: Clock,
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
    """The distinct ends of a few steps in float32, of X and z in units that float32 has room for."""
    small_X, small_z = ((part / (np.abs(part).max() or 1.0)).astype(np.float32) for part in (X, z))
    U = U.astype(np.float32)
    value = _ascend(small_X, small_z, U, signs.astype(np.float32), clock)
    keep = _distinct(U, value, signs, ROUGH_SAME)
    return _normalised(U[:, keep].astype(np.float64)), signs[keep]


def _distinct(
    U: Float[np.ndarray, "d s"], value: Float[np.ndarray, " s"], signs: Float[np.ndarray, " s"], same: float
) -> Int[np.ndarray, " k"]:
    """Columns by falling value, without those that are near a better one of their sign."""
    order = np.argsort(-value, kind="stable")
    near = (U[:, order].T @ U[:, order] > same) & (signs[order, None] == signs[order])
    return order[~np.triu(near, 1).any(axis=0)]


def _starts(X: Float[np.ndarray, "n d"], count: int, rng: np.random.Generator) -> Float[np.ndarray, "d s"]:
    rows = X[rng.integers(len(X), size=count // 4)].T
    gaussian = rng.standard_normal((X.shape[1], count - 2 * rows.shape[1]))
    return _normalised(np.hstack([gaussian, rows, -rows]))


def _value_and_gradient(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "n ..."],
    U: Float[np.ndarray, "d s"],
    signs: Float[np.ndarray, " s"],
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "d s"]]:
    """± zᵀ(Xu)_+ and its gradient ± Xᵀ(1[Xu ≥ 0] ∘ z) for every column u; ‖zᵀ(Xu)_+‖ and its gradient at z (n, C)."""
    H = X @ U
    if z.ndim == 2:
        V = z.T @ np.maximum(H, 0)
        values = np.linalg.norm(V, axis=0)
        return values, X.T @ ((H >= 0) * (z @ (V / np.where(values > 0, values, 1))))
    np.multiply(H >= 0, z[:, None], out=H)
    gradient = X.T @ H * signs
    return (gradient * U).sum(axis=0), gradient


def _normalised(U: Float[np.ndarray, "d s"]) -> Float[np.ndarray, "d s"]:
    norms = np.linalg.norm(U, axis=0)
    return U / np.where(norms > 0, norms, 1.0)
