r"""Products with the ball in the augmented Lagrangian: second-order cones of moments, and their multipliers.

For the forms F_i = s_i and s_i − x_iᵀu of a sample and a neuron with ‖u‖ = α, F_i(α, u) is in the second-order cone,
and so is its sum over the neurons. With multipliers Λ_i = (κ_i, −k_i) of that cone and ω of E[α²] = E[‖u‖²],

.. math:: (Σ_i ‖Λ_i'‖² − ‖Λ_i‖²)/2ρ + (ω'² − ω²)/2ρ,\quad Λ_i' = proj(Λ_i − ρE[F_i(α, Vu)]),\; ω' = ω − ρE[α² − ‖u‖²],

is added to the Lagrangian; V (``span``) has orthonormal rows. Where the last entry of u is a free bias b̃, |b̃| ≤ α, the
last row of V is its own, the cone is κ ≥ ‖k_u‖ + |k_b|, and E[α²] = E[‖u‖²] is without it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class BallProducts:
    """Multipliers of both signs, of the few forms whose moments are at the edge of their cone.

    Parameters
    ----------
    span : (signs, i, d), orthonormal rows of each sign.
    cones : (signs, 2 slots, 1 + i), Λ of every s and of every s − Xu.
    tilt : (signs,) ω.
    biased : whether the last entry of u is a free bias.
    """

    def __init__(
        self, span: Float[Tensor, "q i d"], cones: Float[Tensor, "q h c"], tilt: Float[Tensor, " q"], biased: bool
    ) -> None:
        self.span, self.tilt, self.biased = span, tilt, biased
        self.shape = cones.shape[:2]
        self._list(cones, torch.ones_like(cones[..., 0], dtype=torch.bool))

    def _list(self, cones: Float[Tensor, "q h c"], listed: Bool[Tensor, "q h"]) -> None:
        """Keep only these forms."""
        self._listed, self._counts = torch.nonzero(listed.flatten())[:, 0], listed.sum(1).tolist()
        #: The multipliers of what is listed, one sign after the other, and their places among all forms, α first.
        self.cones = cones.flatten(0, 1)[self._listed]
        self.places = self._listed + self._listed // self.shape[1] + 1

    @property
    def on_u(self) -> slice:
        """Where ‖u‖ is among the entries of the head."""
        return slice(1, -1) if self.biased else slice(1, None)

    def all_cones(self) -> Float[Tensor, "q h c"]:
        """Λ of all forms, also of those that are not listed, 0."""
        found = self.cones.new_zeros(self.shape[0] * self.shape[1], self.cones.shape[1])
        found[self._listed] = self.cones
        return found.view(*self.shape, -1)

    def _seen(self, head: Float[Tensor, "q e k"]) -> Float[Tensor, "q c k"]:
        """(α, Vu)."""
        return torch.cat([head[:, :1], self.span @ head[:, 1:]], 1)

    def _moved(
        self, F: Float[Tensor, "r k"], seen: Float[Tensor, "q c k"], balance: Float[Tensor, " q"], penalty: float
    ) -> tuple[Float[Tensor, "m c"], Float[Tensor, " q"]]:
        """Λ' and ω' of the listed forms."""
        listed = F[self.places].split(self._counts)
        moments = torch.cat([f @ own.mT for f, own in zip(listed, seen, strict=True)])
        project = projected_with_bias if self.biased else projected
        return project(self.cones - penalty * moments), self.tilt - penalty * balance

    def _balance(self, head: Float[Tensor, "q e k"]) -> Float[Tensor, " q"]:
        """E[α²] − E[‖u‖²]."""
        return head[:, 0].square().sum(1) - head[:, self.on_u].square().sum((1, 2))

    def move(self, F: Float[Tensor, "q f k"], head: Float[Tensor, "q e k"], penalty: float) -> None:
        """A step of the method of multipliers; then all forms are looked at for those that are to be listed."""
        seen = self._seen(head)
        self.cones, self.tilt = self._moved(F.flatten(0, 1), seen, self._balance(head), penalty)
        moments, cones = F[:, 1:] @ seen.mT, self.all_cones()
        reach = moments[..., 1:]
        size = reach[..., :-1].norm(dim=-1) + reach[..., -1].abs() if self.biased else reach.norm(dim=-1)
        self._list(cones, (cones[..., 0] > 0) | (size > moments[..., 0]))

    def lagrangian(
        self, F: Float[Tensor, "r k"], head: Float[Tensor, "q e k"], penalty: float
    ) -> tuple[float, Float[Tensor, "m k"], Float[Tensor, "q e k"]]:
        """What is added to the Lagrangian, and its gradients by the forms at ``places`` and by the head."""
        seen = self._seen(head)
        cones, tilt = self._moved(F, seen, self._balance(head), penalty)
        squares = cones.square().sum() - self.cones.square().sum() + tilt.square().sum() - self.tilt.square().sum()
        parts = list(zip(cones.split(self._counts), F[self.places].split(self._counts), seen, strict=True))
        by_F = -torch.cat([own @ of_head for own, _, of_head in parts])
        by_seen = -torch.stack([own.mT @ f for own, f, _ in parts])
        by_head = torch.cat([by_seen[:, :1], self.span.mT @ by_seen[:, 1:]], 1)
        by_head[:, :1] -= 2 * tilt[:, None, None] * head[:, :1]
        by_head[:, self.on_u] += 2 * tilt[:, None, None] * head[:, self.on_u]
        return float(squares) / (2 * penalty), by_F, by_head


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
