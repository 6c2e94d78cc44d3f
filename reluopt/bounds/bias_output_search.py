r"""Theorem C with free first-layer biases, over low-rank factors: the search of ``output_search.py`` in the rows X̂."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.bias_forms import Lift, LiftedEvidence, best_levels
from reluopt.bounds.bias_search import lifted, pulled_back
from reluopt.bounds.output_forms import OutputEvidence, theorem_c
from reluopt.bounds.output_search import OutputMomentSearch
from reluopt.losses import Loss
from reluopt.problem import Problem


class BiasOutputMomentSearch(OutputMomentSearch):
    """Factors (Ā, Ū, q): the bias of a row of Ū costs nothing and is held by ‖r_b‖ ≤ ‖Ū‖ (``bias_search.py``)."""

    def __init__(self, problem: Problem, *, device: str | torch.device = "cpu", seed: int = 0) -> None:
        super().__init__(problem, device=device, seed=seed)
        self.lift = Lift.of(problem.X)
        self.X = torch.as_tensor(self.lift.rows(problem.X) / self.units.x, device=self.X.device)

    @property
    def factors(self) -> Float[np.ndarray, "1 K e"]:
        """(Ā, Ū, r_b) for the rows X̂, in the data's units."""
        whole = self._lifted(self.theta)[: math.prod(self.shape)].reshape(1, *self.shape)
        return self.units.weight * whole

    def objective(self, theta: Float[np.ndarray, " q"], loss: Loss) -> tuple[float, Float[np.ndarray, " q"]]:
        """The value of the roaming network, and its gradient."""
        whole = self._lifted(theta)
        value, by = super().objective(whole, loss)
        split, by = math.prod(self.shape), by.copy()
        bias = whole[:split].reshape(self.shape)[:, -1]
        by_R = by[:split].reshape(1, *self.shape)
        by_R[0, :, -1] -= self.scaled.beta * bias
        by[:split] = pulled_back(theta[:split].reshape(1, *self.shape), by_R, self.C).ravel()
        return value - 0.5 * self.scaled.beta * float(bias @ bias), by

    def evidence(self, smoothing: float) -> LiftedEvidence:
        """z and ν for X̂, in the problem's units."""
        z, nu = self.multipliers(self._lifted(self.theta), smoothing)
        return balanced_levels(self.problem.X, LiftedEvidence(theorem_c(z, nu), self.lift))

    def _lifted(self, theta: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
        split = math.prod(self.shape)
        return np.concatenate([lifted(theta[:split].reshape(1, *self.shape), self.C).ravel(), theta[split:]])


def balanced_levels(X: Float[np.ndarray, "n d"], evidence: LiftedEvidence) -> LiftedEvidence:
    """The evidence with ν multiplied by the number that makes λ smallest: M = [A/τ, B; Bᵀ, τD]."""
    inner = evidence.inner
    assert isinstance(inner, OutputEvidence)
    ((M, _, _),) = evidence.matrices(X)
    heads = len(M) - X.shape[1]
    if not np.isfinite(M).all() or not inner.nu.any():
        return evidence

    def level(log_tau: float) -> float:
        scale = np.full(len(M), math.exp(0.5 * log_tau))
        scale[:heads] = math.exp(-0.5 * log_tau)
        return best_levels(scale[:, None] * M * scale, heads)[0]

    best, step = 0.0, 1.0
    values = {0.0: level(0.0)}
    while step > 1e-4:
        for near in (best - step, best + step):
            if near not in values:
                values[near] = level(near)
        least = min((best, best - step, best + step), key=values.__getitem__)
        best, step = least, step / (4.0 if least == best else 1.0)
    return LiftedEvidence(OutputEvidence(inner.z, inner.nu * math.exp(best)), evidence.lift)
