"""Section 12 of SPEC.md: pooled rows. A linear map A from the N rows of X to the n samples; v is about Aᵀz."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from .certificate import Certificate
from .losses import Loss
from .numbers import UNDERFLOW, Array, above, exact_dot, finite, gamma, norm
from .objective import BLOCK, box_upper
from .refusal import require


@dataclass(frozen=True)
class Map:
    """A: sample i has the next ``sizes[i]`` of ``rows`` with their ``weights``."""

    sizes: Array
    rows: Array
    weights: Array

    @property
    def samples(self) -> Array:
        """The sample of every entry."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def forward(self, values: Sequence[Sequence[Fraction]], outputs: int, sizes: bool = False) -> list[list[Fraction]]:
        """A values, of rows of ``outputs`` numbers, exactly; with ``sizes`` |A| values."""
        found = [[Fraction(0)] * outputs for _ in range(len(self.sizes))]
        for i, row, weight in zip(self.samples.tolist(), self.rows.tolist(), self.weights.tolist(), strict=True):
            factor = Fraction(abs(weight) if sizes else weight)
            for k, value in enumerate(values[row]):
                found[i][k] += factor * value
        return found

    def back(self, z: Array, total: int) -> list[list[Fraction]]:
        """Aᵀz, exactly."""
        own = [[Fraction(v) for v in line] for line in z.reshape(len(z), -1).tolist()]
        found = [[Fraction(0)] * len(own[0]) for _ in range(total)]
        for i, row, weight in zip(self.samples.tolist(), self.rows.tolist(), self.weights.tolist(), strict=True):
            factor = Fraction(weight)
            for k, value in enumerate(own[i]):
                found[row][k] += factor * value
        return found


def read_map(c: Certificate) -> Map:
    """The tensors of A, checked."""
    n, total = c.problem.n, c.problem.rows
    sizes, rows, weights = c.tensor("pool_sizes", n), c.tensor("pool_rows", None), c.tensor("pool_weights", None)
    require((sizes >= 1).all() and (sizes <= total).all(), "a sample has no rows, or too many")
    require(sum(map(int, sizes)) == len(rows) == len(weights), "the sizes of the pooling are not those of its rows")
    require(((rows >= 0) & (rows < total)).all(), "the pooling names a row that does not exist")
    require((weights != 0).all(), "a weight of the pooling is 0")
    pairs = np.stack([np.repeat(np.arange(n), sizes), rows])
    require(np.unique(pairs, axis=1).shape == pairs.shape, "a sample has a row twice")
    return Map(sizes, rows, weights)


def for_rows(c: Certificate) -> tuple[Certificate, Array]:
    """The evidence as one for the rows of X, with v in the place of z; and v."""
    v = c.tensor("v", c.problem.rows, *c.problem.row)
    return replace(c, problem=replace(c.problem, n=c.problem.rows), tensors={**c.tensors, "z": v}), v


def apart_upper(own: Map, X: Array, z: Array, v: Array) -> Fraction:
    """≥ ‖v − Aᵀz‖_F‖X‖_F: what a bound for v lacks of one for Aᵀz."""
    exact = own.back(z, len(X))
    pairs = zip(v.ravel().tolist(), (value for line in exact for value in line), strict=True)
    gaps = [above(abs(Fraction(a) - b)) for a, b in pairs]
    return Fraction(norm(finite(np.array(gaps), "v - Az"))) * Fraction(norm(X))


def objective_upper(
    own: Map, X: Array, y: Array, weights: Array | None, loss: Loss, beta: float, U: Array, alpha: Array
) -> Fraction:
    """a' ≥ Σ_i κ_i ℓ(f_i, y_i) + (β/2)(‖U‖² + ‖α‖²), f = A (XUᵀ)_+ α, with A applied exactly."""
    (m, d), outputs = U.shape, y[0].size
    reach, fits, errors = np.abs(alpha).T @ np.abs(U), [], []
    step = max(1, BLOCK // max(1, m))
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        hidden = finite(rows @ U.T, "a product x·u")
        fits += _exact(finite(np.maximum(hidden, 0.0) @ alpha, "an output f"))
        off = gamma(d + m + 8) * (np.abs(rows) @ reach.T) + UNDERFLOW
        errors += _exact(finite(off, "the rounding of an output"))
    total = Fraction(0)
    pooled, off_by = own.forward(fits, outputs), own.forward(errors, outputs, sizes=True)
    for i, (f, error, target) in enumerate(zip(pooled, off_by, _exact(y), strict=True)):
        weight = Fraction(1) if weights is None else Fraction(float(weights[i]))
        total += box_upper(loss, f, error, target, weight)
    return total + Fraction(beta) / 2 * (exact_dot(U.ravel(), U.ravel()) + exact_dot(alpha.ravel(), alpha.ravel()))


def fingerprint(X: Array, y: Array, weights: Array | None, own: Map) -> str:
    """SHA-256 of N, d, C and n as 64-bit integers, X, y, κ, and the tensors of A, little-endian."""
    digest = hashlib.sha256(struct.pack("<4Q", *X.shape, y[0].size, len(y)))
    for array in (X, y, *(() if weights is None else (weights,)), own.sizes, own.rows, own.weights):
        digest.update(np.ascontiguousarray(array, dtype="<i8" if array.dtype.kind == "i" else "<f8").data)
    return digest.hexdigest()


def _exact(values: Array) -> list[list[Fraction]]:
    """The numbers as rational ones, row by row."""
    return [[Fraction(v) for v in line] for line in values.reshape(len(values), -1).tolist()]
