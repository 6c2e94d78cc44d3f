r"""Theorems A and C with first-layer biases that are not decayed; proved in float64.

With 1ᵀz = 0, b ↦ zᵀ(Xu + b)_+ is constant beyond its kinks, |b + γᵀu| ≤ ρ‖u‖ with ρ ≥ ‖x_i − γ‖ for a centre γ. In
the rows x̂_i = (x_i − γ, ρ) and b̃ = (b + γᵀu)/ρ that is |b̃| ≤ ‖u‖, a form ≥ 0 that a multiplier μ ≥ 0 adds:

.. math:: M ⪯ diag(λ, (λ − μ)I, μ) \;⟹\; zᵀ(X̂ũ)_+ ≤ λ(1 + ‖u‖²) − μ(‖u‖² − b̃²) ≤ 2λ

on ‖u‖ ≤ 1: the bias weighs nothing in the trace. ``certificate/SPEC.md``, section 11, has the derivation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.bounds.evidence import Evidence
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.region_forms import Geometry
from reluopt.rigor import rounding

#: Steps towards the furthest sample that look for a small ball around all of them.
BALL_STEPS = 300
#: ρ is larger than what is needed by this, relatively: a checker sums in another order.
SPARE = 1e-12
#: The roundings of x − γ are at most a fifth of those that are counted for the matrix anyway.
MORE = 1.2
#: Of the search for the best share μ/λ.
SHARE_STEPS = 60
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True, eq=False)
class Lift:
    """A ball around the samples: centre γ (d − 1,) and ρ ≥ ‖x_i − γ‖; the last column of X is all ones."""

    centre: Float[np.ndarray, " e"]
    reach: float

    @classmethod
    def of(cls, X: Float[np.ndarray, "n d"]) -> Lift:
        """A small ball around the rows: from their mean by shorter and shorter steps towards the furthest one."""
        rows = X[:, :-1]
        centre = best = rows.mean(axis=0)
        least = _largest_norm(rows - best)
        for step in range(1, BALL_STEPS + 1):
            furthest = rows[int(np.square(rows - centre).sum(axis=1).argmax())]
            centre = centre + (furthest - centre) / (step + 1)
            size = _largest_norm(rows - centre)
            best, least = (centre, size) if size < least else (best, least)
        return cls(best, float(rounding.norm_upper(rows - best).max()) * (1 + SPARE))

    def covers(self, X: Float[np.ndarray, "n d"]) -> bool:
        """Whether ρ ≥ ‖x_i − γ‖ for all rows, and the last column is all ones."""
        moved = rounding.norm_upper(X[:, :-1] - self.centre) * (1 + rounding.gamma(4))
        return bool((X[:, -1] == 1.0).all() and (moved <= self.reach).all())

    def rows(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """X̂ = (X − γ, ρ)."""
        return np.hstack([X[:, :-1] - self.centre, np.full((len(X), 1), self.reach)])


def _largest_norm(rows: Float[np.ndarray, "n e"]) -> float:
    return float(np.sqrt(np.square(rows).sum(axis=1).max()))


@dataclass(frozen=True, eq=False)
class LiftedEvidence:
    """What proves B ≥ ‖zᵀ(Xu + b)_+‖ for all ‖u‖ ≤ 1 and all b: evidence for the rows X̂, without cuts and groups."""

    inner: Evidence | OutputEvidence
    lift: Lift

    @property
    def z(self) -> Float[np.ndarray, "n ..."]:
        """The dual point before scaling."""
        return self.inner.z

    def matrices(self, X: Float[np.ndarray, "n d"]) -> list[tuple[Float[np.ndarray, "e e"], float]]:
        """M of each sign, or the one of several outputs, with a bound of its error; ``inf`` where nothing is proved."""
        rows, found = self.lift.rows(X), []
        if isinstance(self.inner, OutputEvidence):
            M, error, _ = self.inner.matrix(rows)
            return [(M, MORE * error if self.inner.allows() and not self.inner.groups else math.inf)]
        whole = self.inner.regions[0]
        geometry = Geometry.of(rows, np.zeros((0, rows.shape[1])), ())
        plain = len(self.inner.regions) == 1 and not len(whole.cuts) and not whole.groups
        for z, m in ((self.z, whole.positive), (-self.z, whole.negative)):
            M, error, _ = geometry.matrix(z, m)
            proved = plain and m.slopes is None and geometry.allows(z, m)
            found.append((M, MORE * error if proved else math.inf))
        return found

    def levels(self, X: Float[np.ndarray, "n d"]) -> list[tuple[float, float]]:
        """The best (λ, μ) of each matrix."""
        return [best_levels(M, len(M) - X.shape[1]) for M, _ in self.matrices(X)]

    @np.errstate(over="ignore", invalid="ignore")
    def support_upper(self, X: Float[np.ndarray, "n d"]) -> float:
        """B; ``inf`` where the multipliers prove nothing. That z sums to 0 is looked at by the dual value."""
        if not self.lift.covers(X):
            return math.inf
        return max(_support(M, error, len(M) - X.shape[1]) for M, error in self.matrices(X))


def best_levels(M: Float[np.ndarray, "e e"], heads: int) -> tuple[float, float]:
    """(λ, μ) with the least λ ≥ 0 such that M ⪯ diag(λ, (λ − μ)I, μ), as computed; ``heads`` : entries before u."""
    if not np.isfinite(M).all():
        return 0.0, 0.0

    def level(log_odds: float) -> float:
        share = 1.0 / (1.0 + math.exp(-log_odds))
        root = 1.0 / np.sqrt(_diagonal(1.0, share, heads, len(M)))
        return float(np.linalg.eigvalsh(root[:, None] * M * root)[-1])

    # λ of a given share is quasiconvex: the pairs (λ, μ) that are allowed are a convex set
    low, high = -12.0, 12.0
    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    values = [level(inner[0]), level(inner[1])]
    for _ in range(SHARE_STEPS):
        if values[0] <= values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - GOLDEN * (high - low)
            values[0] = level(inner[0])
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + GOLDEN * (high - low)
            values[1] = level(inner[1])
        if high - low < 1e-7:
            break
    best = int(values[1] < values[0])
    top = max(0.0, values[best])
    return top, top / (1.0 + math.exp(-inner[best]))


def _diagonal(level: float, spread: float, heads: int, size: int) -> Float[np.ndarray, " e"]:
    """(λ of the head, λ − μ of u, μ of b̃)."""
    return np.concatenate([np.full(heads, level), np.full(size - heads - 1, level - spread), [spread]])


def _support(M: Float[np.ndarray, "e e"], error: float, heads: int) -> float:
    """2λ + 3·max(0, λmax(M + diag(0, μI, λ − μ)) − λ), as ‖(1, ũ)‖² ≤ 3."""
    if not (np.isfinite(M).all() and math.isfinite(error)):
        return math.inf
    level, spread = best_levels(M, heads)
    moved = M + np.diag(level - _diagonal(level, spread, heads, len(M)))
    off = error + rounding.gamma(4) * (level + float(np.abs(np.diag(M)).max()))
    top = rounding.lambda_max_upper(moved, off)
    total = (2.0 * level + 3.0 * max(0.0, top - level)) * (1 + rounding.gamma(8)) + rounding.TINY
    return total if math.isfinite(total) else math.inf
