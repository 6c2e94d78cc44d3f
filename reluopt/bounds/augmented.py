r"""The augmented Lagrangian of the moment problem with products of groups of samples, over factors of low rank.

For each sign M = VᵀV, V = (α, u, s) with few rows: ``head`` = (α, u), ``S`` = s of every sample. Over V,

.. math:: Σ κℓ(f, y) + (β/2)‖head‖² + (‖Λ'‖² − ‖Λ‖²)/4ρ,\quad f = (S^+ − S^-)α,\quad Λ' = (Λ − ρFFᵀ)_+

is minimised, with F = (α, s_g, p_g), p = s − Xu, of every group g, where Λ' is not cut off at zero for the products
s_i p_i, which must vanish. Then Λ' takes the place of Λ: the method of multipliers.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.factors import minimised
from reluopt.losses import Loss

#: Rows of the factors of one sign: these or d / FEATURES to begin with, and more where the smallest singular value is
#: not SMALL.
ROWS, MOST_ROWS, FEATURES, SMALL = 14, 28, 10, 0.03
#: Noise in the factors, in units of their root mean square.
NOISE = 0.01
#: Pairs of L-BFGS: more of them cost more than they save.
MEMORY = 10
#: How much wider (α, u) is searched than S, in units of their curvatures.
WIDER = 5.0


class AugmentedLagrangian:
    """The factors of both signs and the multipliers; X (slots, d) has rows of norm one, or zero.

    ``multipliers`` (2, groups, 1 + 2g, 1 + 2g) are symmetric: those of E[F_a F_b] ≥ 0, and −ν_i where a and b belong to
    s_i and p_i.

    Parameters
    ----------
    norms : (slots,) what the rows were divided by. ``y``, ``kappa`` : targets and weights, 0 in empty slots.
    loss : ℓ, smooth. ``head`` (2, k, 1 + d) and ``S`` (2, slots, k) : the start, to which
        noise and rows of noise are added.
    """

    def __init__(
        self,
        X: Float[Tensor, "N d"],
        norms: Float[Tensor, " N"],
        y: Float[Tensor, " N"],
        kappa: Float[Tensor, " N"],
        loss: Loss,
        beta: float,
        head: Float[Tensor, "2 k e"],
        S: Float[Tensor, "2 N k"],
        multipliers: Float[Tensor, "2 G f f"],
    ) -> None:
        self.X, self.norms, self.beta, self.device = X, norms, beta, X.device
        self.y, self.kappa, self.loss = y, kappa, loss
        self.multipliers, self.size = multipliers, multipliers.shape[2] // 2
        self.penalty = 1.0
        more = max(0, min(MOST_ROWS, max(ROWS, X.shape[1] // FEATURES)) - head.shape[1])
        self.head = torch.nn.functional.pad(head, (0, 0, 0, more))
        self.S = torch.nn.functional.pad(S, (0, more))
        noise = self._noise()
        self.head, self.S = self.head + noise[0], self.S + noise[1]

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.X) // self.size

    @property
    def z(self) -> Float[Tensor, " N"]:
        """−κℓ'(f) of the factors."""
        return self._dual_point(self._fit(self._forms(self.head, self.S)))

    @property
    def nu(self) -> Float[Tensor, "2 N"]:
        """The multipliers of E[s_i p_i] = 0."""
        every = torch.arange(self.size)
        return -self.multipliers[:, :, 1 + every, 1 + self.size + every].reshape(2, -1)

    def _noise(self) -> tuple[Float[Tensor, "2 k e"], Float[Tensor, "2 N k"]]:
        """What rows that are zero start with: they would stay zero."""
        rng, size = np.random.default_rng(0), NOISE * float(self.head.square().mean().sqrt())
        head, S = (torch.as_tensor(size * rng.standard_normal(tuple(part.shape))) for part in (self.head, self.S))
        return head.to(self.device), S.to(self.device) * (self.X.square().sum(1) > 0)[:, None]

    def is_full(self) -> bool:
        """Do all rows matter, so that there should be more?"""
        sizes = torch.linalg.svdvals(self.head)
        return self.head.shape[1] < MOST_ROWS and bool((sizes[:, -1] > SMALL * sizes[:, 0]).any())

    def widen(self) -> None:
        """Double the rows of the factors; the new ones start as noise."""
        noise = self._noise()
        self.head = torch.cat([self.head, noise[0]], 1)[:, :MOST_ROWS]
        self.S = torch.cat([self.S, noise[1]], 2)[:, :, :MOST_ROWS]

    def grow(self) -> None:
        """Join every two neighbouring groups; products between them start without a multiplier."""
        g, half = self.size, self.multipliers.view(2, -1, 2, *self.multipliers.shape[2:])
        joined = half.new_zeros(2, half.shape[1], 1 + 4 * g, 1 + 4 * g)
        for part in (0, 1):
            first = 1 + part * g + torch.arange(g)
            own = torch.cat([torch.zeros(1, dtype=torch.long), first, 2 * g + first])
            joined[:, :, own[:, None], own] += half[:, :, part]
        self.multipliers, self.size = joined, 2 * g

    def update(self, penalty: float, iterations: int, seconds: float, *, curved: bool) -> float:
        """Minimise over the factors, then move the multipliers. Returns the primal value, which may be infeasible.

        ``curved``: in the basis of ``_basis``, where the rows of the factors that matter converge faster, and those
        that are almost zero grow slower: it is best used later, and every other time.
        """
        F = self._forms(self.head, self.S)
        products = float((F.mT @ F).norm())
        self.penalty = penalty * float(self.multipliers.norm()) / products if products > 0 else self.penalty
        constant, (basis, inverse) = float(self.multipliers.square().sum()), self._basis(curved)

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            head, S = self._parts(theta)
            value, by_head, by_S = self.lagrangian(head @ basis, S, constant)
            return value, _joined(by_head @ basis, by_S)

        start = _joined(self.head @ inverse, self.S)
        head, self.S = self._parts(minimised(objective, start, iterations=iterations, seconds=seconds, memory=MEMORY))
        self.head = head @ basis
        F = self._forms(self.head, self.S)
        self.multipliers = self._moved(F)
        return float(self._losses(self._fit(F)) + 0.5 * self.beta * self.head.square().sum())

    def _basis(self, curved: bool) -> tuple[Float[Tensor, "2 e e"], Float[Tensor, "2 e e"]]:
        """A basis of (α, u) in which, if ``curved``, the Lagrangian is about as curved as in S; and its inverse.

        Its Hessian in S_i has about the size ν_i, and in u that of βI + Σ ν_i x_i x_iᵀ.
        """
        N, d = self.X.shape
        if not curved:
            same = torch.eye(1 + d, dtype=torch.float64, device=self.device).expand(2, -1, -1)
            return same, same
        nu = self.nu[..., None].clamp(min=0)
        usual = (WIDER * nu.mean((1, 2))).clamp(min=1e-3 * self.beta)
        values, vectors = torch.linalg.eigh((nu * self.X).mT @ self.X)
        curvatures = torch.cat([(usual * N / d / WIDER)[:, None], values.clamp(min=0)], 1)
        root = ((self.beta + curvatures) / usual[:, None]).sqrt()
        Q = torch.zeros(2, 1 + d, 1 + d, dtype=torch.float64, device=self.device)
        Q[:, 0, 0], Q[:, 1:, 1:] = 1.0, vectors
        return (Q / root[:, None]) @ Q.mT, (Q * root[:, None]) @ Q.mT

    def _parts(self, theta: Float[np.ndarray, " q"]) -> tuple[Tensor, Tensor]:
        flat, split = torch.as_tensor(theta, device=self.device), self.head.numel()
        return flat[:split].view(self.head.shape), flat[split:].view(self.S.shape)

    def _forms(self, head: Float[Tensor, "2 k e"], S: Float[Tensor, "2 N k"]) -> Float[Tensor, "2 G f k"]:
        """F of every group."""
        k, shape = head.shape[1], (2, self.groups, self.size, -1)
        images = self.X @ head[:, :, 1:].reshape(2 * k, -1).T
        P = S - images.view(-1, 2, k).transpose(0, 1)
        alpha = head[:, None, None, :, 0].expand(-1, self.groups, -1, -1)
        return torch.cat([alpha, S.view(shape), P.reshape(shape)], 2)

    def _moved(self, F: Float[Tensor, "2 G f k"]) -> Float[Tensor, "2 G f f"]:
        """Λ': what a step of the penalty's size makes of the multipliers."""
        flat = F.flatten(0, 1)
        M = torch.baddbmm(self.multipliers.flatten(0, 1), flat, flat.mT, alpha=-self.penalty)
        M = M.view(self.multipliers.shape)
        s, p = 1 + torch.arange(self.size), 1 + self.size + torch.arange(self.size)
        equal = M[..., s, p]
        M = M.clamp_(min=0)
        M.diagonal(dim1=-2, dim2=-1).zero_()
        M[..., s, p] = M[..., p, s] = equal
        return M

    def _fit(self, F: Float[Tensor, "2 G f k"]) -> Float[Tensor, " N"]:
        """f = S⁺ − S⁻ of the forms' moments."""
        heights = (F[:, :, 1 : 1 + self.size] @ F[:, :, 0, :, None])[..., 0].reshape(2, -1)
        return self.norms * (heights[0] - heights[1])

    def _losses(self, f: Float[Tensor, " N"]) -> float:
        return float(self.kappa @ self.loss.value(f, self.y))

    def _dual_point(self, f: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
        return -self.kappa * self.loss.gradient(f, self.y)

    def lagrangian(
        self, head: Float[Tensor, "2 k e"], S: Float[Tensor, "2 N k"], constant: float
    ) -> tuple[float, Float[Tensor, "2 k e"], Float[Tensor, "2 N k"]]:
        """The augmented Lagrangian and its gradients; ``constant`` is the square of the multipliers' norm."""
        g = self.size
        F = self._forms(head, S)
        M, f = self._moved(F), self._fit(F)
        value, z = self._losses(f) + 0.5 * self.beta * float(head.square().sum()), self._dual_point(f)
        value += (float(M.square().sum()) - constant) / (4 * self.penalty)
        pull = (self.norms * z).view(1, -1, g) * z.new_tensor([1.0, -1.0])[:, None, None]
        M[:, :, 0, 1 : 1 + g] += pull
        M[:, :, 1 : 1 + g, 0] += pull
        by_F = -torch.bmm(M.flatten(0, 1), F.flatten(0, 1)).view(F.shape)
        by_P = by_F[:, :, 1 + g :].reshape(S.shape)
        by_head = self.beta * head
        by_head[:, :, 0] += by_F[:, :, 0].sum(1)
        by_head[:, :, 1:] -= (torch.cat([*by_P], 1).T @ self.X).view(2, head.shape[1], -1)
        return value, by_head, by_F[:, :, 1 : 1 + g].reshape(S.shape) + by_P


def _joined(head: Tensor, S: Tensor) -> Float[np.ndarray, " q"]:
    return torch.cat([head.reshape(-1), S.reshape(-1)]).cpu().numpy()
