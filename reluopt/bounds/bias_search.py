r"""Theorem B with free first-layer biases, over low-rank factors.

.. math:: \min_{Y^± ⪰ 0} Σ_i κ_i \min_f ℓ(f, y_i) + (β/2) Σ_± (Y_{00} + tr Y_{uu}),  Y_{bb} ≤ tr Y_{uu},

in the rows X̂ = (X − γ, ρ): the bias costs nothing, and is held by the last inequality. Factors R = (r_0, R_u, r_b)
keep it by r_b = ‖R_u‖ q/max(1, ‖q‖), so that (r_0, R_u, q) are free.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.bias_forms import Lift, LiftedEvidence
from reluopt.bounds.evidence import Evidence, unsplit
from reluopt.bounds.factors import FLOOR, ROWS, moments, multipliers, random_factors
from reluopt.bounds.moment_search import MomentSearch
from reluopt.bounds.support import SupportSearch, best_found
from reluopt.clock import Clock
from reluopt.problem import Problem

Factors = Float[np.ndarray, "s k e"]


def lifted(P: Factors, heads: int = 1) -> Factors:
    """(r_0, R_u, r_b) of (r_0, R_u, q); with several outputs r_0 is Ā, with as many columns as ``heads``."""
    size, length = _sizes(P, heads)
    return np.concatenate([P[:, :, :-1], size * P[:, :, -1:] / np.maximum(1.0, length)], axis=2)


def pulled_back(P: Factors, by: Factors, heads: int = 1) -> Factors:
    """The gradient by (r_0, R_u, q) from that by (r_0, R_u, r_b)."""
    size, length = _sizes(P, heads)
    divisor = np.maximum(1.0, length)
    v, by_b = P[:, :, -1:] / divisor, by[:, :, -1:]
    along = (by_b * v).sum(axis=(1, 2), keepdims=True)
    by_q = size * (by_b - np.where(length > 1.0, along, 0.0) * v) / divisor
    by_u = by[:, :, heads:-1] + along * P[:, :, heads:-1] / size
    return np.concatenate([by[:, :, :heads], by_u, by_q], axis=2)


def _sizes(P: Factors, heads: int) -> tuple[Float[np.ndarray, "s 1 1"], Float[np.ndarray, "s 1 1"]]:
    """‖R_u‖ and ‖q‖ of every sign."""
    return (
        np.sqrt(np.square(P[:, :, heads:-1]).sum(axis=(1, 2), keepdims=True) + FLOOR),
        np.sqrt(np.square(P[:, :, -1:]).sum(axis=(1, 2), keepdims=True)),
    )


class BiasMomentSearch(MomentSearch):
    """Theorem B's objective over (r_0, R_u, q), in scaled units."""

    def __init__(
        self, problem: Problem, *, device: str | torch.device = "cpu", seed: int = 0, envelope: float = 1.0
    ) -> None:
        super().__init__(problem, device=device, seed=seed, envelope=envelope)
        self.lift = Lift.of(problem.X)
        self.X = torch.as_tensor(self.lift.rows(problem.X) / self.units.x, device=self.X.device)

    @property
    def factors(self) -> Factors:
        """R = (r_0, R_u, r_b) for the rows X̂, in the data's units."""
        return lifted(self.R) * self.units.weight

    def start_from(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]) -> None:
        """Not used: the search starts at random factors."""

    def objective(self, R: Factors, epsilon: float) -> tuple[float, Factors]:
        """The smoothed objective and its gradient by (r_0, R_u, q)."""
        whole = lifted(R)
        value, by = super().objective(whole, epsilon)
        bias = whole[:, :, -1:]
        by[:, :, -1:] -= self.beta * bias
        return value - 0.5 * self.beta * float(np.square(bias).sum()), pulled_back(R, by)

    def evidence(self, epsilon: float) -> LiftedEvidence:  # type: ignore[override]
        """z and the multipliers for X̂, in the data's own units."""
        m = self._moments(lifted(self.R), epsilon)
        z = self._dual_point(m, epsilon)
        return LiftedEvidence(unsplit(z, self.problem.d, *multipliers(m, z, self.units.x)), self.lift)

    def escape(self, evidence: Evidence | LiftedEvidence) -> None:
        """Nothing is added to the factors."""


def unlifted(R: Factors, heads: int = 1) -> Factors:
    """(r_0, R_u, q) of (r_0, R_u, r_b): the way back from ``lifted``."""
    size, _ = _sizes(R, heads)
    return np.concatenate([R[:, :, :-1], R[:, :, -1:] / size], axis=2)


def tighten_with_bias(
    problem: Problem,
    z: Float[np.ndarray, " n"],
    *,
    device: str | torch.device = "cpu",
    clock: Clock | None = None,
    iterations: int = 300,
    seed: int = 0,
) -> tuple[float, LiftedEvidence]:
    """(B, evidence): the best proved B ≥ |zᵀ(Xu + b)_+| for ‖u‖ ≤ 1 and all b that was found for a z that sums to 0."""
    return best_found(BiasSupportSearch(problem, z, device=device, seed=seed), iterations, clock or Clock())


class BiasSupportSearch(SupportSearch):
    """The same ratios over (r_0, R_u, q) in the rows X̂; the bias is left out of the trace."""

    def __init__(
        self, problem: Problem, z: Float[np.ndarray, " n"], *, device: str | torch.device = "cpu", seed: int = 0
    ) -> None:
        super().__init__(problem, z, device=device, seed=seed)
        self.lift = Lift.of(problem.X)
        self.X = torch.as_tensor(self.lift.rows(problem.X) / self.units.x, device=device)
        self.R = random_factors(ROWS, problem.d, seed)

    def objective(self, R: Factors, epsilon: float) -> tuple[float, Factors]:
        """Minus the sum of the two ratios, and its gradient by (r_0, R_u, q)."""
        value, by = super().objective(lifted(R), epsilon)
        return value, pulled_back(R, by)

    def evidence(self, epsilon: float) -> LiftedEvidence:  # type: ignore[override]
        """Theorem A's multipliers at z for X̂, in the data's own units."""
        m = moments(self.X, torch.as_tensor(lifted(self.R), device=self.X.device), epsilon)
        return LiftedEvidence(unsplit(self.z, self.problem.d, *multipliers(m, self.z, self.units.x)), self.lift)

    def proved(self, evidence: Evidence | LiftedEvidence) -> float:
        """B of the evidence, for all b."""
        assert isinstance(evidence, LiftedEvidence)
        return evidence.support_upper(self.problem.X)

    def _paid(self, R: Factors) -> Factors:
        paid = R.copy()
        paid[:, :, -1] = 0.0
        return paid

    def _normalised(self, R: Factors) -> Factors:
        """q has no size."""
        R = R.copy()
        R[:, :, :-1] /= np.linalg.norm(R[:, :, :-1], axis=(1, 2), keepdims=True)
        return R
