r"""The dual norm of matrix blocks with a free first-layer bias: max ‖zᵀD(Xv + b)‖ over its cone, ‖v‖ ≤ 1; proved.

Where a pattern D has samples of both kinds, x_i active and x_j not, b lies between the kinks of these two, so that
|b + γᵀv| ≤ ρ‖v‖ for γ halfway between them and ρ = ½‖x_i − x_j‖; the nearest two give the smallest ρ. With the rows
(x − γ, ρ) the block is (v, b̃), |b̃| ≤ ‖v‖, so that ‖(v, √t b̃)‖ ≤ √(1 + t) for every t > 0, and (x − γ, ρ/√t) are
bounded like any others (``cone_products.py``). Where all samples are active, b has no end and its cone says nothing of
v: as Σ_i z_i = 0 exactly the norm is σ_max(zᵀ(X − γ)). Where none is, the block is nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist

from reluopt.programs.cone_products import LEANS, cone_norm_upper, leaning, product_multipliers
from reluopt.rigor import rounding

#: Of more samples than these the first ones are looked through for the nearest two: any two are valid.
LOOKED = 2000
#: Steps of the search for t.
SEARCH = 20


class FreeBlocks:
    """The blocks of patterns (n, P) of X = (Z, 1) at z (n, C), which sums to 0 exactly for every output."""

    def __init__(
        self, X: Float[np.ndarray, "n d"], patterns: Bool[np.ndarray, "n P"], z: Float[np.ndarray, "n C"]
    ) -> None:
        self.Z, self.patterns, self.z = np.ascontiguousarray(X[:, :-1]), patterns, z
        self._leans = np.ones(patterns.shape[1])

    def sizes(self) -> Float[np.ndarray, " P"]:
        """≥ the norm of every block, without its cone."""
        return np.array([self._size(i) for i in range(self.patterns.shape[1])])

    def lowered(self, i: int, enough: float, stop: Callable[[], bool]) -> float:
        """≥ the norm of block i, with products of rows of its cone; it ends where that is ≤ ``enough``."""
        pattern = self.patterns[:, i]
        if pattern.all():
            return math.inf
        centred, reach = self._rows(pattern)
        rows = np.hstack([centred, np.full((len(centred), 1), reach)])
        W = self._product(rows, pattern)
        norms, signs = np.linalg.norm(rows, axis=1), np.where(pattern, 1.0, -1.0)[:, None]
        unit = signs * rows / np.where(norms > 0, norms, 1.0)[:, None]
        pairs, N, t = product_multipliers(W, unit, lean=float(self._leans[i]), enough=enough, stop=stop)
        rows[:, -1], factor = _stretched(reach, t or 1.0)
        first, second = pairs.T
        W, scaled = self._product(rows, pattern), N / (norms[first] * norms[second])
        upper = cone_norm_upper(
            W, self._error(rows), signs[first] * rows[first], signs[second] * rows[second], scaled, steps=1
        )
        return _times(upper, factor)

    def _size(self, i: int) -> float:
        pattern = self.patterns[:, i]
        if not pattern.any():
            return 0.0
        if pattern.all():
            rows = self.Z - self.Z.mean(axis=0)
            return cone_norm_upper(self._product(rows, pattern), self._error(rows))
        centred, reach = self._rows(pattern)
        rows = np.hstack([centred, np.full((len(centred), 1), reach)])
        self._leans[i] = _best_lean(self._product(rows, pattern))
        rows[:, -1], factor = _stretched(reach, self._leans[i])
        return _times(cone_norm_upper(self._product(rows, pattern), self._error(rows)), factor)

    def _rows(self, pattern: Bool[np.ndarray, " n"]) -> tuple[Float[np.ndarray, "n e"], float]:
        """(x − γ, ρ) around the middle of the nearest two samples of both kinds; ρ > 0."""
        on, off = (np.flatnonzero(part)[:LOOKED] for part in (pattern, ~pattern))
        i, j = divmod(int(cdist(self.Z[on], self.Z[off]).argmin()), len(off))
        ends = [on[i], off[j]]
        centred = self.Z - 0.5 * (self.Z[on[i]] + self.Z[off[j]])
        # x − γ is rounded once more than the norm knows
        reach = float(rounding.norm_upper(centred[ends]).max()) * (1 + rounding.gamma(4))
        return centred, math.nextafter(reach, math.inf)

    def _product(self, rows: Float[np.ndarray, "n e"], pattern: Bool[np.ndarray, " n"]) -> Float[np.ndarray, "C e"]:
        return (self.z * pattern[:, None]).T @ rows

    def _error(self, rows: Float[np.ndarray, "n e"]) -> float:
        """≥ ‖fl(zᵀDX̂) − zᵀDX̂‖_F, the rounding of x − γ included."""
        n = len(rows)
        terms = (np.abs(self.z).T @ np.abs(rows)) * (1 + rounding.gamma(n))
        return rounding.frobenius_upper(rounding.gamma(n + 4) * terms + rounding.TINY * n)


def _best_lean(W: Float[np.ndarray, "C d"]) -> float:
    """T for which λmax(WᵀW) in the coordinates u' is small."""
    S = W.T @ W

    def largest(log_t: float) -> float:
        return float(np.linalg.eigvalsh(leaning(S, math.exp(log_t), 2))[-1])

    found = minimize_scalar(largest, bounds=LEANS, method="bounded", options={"maxiter": SEARCH})
    return math.exp(float(found.x))


def _stretched(reach: float, t: float) -> tuple[float, float]:
    """(ρ' ≈ ρ/√t, ≥ √(1 + (ρ/ρ')²)): ‖(v, ρb̃/ρ')‖ is at most the second for ‖v‖ ≤ 1 and |b̃| ≤ 1."""
    stretched = max(reach / math.sqrt(t), math.ulp(0.0))
    square = rounding.round_up(1 + (Fraction(reach) / Fraction(stretched)) ** 2)
    return stretched, math.nextafter(math.sqrt(square), math.inf)


def _times(upper: float, factor: float) -> float:
    total = upper * factor * (1 + rounding.gamma(1))
    return math.nextafter(total, math.inf) if math.isfinite(total) else math.inf
