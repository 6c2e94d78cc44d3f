r"""The convex programs behind Theorem C over low-rank factors, for any loss and C outputs.

A factor is rows (Ā, Ū) of shape (K, C + d). Lagrange duality turns the best z and ν of Theorem C into

.. math:: \min ℓ(f, Y) + (β/2)(‖Ā‖² + ‖Ū‖²),\quad f_i = s_iᵀĀ,\quad s_i = ½(Ūx_i + ‖Ūx_i‖ q_i),\quad ‖q_i‖ ≤ 1:

a network whose activations s_i may lie anywhere in the ball with diameter [0, Ūx_i]. Then z = −κ∂ℓ/∂f and
ν_i = ‖Āz_i‖/‖Ūx_i‖. At a fixed z the best B is twice the largest value of Σ_i ½(⟨Āz_i, Ūx_i⟩ + ‖Āz_i‖‖Ūx_i‖) over
factors of norm one. Both are L-BFGS from a random start; enough rows leave no bad stationary point in any of our runs.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.factors import FLOOR, minimised
from reluopt.bounds.output_forms import OutputEvidence, balanced, theorem_c
from reluopt.losses import Loss
from reluopt.problem import Problem

#: Rows of the factors: many more than the rank of the optimum, which is about C.
ROWS = 24


class OutputMomentSearch:
    """Factors R (K, C + d) and ball points V (n, K), q = V/max(1, ‖V‖), in scaled units."""

    def __init__(
        self, problem: Problem, *, device: str | torch.device = "cpu", seed: int = 0, rows: int = ROWS
    ) -> None:
        self.problem = problem
        self.scaled, self.units = problem.scaled()
        tensor = partial(torch.as_tensor, dtype=torch.float64, device=device)
        self.X, self.y, kappa = (tensor(part) for part in (self.scaled.X, self.scaled.y, self.scaled.weights))
        self.kappa = kappa[:, None]
        self.C, rng = problem.outputs, np.random.default_rng(seed)
        self.shape = (rows, self.C + problem.d)
        R = 0.3 / math.sqrt(math.prod(self.shape)) * rng.standard_normal(self.shape)
        V = 0.5 / math.sqrt(rows) * rng.standard_normal((len(problem.X), rows))
        self.z = np.zeros_like(problem.targets)  # the samples' dual point of the last evidence
        #: The decay of an intercept c (C,), which stands behind R and V; None without one.
        self.decay = self.scaled.intercept_decay
        own = [] if self.decay is None else [self.scaled.constant[0]]
        self.theta = np.concatenate([R.ravel(), V.ravel(), *own])

    @property
    def factors(self) -> Float[np.ndarray, "1 K e"]:
        """R in the data's units."""
        return self.units.weight * self._parts(self.theta)[0].cpu().numpy()[None]

    def objective(self, theta: Float[np.ndarray, " q"], loss: Loss) -> tuple[float, Float[np.ndarray, " q"]]:
        """The value of the roaming network, and its gradient."""
        R, V, c = self._parts(theta)
        A, U = R[:, : self.C], R[:, self.C :]
        H = self.X @ U.T
        reach = (H.square().sum(1, keepdim=True) + FLOOR).sqrt()
        length = V.norm(dim=1, keepdim=True)
        outside, divisor = length > 1, length.clamp(min=1.0)
        q = V / divisor
        S = 0.5 * (H + reach * q)
        f = self._pooled(S @ A) if self.decay is None else S @ A + c
        values = loss.value(f, self.y)
        kappa = self.kappa if values.ndim == 2 else self.kappa[:, 0]
        value = float((kappa * values).sum()) + 0.5 * self.scaled.beta * float(R.square().sum())
        z = self._spread(-self.kappa * loss.gradient(f, self.y))
        by_S = -(z @ A.T)
        along = (by_S * q).sum(1, keepdim=True)
        by_V = 0.5 * reach * (by_S - torch.where(outside, along, torch.zeros_like(along)) * q) / divisor
        by_H = 0.5 * by_S + 0.5 * (along / reach) * H
        by_R = torch.cat([-(S.T @ z), by_H.T @ self.X], dim=1) + self.scaled.beta * R
        by_c = []
        if self.decay is not None:
            value += 0.5 * self.decay * float(c.square().sum())
            by_c = [self.decay * c - z.sum(0)]
        return value, torch.cat([by_R.reshape(-1), by_V.reshape(-1), *by_c]).cpu().numpy()

    def descend(self, smoothing: float, iterations: int, seconds: float) -> float:
        """One L-BFGS run; the value it reaches, in the problem's units: near the best bound, and no bound itself."""
        loss = self.scaled.loss.smoothed(smoothing)
        run = partial(minimised, iterations=iterations, seconds=seconds)
        self.theta = run(lambda theta: self.objective(theta, loss), self.theta)
        return self.objective(self.theta, loss)[0] * self.units.value

    def evidence(self, smoothing: float) -> OutputEvidence | LiftedEvidence:
        """z and Theorem C's ν, in the problem's units."""
        return balanced(self.problem.X, theorem_c(*self.multipliers(self.theta, smoothing)))

    def multipliers(
        self, theta: Float[np.ndarray, " q"], smoothing: float
    ) -> tuple[Float[np.ndarray, "n C"], Float[np.ndarray, " n"]]:
        """z, settled, and ν of Theorem C at a point, in the problem's units."""
        R, V, _ = self._parts(theta)
        A, U = R[:, : self.C], R[:, self.C :]
        H = self.X @ U.T
        reach = (H.square().sum(1, keepdim=True) + FLOOR).sqrt()
        f = self._pooled(0.5 * (H + reach * V / V.norm(dim=1, keepdim=True).clamp(min=1.0)) @ A)
        if self.decay is not None:
            c = self.scaled.best_intercept(f.cpu().numpy(), smoothing)
            f = f + torch.as_tensor(c, device=self.X.device)
        z = -self.kappa * self.scaled.loss.smoothed(smoothing).gradient(f, self.y)
        nu = (self._spread(z) @ A.T).norm(dim=1) / reach[:, 0]
        self.z = self.problem.settled(self.units.z * z.cpu().numpy())
        return self.problem.spread(self.z), self.units.nu * nu.cpu().numpy()

    def _pooled(self, values: Tensor) -> Tensor:
        """A values, of the rows."""
        if self.problem.pooling is None:
            return values
        return torch.as_tensor(self.problem.pooling.forward(values.cpu().numpy()), device=values.device)

    def _spread(self, z: Tensor) -> Tensor:
        """Aᵀz."""
        if self.problem.pooling is None:
            return z
        return torch.as_tensor(self.problem.pooling.back(z.cpu().numpy()), device=z.device)

    def _parts(
        self, theta: Float[np.ndarray, " q"]
    ) -> tuple[Float[Tensor, "K e"], Float[Tensor, "n K"], Float[Tensor, " c"]]:
        """R, V and c, which is empty without an intercept."""
        flat, split = torch.as_tensor(theta, device=self.X.device), math.prod(self.shape)
        end = split + len(self.X) * self.shape[0]
        return flat[:split].view(self.shape), flat[split:end].view(len(self.X), -1), flat[end:]


class OutputSupportSearch:
    """Σ_i ½(⟨Āz_i, Ūx_i⟩ + ‖Āz_i‖‖Ūx_i‖)/‖R‖² to be maximised at a fixed z (n, C), in scaled units."""

    def __init__(
        self,
        problem: Problem,
        z: Float[np.ndarray, "n C"],
        *,
        device: str | torch.device = "cpu",
        seed: int = 0,
        rows: int = ROWS,
    ) -> None:
        scaled, units = problem.scaled()
        self.problem, self.z, self.C = problem, z, z.shape[1]
        self.size = float(np.linalg.norm(z)) / math.sqrt(len(z)) or 1.0
        self.X, self.unit_z = (torch.as_tensor(part, device=device) for part in (scaled.X, z / self.size))
        self.nu_unit = self.size / units.x
        self.R = np.random.default_rng(seed).standard_normal((rows, self.C + problem.d))

    def objective(self, R: Float[np.ndarray, "K e"]) -> tuple[float, Float[np.ndarray, "K e"]]:
        """Minus the ratio, a sample's mean, and its gradient; both have degree 0 in R."""
        P, H, on_P, on_H = self._images(torch.as_tensor(R, device=self.X.device))
        n, square = len(self.z), float(np.square(R).sum())
        height = 0.5 * float((P * H).sum() + (on_P * on_H).sum()) / n
        by_P, by_H = 0.5 * (H + (on_H / on_P) * P) / n, 0.5 * (P + (on_P / on_H) * H) / n
        by_R = torch.cat([by_P.T @ self.unit_z, by_H.T @ self.X], dim=1).cpu().numpy()
        return -height / square, -(by_R - 2 * height / square * R) / square

    def ascend(self, iterations: int, seconds: float) -> None:
        """One L-BFGS run, from factors of norm one."""
        self.R = minimised(self.objective, self.R / np.linalg.norm(self.R), iterations=iterations, seconds=seconds)

    def evidence(self) -> OutputEvidence:
        """Theorem C's ν at z, in the problem's units."""
        _, _, on_P, on_H = self._images(torch.as_tensor(self.R, device=self.X.device))
        nu = self.nu_unit * (on_P / on_H)[:, 0].cpu().numpy()
        return balanced(self.problem.X, theorem_c(self.z, nu))

    def _images(self, R: Float[Tensor, "K e"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Āz_i, Ūx_i (n, K) and their norms (n, 1)."""
        P, H = self.unit_z @ R[:, : self.C].T, self.X @ R[:, self.C :].T
        on_P, on_H = ((part.square().sum(1, keepdim=True) + FLOOR).sqrt() for part in (P, H))
        return P, H, on_P, on_H
