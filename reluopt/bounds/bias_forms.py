r"""Theorems A and C with first-layer biases that are not decayed; proved in float64.

With 1ᵀz = 0, b ↦ zᵀ(Xu + b)_+ is constant beyond its kinks, |b + γᵀu| ≤ ρ‖u‖ with ρ ≥ ‖x_i − γ‖ for a centre γ. In
the rows x̂_i = (x_i − γ, ρ) and b̃ = (b + γᵀu)/ρ that is |b̃| ≤ ‖u‖, a form ≥ 0 that a multiplier μ ≥ 0 adds:

.. math:: M ⪯ diag(λ, (λ − μ)I, μ) \;⟹\; zᵀ(X̂ũ)_+ ≤ λ(1 + ‖u‖²) − μ(‖u‖² − b̃²) ≤ 2λ

on ‖u‖ ≤ 1: the bias weighs nothing in the trace. M may have affine slopes and cliques, whose forms are all ≥ 0 there.
``certificate/SPEC.md``, section 11, has the derivation.
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
#: The roundings of x − γ are at most a fourth of those that are counted for the matrix anyway.
MORE = 1.25
#: ‖(1, ũ)‖ ≤ √3 and ‖s‖ ≤ √2‖X̂‖_F in the place of √2 and ‖X‖_F: what cliques leave over counts double, with MORE.
WIDER = 2.0 * MORE
#: Of the search for the best μ, and where log((μ − m)/‖M‖) is looked for.
SHARE_STEPS = 60
ROOMS = (-14.0, 2.0)
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
    """What proves B ≥ ‖zᵀ(Xu + b)_+‖ for all ‖u‖ ≤ 1 and all b: evidence for the rows X̂, without cuts."""

    inner: Evidence | OutputEvidence
    lift: Lift

    @property
    def z(self) -> Float[np.ndarray, "n ..."]:
        """The dual point before scaling."""
        return self.inner.z

    def matrices(self, X: Float[np.ndarray, "n d"]) -> list[tuple[Float[np.ndarray, "e e"], float, float]]:
        """(M, e, δ) of each sign, or the one of several outputs; e bounds its error, ``inf`` where nothing is proved.

        Raises ``LinAlgError`` where a clique is not definite.
        """
        rows, found = self.lift.rows(X), []
        if isinstance(self.inner, OutputEvidence):
            M, error, slack = self.inner.matrix(rows)
            return [(M, MORE * error if self.inner.allows() else math.inf, WIDER * slack)]
        whole = self.inner.regions[0]
        geometry = Geometry.of(rows, np.zeros((0, rows.shape[1])), whole.groups)
        plain = len(self.inner.regions) == 1 and not len(whole.cuts)
        for z, m in ((self.z, whole.positive), (-self.z, whole.negative)):
            M, error, slack = geometry.matrix(z, m)
            knows = (m.slopes is None or m.slopes.lean is not None) and (m.ball is None or m.ball.biased)
            found.append((M, MORE * error if plain and knows and geometry.allows(z, m) else math.inf, WIDER * slack))
        return found

    def levels(self, X: Float[np.ndarray, "n d"]) -> list[tuple[float, float]]:
        """The best (λ, μ) of each matrix."""
        try:
            return [best_levels(M, len(M) - X.shape[1]) for M, _, _ in self.matrices(X)]
        except np.linalg.LinAlgError:
            return [(0.0, 0.0)] * (1 if isinstance(self.inner, OutputEvidence) else 2)

    @np.errstate(over="ignore", invalid="ignore")
    def support_upper(self, X: Float[np.ndarray, "n d"]) -> float:
        """B; ``inf`` where the multipliers prove nothing. That z sums to 0 is looked at by the dual value."""
        if not self.lift.covers(X):
            return math.inf
        try:
            return max(_support(M, error, len(M) - X.shape[1], slack) for M, error, slack in self.matrices(X))
        except np.linalg.LinAlgError:
            return math.inf


def best_levels(M: Float[np.ndarray, "e e"], heads: int) -> tuple[float, float]:
    """(λ, μ) with the least λ ≥ 0 such that M ⪯ diag(λ, (λ − μ)I, μ), as computed; ``heads`` : entries before u.

    b̃ is eliminated: with v and m its column and its entry, λ(μ) = λmax(A + μ·diag(0, I) + vvᵀ/(μ − m)) is convex.
    """
    if not np.isfinite(M).all():
        return 0.0, 0.0
    A, v, least = M[:-1, :-1], M[:-1, -1], max(0.0, float(M[-1, -1]))
    on_u, unit = np.diag(np.where(np.arange(len(A)) < heads, 0.0, 1.0)), float(np.linalg.norm(M)) or 1.0

    def level(log_room: float) -> float:
        spread = least + unit * math.exp(log_room)
        return float(np.linalg.eigvalsh(A + spread * on_u + np.outer(v, v) / (spread - M[-1, -1]))[-1])

    low, high = ROOMS
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
    return max(0.0, values[best]), least + unit * math.exp(inner[best])


def _diagonal(level: float, spread: float, heads: int, size: int) -> Float[np.ndarray, " e"]:
    """(λ of the head, λ − μ of u, μ of b̃)."""
    return np.concatenate([np.full(heads, level), np.full(size - heads - 1, level - spread), [spread]])


def _support(M: Float[np.ndarray, "e e"], error: float, heads: int, slack: float) -> float:
    """2λ + 3·max(0, λmax(M + diag(0, μI, λ − μ)) − λ) + δ, as ‖(1, ũ)‖² ≤ 3."""
    if not (np.isfinite(M).all() and math.isfinite(error)):
        return math.inf
    level, spread = best_levels(M, heads)
    moved = M + np.diag(level - _diagonal(level, spread, heads, len(M)))
    off = error + rounding.gamma(4) * (level + spread + float(np.abs(np.diag(M)).max()))
    top = rounding.lambda_max_upper(moved, off)
    total = (2.0 * level + 3.0 * max(0.0, top - level) + slack) * (1 + rounding.gamma(8)) + rounding.TINY
    return total if math.isfinite(total) else math.inf
