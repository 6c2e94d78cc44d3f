"""The affine slopes in section 6 of SPEC.md: c_i + η_i x_iᵀWu with W = VᵀV takes the place of c_i.

With free first-layer biases (section 11) it is c_i + η_i (Wx_i)_uᵀu + θ_i b̃.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .numbers import UNDERFLOW, Array, finite, gamma, norm, row_norms
from .refusal import require

BLOCK = 4096  # samples at a time


@dataclass(frozen=True)
class Slopes:
    """V (k, d), η (n,) and ω of one leaf and sign; θ (n,) where the last entry of a row belongs to a free bias."""

    factor: Array
    eta: Array
    tilt: float
    lean: Array | None = None

    @property
    def off(self) -> Array:
        """Which η or θ are not 0."""
        return self.eta != 0 if self.lean is None else (self.eta != 0) | (self.lean != 0)


def reaches(X: Array, s: Slopes) -> Array:
    """b_i ≥ |η_i|‖Wx_i‖, or ≥ |η_i|‖(Wx_i)_u‖ + |θ_i|."""
    result, whole = np.zeros(len(X)), norm(s.factor) ** 2
    for at, rows, images in blocks(X, s):
        off = gamma(sum(s.factor.shape) + 8) * whole * row_norms(rows) + UNDERFLOW
        size = np.abs(s.eta[at]) * ((row_norms(images) + off) * (1.0 + gamma(8)))
        result[at] = np.where(s.eta[at] == 0, 0.0, np.nextafter(finite(size, "|eta| |Wx|"), np.inf))
    if s.lean is None:
        return result
    return np.where(s.lean == 0, result, np.nextafter(result + np.abs(s.lean), np.inf))


def check_slopes(X: Array, free: Array, c: Array, s: Slopes) -> Array:
    """Require c_i ≥ |η_i|‖Wx_i‖; returns numbers ≥ c_i + |η_i|‖Wx_i‖, equal to c_i where η_i = 0."""
    require((np.abs(s.factor) <= 1).all(), "an entry of factor is larger than 1")
    require(not s.off[~free].any(), "eta must be 0 for decided and paired samples, and lean")
    reach = reaches(X, s)
    require((c >= reach).all(), "c is below |eta| |Wx|")
    return np.where(s.off, np.nextafter(c + reach, np.inf), c)


def slanted(X: Array, s: Slopes, steps: int) -> tuple[Array, Fraction]:
    """(ω·diag(1, −I) − sym(X̂ᵀdiag(η)X̂W), E ≥ the Frobenius norm of its rounding); ``steps`` matrices are added."""
    n, d = X.shape
    M, size = np.zeros((1 + d, 1 + d)), Fraction(norm(np.full(1 + d, s.tilt)))
    for at, rows, images in blocks(X, s):
        M[1:, 1:] -= rows.T @ (s.eta[at][:, None] * images)
        reach = row_norms(rows)
        size += Fraction(norm(s.factor)) ** 2 * Fraction(norm(np.sqrt(np.abs(s.eta[at])) * reach)) ** 2
        if s.lean is not None:
            M[1:, -1] -= s.lean[at] @ rows
            size += Fraction(float(finite(np.abs(s.lean[at]) * reach, "the size of the slopes").sum()))
    M = finite(0.5 * (M + M.T), "the matrix of the slopes")
    signs = np.where(np.arange(1 + d) == 0, 1.0, -1.0)
    if s.lean is not None:
        signs[-1] = 0.0
    M[np.diag_indices(1 + d)] += s.tilt * signs
    share = Fraction(gamma(n + d + len(s.factor) + steps + 32))
    return finite(M, "the matrix of the slopes"), share * size + Fraction(UNDERFLOW)


def blocks(X: Array, s: Slopes) -> Iterator[tuple[slice, Array, Array]]:
    """(where, x_i, Wx_i) of some samples at a time; with θ the last entry of Wx_i is 0."""
    for start in range(0, len(X), BLOCK):
        rows = X[start : start + BLOCK]
        images = finite(rows @ s.factor.T @ s.factor, "Wx")
        if s.lean is not None:
            images[:, -1] = 0.0
        yield slice(start, start + BLOCK), rows, images
