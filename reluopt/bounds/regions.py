r"""The moment bound over all sign regions of a few directions: Theorem B with cuts, over low-rank factors.

In a region σ_k g_kᵀu ≥ 0 the products s_i (σgᵀu) ≥ 0 and (s_i − x_iᵀu)(σgᵀu) ≥ 0 narrow what E[α s_i] can be. For
one cut, with T = √Y00, A = √(x_iᵀYuu x_i), h = σgᵀu, t = E[αh]/‖h‖ and c = |E[x_iᵀu h]|/(2‖h‖), it lies in ½a ± φ,

.. math:: hi = ½a + φ(t, c), lo = ½a − φ(−t, c),\quad φ(t, c) = ½AT \text{ if } ½At/T ≥ c, \text{ else }
          tc + √(A²/4 − c²) √(T² − t²);

of several cuts the narrowest interval counts, as a smooth minimum whose weights also mix the multipliers (mixing is
valid: the bound is convex in them). Everything is smoothed relative to AT, so the support of a region stays
homogeneous in Y, and Y is kept away from the boundary by δ tr(Y) I.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.factors import ScaledData, minimised

#: Rows of the factors of one region and sign.
ROWS = 6


@dataclass(frozen=True)
class Intervals:
    """What the moments of every region and sign allow, for the plain interval (index 0) and each cut (1 … K)."""

    hi: Float[Tensor, "r 2 f n"]
    lo: Float[Tensor, "r 2 f n"]
    width: Float[Tensor, "r 2 n"]
    a: Float[Tensor, "r 2 n"]
    A: Float[Tensor, "r 2 n"]
    T: Float[Tensor, "r 2"]
    t: Float[Tensor, "r 2 K"]
    h: Float[Tensor, "r 2 K"]
    c: Float[Tensor, "r 2 K n"]
    cross: Float[Tensor, "r 2 K n"]
    across: Float[Tensor, "r 2 K n"]
    along: Float[Tensor, "r 2 K"]


class RegionSearch:
    """Theorem B's objective over factors R (regions, 2, k, d + 1), where ‖X‖ = √n and y has mean square one."""

    def __init__(
        self,
        X: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, " n"],
        beta: float,
        directions: Float[np.ndarray, "K d"],
        *,
        device: str | torch.device = "cpu",
        start: Float[np.ndarray, "r 2 k e"] | None = None,
    ) -> None:
        (n, d), K = X.shape, len(directions)
        self.data = ScaledData.of(X, device)
        self.unit = float(np.linalg.norm(y)) / math.sqrt(n) or 1.0
        self.y = torch.as_tensor(y / self.unit, dtype=torch.float64, device=device)
        self.beta = beta / (self.data.unit * self.unit)
        self.signs = np.array(list(product((1.0, -1.0), repeat=K))).reshape(2**K, K)
        self.directions = torch.as_tensor(directions, dtype=torch.float64, device=device)
        self._signs = torch.as_tensor(self.signs, device=device)[:, None]
        self._sizes = (self.data.X**2).sum(1)
        self._overlap = self.directions @ self.data.X.T
        noise = np.random.default_rng(K).standard_normal((2**K, 2, ROWS, d + 1)) / math.sqrt(ROWS * (d + 1) * 2**K)
        self.R = 0.3 * noise if start is None else start + 0.05 * noise

    def next_direction(self) -> Float[np.ndarray, " d"]:
        """The unit vector along which neurons of one region and sign differ most: Σ E[uuᵀ] − E[αu]E[αu]ᵀ/E[α²]."""
        spread = np.zeros((self.R.shape[-1] - 1,) * 2)
        for factors in self.R.reshape(-1, *self.R.shape[2:]):
            Y = factors.T @ factors
            spread += Y[1:, 1:] - np.outer(Y[0, 1:], Y[0, 1:]) / max(float(Y[0, 0]), 1e-30)
        return np.linalg.eigh(spread)[1][:, -1]

    def halves(self) -> Float[np.ndarray, "q 2 k e"]:
        """The start after one more cut: each region's factors shared by its halves, in the order of ``signs``."""
        return np.repeat(self.R, 2, axis=0) * math.sqrt(0.5)

    def intervals(self, R: Float[Tensor, "r 2 k e"], epsilon: float) -> Intervals:
        """The intervals of the moments RᵀR + δ tr(RᵀR) I."""
        X, r0, Ru = self.data.X, R[..., 0], R[..., 1:]
        (regions, _, k, d), n, G = Ru.shape, len(X), self.directions
        delta = (R * R).sum((-1, -2)) * (epsilon**2 / (d + 1)) + 1e-16
        images = (Ru.reshape(-1, d) @ X.T).view(regions, 2, k, n)
        a = (r0[..., None, :] @ images)[..., 0, :]
        A = ((images * images).sum(2) + delta[..., None] * self._sizes).sqrt()
        T = ((r0 * r0).sum(-1) + delta).sqrt()
        cut = Ru @ G.T
        h = ((cut * cut).sum(2) + delta[..., None] * (G * G).sum(1)).sqrt()
        cut = cut / h[:, :, None]
        t = (r0[..., None, :] @ cut)[..., 0, :] * self._signs
        cross = cut.transpose(2, 3) @ images + (delta[..., None] / h)[..., None] * self._overlap
        near = 0.3 * epsilon
        A1, T1 = A[:, :, None], T[..., None, None]
        c = torch.minimum(0.5 * ((1 - near**2) * cross**2 + near**2 * A1**2).sqrt(), 0.5 * (1 - 1e-9) * A1)
        across = (A1**2 / 4 - c * c).sqrt()
        along = (T[..., None] ** 2 - t * t).clamp(min=1e-14).sqrt()

        def reach(t: Tensor) -> Tensor:
            return torch.where(0.5 * A1 * t / T1 >= c, 0.5 * A1 * T1, t * c + across * along[..., None])

        width = 0.5 * A * T[..., None]
        plain_lo = 0.5 * (a + (a * a + (epsilon * width) ** 2).sqrt())
        middle = 0.5 * a[:, :, None]
        hi = torch.cat([(0.5 * a + width)[:, :, None], middle + reach(t[..., None])], 2)
        lo = torch.cat([plain_lo[:, :, None], middle - reach(-t[..., None])], 2)
        return Intervals(hi, lo, width, a, A, T, t, h, c, cross, across, along)

    def _miss(self, R: Float[Tensor, "r 2 k e"], epsilon: float) -> Float[Tensor, "2 n"]:
        """How far y is above and below what all regions together can reach."""
        found = self.intervals(R, epsilon)
        soft = epsilon * found.width
        hi = (-soft * torch.logsumexp(-found.hi / soft[:, :, None], 2)).sum(0)
        lo = (soft * torch.logsumexp(found.lo / soft[:, :, None], 2)).sum(0)
        return torch.stack([self.y - hi[0] + lo[1], lo[0] - hi[1] - self.y]).clamp(min=0)

    def objective(self, R: Float[np.ndarray, "r 2 k e"], epsilon: float) -> tuple[float, Float[np.ndarray, "r 2 k e"]]:
        """Theorem B's smoothed objective and its gradient."""
        factors = torch.as_tensor(R, device=self.y.device).requires_grad_()
        miss = self._miss(factors, epsilon)
        value = 0.5 * (miss * miss).sum() + 0.5 * self.beta * (factors * factors).sum()
        (gradient,) = torch.autograd.grad(value, factors)
        return float(value.detach()), gradient.cpu().numpy()

    def descend(self, epsilon: float, iterations: int, seconds: float) -> None:
        """One L-BFGS run at one smoothing."""
        self.R = minimised(lambda R: self.objective(R, epsilon), self.R, iterations=iterations, seconds=seconds)

    @torch.no_grad()
    def z(self, epsilon: float) -> Float[np.ndarray, " n"]:
        """z = y − clip, scaled."""
        above, below = self._miss(torch.as_tensor(self.R, device=self.y.device), epsilon)
        return (above - below).cpu().numpy()

    @torch.no_grad()
    def multipliers(self, z: Float[np.ndarray, " n"], epsilon: float) -> list[list[RegionMultipliers]]:
        """For every region the multipliers of z and of −z, read off the intervals, scaled."""
        found = self.intervals(torch.as_tensor(self.R, device=self.y.device), epsilon)
        soft = (epsilon * found.width)[:, :, None]
        on_hi, on_lo = torch.softmax(-found.hi / soft, 2), torch.softmax(found.lo / soft, 2)
        slope = 0.5 + 0.5 * found.a / (found.a**2 + (epsilon * found.width) ** 2).sqrt()
        (up, nu_up), (down, nu_down) = _pulls(found, found.t), _pulls(found, -found.t)
        signed = found.cross * self._signs[..., None]
        part = 0.5 + 0.5 * signed / (signed**2 + (0.3 * epsilon * found.A[:, :, None]) ** 2).sqrt()
        plain = found.T[..., None] / found.A
        nu_hi = on_hi[:, :, 0] * plain + (on_hi[:, :, 1:] * nu_up).sum(2)
        nu_lo = (on_lo[:, :, 1:] * nu_down).sum(2)
        both = [x.cpu().numpy() for x in (on_hi[:, :, 1:] * up, on_lo[:, :, 1:] * down, part, nu_hi, nu_lo)]
        lows, slopes = on_lo.cpu().numpy(), slope.cpu().numpy()
        result: list[list[RegionMultipliers]] = []
        for r in range(len(self.signs)):
            result.append([])
            for s, own in enumerate((z, -z)):
                size, high = np.abs(own), own > 0
                e = size * np.where(high, both[0][r, s], both[1][r, s])
                c = np.vstack([np.where(high, 0.0, size * lows[r, s, 0] * slopes[r, s])[None], e * both[2][r, s]])
                w = np.vstack([np.where(high, size, -size * (1.0 - lows[r, s, 0]))[None], e])
                if len(e) == 0:
                    w[0, ~high] = 0.0  # only the plain interval: nothing is left of z_i < 0
                nu = size * np.where(high, both[3][r, s], both[4][r, s])
                result[-1].append(RegionMultipliers(w, c, np.maximum(nu, 1e-9 * np.abs(w).max(axis=0))))
        return result


@dataclass(frozen=True)
class RegionMultipliers:
    """w, c (1 + K, n) and ν (n,) of one region and sign, in scaled units."""

    w: Float[np.ndarray, "f n"]
    c: Float[np.ndarray, "f n"]
    nu: Float[np.ndarray, " n"]


def _pulls(found: Intervals, t: Float[Tensor, "r 2 K"]) -> tuple[Float[Tensor, "r 2 K n"], Float[Tensor, "r 2 K n"]]:
    """(e, ν): how strongly s_i (σgᵀu) ≥ max(0, x_iᵀu σgᵀu) pulls at the end of the interval; 0 where it is slack."""
    A, T = found.A[:, :, None], found.T[..., None, None]
    slack = 0.5 * A * t[..., None] / T >= found.c
    along = found.along[..., None]
    e = (along * found.c / found.across - t[..., None]).clamp(min=0) / found.h[..., None]
    return torch.where(slack, torch.zeros_like(e), e), torch.where(slack, T / A, along / (2 * found.across))
