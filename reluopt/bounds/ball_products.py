r"""Products with the ball in the augmented Lagrangian: second-order cones of moments, and their multipliers.

For the forms F_i = s_i and s_i − x_iᵀu of a sample and a neuron with ‖u‖ = α, F_i(α, u) is in the second-order cone,
and so is its sum over the neurons. With multipliers Λ_i = (κ_i, −k_i) of that cone and ω of E[α²] = E[‖u‖²],

.. math:: (Σ_i ‖Λ_i'‖² − ‖Λ_i‖²)/2ρ + (ω'² − ω²)/2ρ,\quad Λ_i' = proj(Λ_i − ρE[F_i(α, Vu)]),\; ω' = ω − ρE[α² − ‖u‖²],

is added to the Lagrangian; V (``span``) has orthonormal rows. Where the last entry of u is a free bias b̃, |b̃| ≤ α, the
last row of V is its own, the cone is κ ≥ ‖k_u‖ + |k_b|, and E[α²] = E[‖u‖²] is without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(eq=False)
class BallProducts:
    """Multipliers of both signs.

    Attributes
    ----------
    span : (signs, i, d), orthonormal rows of each sign.
    cones : (signs, groups, 2g, 1 + i), Λ of the s of a group and of its s − Xu.
    tilt : (signs,) ω.
    biased : whether the last entry of u is a free bias.
    """

    span: Float[Tensor, "q i d"]
    cones: Float[Tensor, "q G f c"]
    tilt: Float[Tensor, " q"]
    biased: bool = False

    @property
    def on_u(self) -> slice:
        """Where ‖u‖ is among the entries of the head."""
        return slice(1, -1) if self.biased else slice(1, None)

    def of_sign(self, number: int) -> tuple[Float[Tensor, "i d"], Float[Tensor, "G f c"], float]:
        """V, Λ and ω of one sign."""
        return self.span[number], self.cones[number], float(self.tilt[number])

    def _seen(self, head: Float[Tensor, "q e k"]) -> Float[Tensor, "q c k"]:
        """(α, Vu)."""
        return torch.cat([head[:, :1], self.span @ head[:, 1:]], 1)

    def _moved(
        self, F: Float[Tensor, "q G f k"], head: Float[Tensor, "q e k"], penalty: float
    ) -> tuple[Float[Tensor, "q G f c"], Float[Tensor, " q"]]:
        """Λ' and ω'."""
        moments = (F.flatten(1, 2) @ self._seen(head).mT).view(self.cones.shape)
        balance = head[:, 0].square().sum(1) - head[:, self.on_u].square().sum((1, 2))
        project = projected_with_bias if self.biased else projected
        return project(self.cones - penalty * moments), self.tilt - penalty * balance

    def move(self, F: Float[Tensor, "q G f k"], head: Float[Tensor, "q e k"], penalty: float) -> None:
        """A step of the method of multipliers."""
        self.cones, self.tilt = self._moved(F, head, penalty)

    def lagrangian(
        self, F: Float[Tensor, "q G f k"], head: Float[Tensor, "q e k"], penalty: float
    ) -> tuple[float, Float[Tensor, "q G f k"], Float[Tensor, "q e k"]]:
        """What is added to the Lagrangian, and its gradients by F and by the head."""
        cones, tilt = self._moved(F, head, penalty)
        squares = cones.square().sum() - self.cones.square().sum() + tilt.square().sum() - self.tilt.square().sum()
        by_F = -(cones.flatten(1, 2) @ self._seen(head)).view(F.shape)
        by_seen = -(cones.flatten(1, 2).mT @ F.flatten(1, 2))
        by_head = torch.cat([by_seen[:, :1], self.span.mT @ by_seen[:, 1:]], 1)
        by_head[:, :1] -= 2 * tilt[:, None, None] * head[:, :1]
        by_head[:, self.on_u] += 2 * tilt[:, None, None] * head[:, self.on_u]
        return float(squares) / (2 * penalty), by_F, by_head

    def join(self, g: int) -> None:
        """Every two neighbouring groups of g samples become one."""
        q, _, _, c = self.cones.shape
        self.cones = self.cones.view(q, -1, 2, 2, g, c).transpose(2, 3).reshape(q, -1, 4 * g, c)


def projected(Z: Float[Tensor, "... c"]) -> Float[Tensor, "... c"]:
    """The projection on the second-order cone: the first entry is at least the norm of the others."""
    t, x = Z[..., :1], Z[..., 1:]
    size = x.norm(dim=-1, keepdim=True)
    top = torch.where(size <= t, t, (0.5 * (t + size)).clamp(min=0.0))
    return torch.cat([top, x * (top.clamp(max=size) / size.clamp(min=1e-300))], -1)


def projected_with_bias(Z: Float[Tensor, "... c"]) -> Float[Tensor, "... c"]:
    """The projection on the cone where the first entry is at least ‖x‖ + |y|, y the last entry and x those between.

    ‖x‖ and |y| both fall by θ, which the first entry gains, but not below 0.
    """
    t, x, y = Z[..., :1], Z[..., 1:-1], Z[..., -1:]
    a, b = x.norm(dim=-1, keepdim=True), y.abs()
    both, one = (a + b - t) / 3.0, 0.5 * (torch.maximum(a, b) - t)
    theta = torch.where(both <= torch.minimum(a, b), both, one).clamp(min=0.0)
    shrunk = ((a - theta).clamp(min=0.0), (b - theta).clamp(min=0.0))
    top = torch.where(theta > 0, shrunk[0] + shrunk[1], t)
    parts = [part * (now / size.clamp(min=1e-300)) for part, now, size in zip((x, y), shrunk, (a, b), strict=True)]
    return torch.cat([top, *parts], -1)
