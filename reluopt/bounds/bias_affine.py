r"""The affine bound with free first-layer biases: Theorem B in the rows X̂ of ``bias_forms.py``, with affine slopes.

A slope τ(u, b̃) in [0, 1] that is affine on ‖u‖ ≤ 1, |b̃| ≤ 1 is ½ + kᵀu + θb̃ with ‖k‖ + |θ| ≤ ½, or 0, or 1. Where
tr Y_uu = Y_00 this gives

.. math:: lo_i = ½(a_i + max(|a_i|, ‖(Y x̂_i)_u‖, |(Y x̂_i)_b|)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from reluopt.bounds.affine_search import NOISE, ORTHOGONAL, SAFETY, SMALLEST, AffineSearch
from reluopt.bounds.bias_forms import Lift, LiftedEvidence
from reluopt.bounds.bias_search import Factors, lifted, pulled_back, unlifted
from reluopt.bounds.evidence import Multipliers, theorem_a, unsplit
from reluopt.bounds.factors import FLOOR, Moments, moments, random_factors, through_rows
from reluopt.bounds.moment_search import WORTH
from reluopt.bounds.slopes import Slopes, image_norms_upper, tilt_signs
from reluopt.problem import Problem

#: Temperatures of the smoothed λmax at which the tilt and μ are searched, in units of the level.
TEMPERATURES = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class BiasAffineMoments(Moments):
    """Moments with R (2, k, d) of the rows X̂, KG, K = R_uR_uᵀ, the norms, and the weights of what is in the maximum."""

    R: Float[Tensor, "2 k d"]
    KG: Float[Tensor, "2 k n"]
    norms: Float[Tensor, "2 n"]
    weights: Float[Tensor, "5 2 n"]

    def pull_back(
        self, X: Float[Tensor, "n d"], on_hi: Float[Tensor, "2 n"], on_lo: Float[Tensor, "2 n"]
    ) -> Float[Tensor, "2 k e"]:
        """The gradient by (r_0, R_u, r_b) of Σ on_hi·hi + on_lo·lo."""
        by_r0, by_G = self._by_products(on_hi, on_lo)
        share = (0.5 * on_lo * self.weights[2] / self.norms)[:, None]
        lean = (0.5 * on_lo * (self.weights[3] - self.weights[4]))[:, None]
        by_K = torch.bmm(share * self.G, self.G.mT)
        by_R = through_rows(by_G.addcmul_(share, self.KG) + lean * self.R[:, :, -1:], X)
        by_R[:, :, :-1] += torch.bmm(by_K, self.R[:, :, :-1])
        by_R[:, :, -1] += (lean * self.G).sum(2)
        return torch.cat([by_r0[:, :, None], by_R], dim=2)


def bias_affine_moments(X: Float[Tensor, "n d"], R: Float[Tensor, "2 k e"], epsilon: float) -> BiasAffineMoments:
    """The moments of factors (r_0, R_u, r_b), ‖r_0‖ = ‖R_u‖, with the maximum smoothed by ``epsilon``."""
    m, own = moments(X, R, epsilon), R[:, :, 1:]
    KG = torch.bmm(torch.bmm(own[:, :, :-1], own[:, :, :-1].mT), m.G)
    norms = ((m.G * KG).sum(1).clamp_(min=0) + FLOOR).sqrt()
    lean = torch.bmm(own[:, None, :, -1], m.G)[:, 0]
    a = 2 * m.hi - m.reach
    candidates = torch.stack([a, -a, norms, lean, -lean]) / epsilon
    soft = torch.logsumexp(candidates, 0)
    weights = torch.exp(candidates - soft)
    slope, top = 0.5 * (1.0 + weights[0] - weights[1]), epsilon * (soft - math.log(5.0))
    return BiasAffineMoments(m.G, m.r0, m.B, m.T, m.reach, slope, 0.5 * (a + top), m.hi, own, KG, norms, weights)


class BiasAffineSearch(AffineSearch):
    """The search over (r_0, R_u, q), in scaled units: R_u is scaled to ‖R_u‖ = ‖r_0‖, and r_b follows from q."""

    on_u: ClassVar[slice] = slice(1, -1)

    def __init__(
        self, problem: Problem, *, device: str | torch.device = "cpu", seed: int = 0, envelope: float = 1.0
    ) -> None:
        super().__init__(problem, device=device, seed=seed, envelope=envelope)
        self.lift = Lift.of(problem.X)
        self.X = torch.as_tensor(self.lift.rows(problem.X) / self.units.x, device=self.X.device)

    def _moments(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> BiasAffineMoments:  # type: ignore[override]
        return bias_affine_moments(self.X, torch.as_tensor(R, device=self.X.device), epsilon)

    def _at_scaled(self, R: Factors, epsilon: float) -> tuple[float, Factors]:
        whole = lifted(R)
        value, by = super()._at_scaled(whole, epsilon)
        bias, by = whole[:, :, -1:], by.copy()
        by[:, :, -1:] -= self.beta * bias
        return value - 0.5 * self.beta * float(np.square(bias).sum()), pulled_back(R, by)

    @property
    def whole(self) -> Factors:
        """(r_0, R_u, r_b), ‖r_0‖ = ‖R_u‖."""
        return lifted(self._normalised(self.R)[0])

    @property
    def factors(self) -> Factors:
        """(r_0, R_u, r_b) for the rows X̂, in the data's units."""
        return self.whole * self.units.weight

    def start_at(self, factors: Factors) -> None:
        """Start at factors for the rows X̂ in the data's units, and a little off."""
        R = factors / self.units.weight
        R = R + NOISE * np.abs(R).max() * random_factors(R.shape[1], self.problem.d, 0)
        self.R = unlifted(R)

    def start_from(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]) -> None:
        """Not used: the search starts at random factors."""

    def escape(self, evidence: LiftedEvidence, worth: float = WORTH) -> bool:  # type: ignore[override]
        """Take negligible rows off R, add the directions in which the objective still falls; whether there are any."""
        found = []
        for M, _, _ in evidence.matrices(self.problem.X):
            level, spread, tilt = best_tilt_and_levels(M)
            if not level > 0:
                found.append((np.zeros(0), np.zeros((0, len(M)))))
                continue
            half = 0.5 * self.problem.beta
            diagonal = half / level * np.concatenate([[level], np.full(len(M) - 2, level - spread), [spread]])
            moved = M + tilt * np.diag(tilt_signs(len(M), biased=True)) - np.diag(diagonal)
            values, vectors = np.linalg.eigh(moved)
            excess = values / half
            found.append((excess[excess > worth][::-1], vectors[:, excess > worth].T[::-1]))
        self.R = unlifted(self._with_rows(self.whole, found))
        return any(len(excess) for excess, _ in found)

    def evidence(self, epsilon: float) -> LiftedEvidence:  # type: ignore[override]
        """z = −κℓ' and the multipliers with affine slopes for X̂, in the data's own units; the tilt is optimised."""
        m = self._moments(self.whole, epsilon)
        z = self.z = self._dual_point(m, epsilon)
        rows = self.lift.rows(self.problem.X)
        sides = [self._leaning(rows, m, side, signed) for side, signed in enumerate((z, -z))]
        found = LiftedEvidence(unsplit(z, self.problem.d, *sides), self.lift)
        tilts = [best_tilt_and_levels(M)[2] for M, _, _ in found.matrices(self.problem.X)]
        tilted = [m.with_tilt(tilt) for m, tilt in zip(sides, tilts, strict=True)]
        return LiftedEvidence(unsplit(z, self.problem.d, *tilted), self.lift)

    def _leaning(
        self, rows: Float[np.ndarray, "n d"], m: BiasAffineMoments, side: int, z: Float[np.ndarray, " n"]
    ) -> Multipliers:
        """Theorem A's ν, with c, η and θ read off the weights of the smoothed maximum."""
        below = np.maximum(-z, 0.0) * (1 - SAFETY)
        up, _, slanted, right, left = (weights.cpu().numpy() for weights in m.weights[:, side])
        factor = m.R[side].cpu().numpy()
        factor = np.ldexp(factor, -int(np.frexp(np.abs(factor).max())[1]))
        images = image_norms_upper(rows, factor, biased=True)
        images = np.maximum(images, ORTHOGONAL * np.linalg.norm(factor) ** 2 * np.linalg.norm(rows, axis=1))
        eta = (1 - SAFETY) * 0.5 * below * slanted / np.maximum(images, SMALLEST)
        lean = 0.5 * below * (right - left)
        ratio = (m.T[side] / m.B[side]).sqrt().cpu().numpy() / self.units.x
        slopes = Slopes(factor, eta, 0.0, lean)
        swing = slopes.swing(rows)
        # m_i is at most |z_i| where z_i < 0, and w = 0 there, in spite of rounding
        least = np.where(z < 0, swing, 0.0)
        c = np.maximum(np.minimum(below * up + swing, -z - swing * (1 + SAFETY)), least) * (z < 0)
        plain = theorem_a(z, c, np.maximum(z, 0.0) * ratio)
        return Multipliers(np.where(z > 0, plain.w, 0.0), c[None], plain.nu, (), slopes)


def best_tilt_and_levels(M: Float[np.ndarray, "e e"]) -> tuple[float, float, float]:
    """(λ, μ, ω) of about the least λ with M + ω·diag(1, −I, 0) ⪯ diag(λ, (λ − μ)I, μ): convex in all three.

    b̃ is eliminated: with v and m its column and its entry, λ is λmax(A + ω·diag(1, −I) + μ·diag(0, I) + vvᵀ/(μ − m)).
    """
    if not np.isfinite(M).all():
        return 0.0, 0.0, 0.0
    A, v, low = M[:-1, :-1], M[:-1, -1], max(0.0, float(M[-1, -1]))
    signs, on_u = tilt_signs(len(A), biased=False), np.where(np.arange(len(A)) == 0, 0.0, 1.0)
    unit = float(np.linalg.norm(M)) or 1.0

    def level(theta: Float[np.ndarray, " 2"], temperature: float) -> tuple[float, Float[np.ndarray, " 2"]]:
        tilt, room = unit * theta[0], unit * math.exp(theta[1])
        N = A + np.diag(tilt * signs + (low + room) * on_u) + np.outer(v, v) / (low + room - M[-1, -1])
        values, vectors = np.linalg.eigh(N)
        weights = np.exp((values - values[-1]) / (temperature * unit))
        top = values[-1] / unit + temperature * math.log(weights.sum())
        weights = weights / weights.sum()
        squares = (vectors**2) @ weights
        by_mu = on_u @ squares - (weights @ (v @ vectors) ** 2) / (low + room - M[-1, -1]) ** 2
        return top, np.array([signs @ squares, by_mu * room / unit])

    theta = np.array([0.0, math.log(0.1)])
    for temperature in TEMPERATURES:
        theta = minimize(level, theta, args=(temperature,), jac=True, method="L-BFGS-B",
                         bounds=[(-2.0, 2.0), (-14.0, 2.0)], options={"maxiter": 30}).x  # fmt: skip
    best = max(0.0, unit * level(theta, 1e-9)[0])
    return best, low + unit * math.exp(theta[1]), unit * float(theta[0])
