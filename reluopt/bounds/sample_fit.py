r"""The loss of what the rows at slots add up to: f = A g + c, its value, and how hard it pulls at every slot.

A slot is a place in a clique; rows without a slot have g = 0. A is the pooling of the rows, or the identity, and c an
output intercept, which costs ½·decay·c² and has Σ_i z_i = decay·c where it is best.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluopt.problem import Problem


class SampleFit:
    """Loss and dual point of a problem, in its own units, as a function of g (slots, C) and c (C,).

    Parameters
    ----------
    slots : the row of X at each slot, −1 where there is none. ``smoothing`` : see ``smooth``.
    """

    def __init__(
        self, problem: Problem, slots: Int[np.ndarray, " N"], device: torch.device, smoothing: float = 0.0
    ) -> None:
        self.problem, self.decay = problem, problem.intercept_decay
        tensor = torch.as_tensor(problem.targets, device=device)
        self.y, self.kappa = tensor.view(problem.n, -1), torch.as_tensor(problem.weights, device=device)
        self.here = torch.as_tensor(np.flatnonzero(slots >= 0), device=device)
        self.rows = torch.as_tensor(slots[slots >= 0], device=device)
        self.smooth(smoothing)

    def smooth(self, smoothing: float) -> None:
        """The step of the envelope that takes the place of a loss with kinks."""
        self.smoothing, self.loss = smoothing, self.problem.loss.smoothed(smoothing)

    def start(self) -> Float[Tensor, " c"]:
        """The best intercept without neurons; empty where there is none."""
        c = self.problem.constant[0].reshape(-1) if self.decay is not None else np.zeros(0)
        return torch.as_tensor(c, dtype=torch.float64, device=self.y.device)

    def of_samples(self, g: Float[Tensor, "N C"], c: Float[Tensor, " c"]) -> Float[Tensor, "n C"]:
        """f = A g + c."""
        rows = g.new_zeros(len(self.problem.X), g.shape[1])
        rows[self.rows] = g[self.here]
        f = self._mapped(rows, "pooled")
        return f + c if len(c) else f

    def at(
        self, g: Float[Tensor, "N C"], c: Float[Tensor, " c"]
    ) -> tuple[float, Float[Tensor, "N C"], Float[Tensor, " c"]]:
        """(Σκℓ(f) + ½·decay·c², −∂/∂g of it, ∂/∂c of it)."""
        f = self.of_samples(g, c)
        value = float((self.kappa @ self.loss.value(f, self.y)).sum())
        z = -self.kappa[:, None] * self.loss.gradient(f, self.y)
        if self.decay is None:
            return value, self.at_slots(z, len(g)), c
        return value + 0.5 * self.decay * float(c.square().sum()), self.at_slots(z, len(g)), self.decay * c - z.sum(0)

    def at_slots(self, z: Float[Tensor, "n C"], slots: int) -> Float[Tensor, "N C"]:
        """Aᵀz at the slots."""
        found = z.new_zeros(slots, z.shape[1])
        found[self.here] = self._mapped(z, "spread")[self.rows]
        return found

    def dual_point(self, g: Float[Tensor, "N C"], unit: float) -> Float[np.ndarray, "n ..."]:
        """z of the samples in units in which it is multiplied by ``unit``: a point of the dual's domain.

        With an intercept it is that of its best one.
        """
        f = self.of_samples(g, g.new_zeros(0)).cpu().numpy().reshape(self.problem.targets.shape)
        if self.decay is not None:
            return unit * self.problem.balanced_dual_point(f, self.smoothing)
        z = -self.kappa[:, None].cpu().numpy() * self.loss.gradient(f.reshape(len(f), -1), self.y.cpu().numpy())
        return unit * z.reshape(self.problem.targets.shape)

    def _mapped(self, values: Float[Tensor, "m C"], how: str) -> Float[Tensor, "k C"]:
        """By the pooling, or by its transpose."""
        if self.problem.pooling is None:
            return values
        found = getattr(self.problem, how)(values.cpu().numpy())
        return torch.as_tensor(np.ascontiguousarray(found), device=values.device)
