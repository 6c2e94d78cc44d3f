"""Second-order cones s_0 ≥ ‖(s_1, …)‖ of many vectors at once: what an interior point method asks of them.

With ∘ the product of their Jordan algebra, u∘v = (uᵀv, u_0 v̄ + v_0 ū), and J = diag(1, −1, …) (Nesterov & Todd 1997;
the formulas as in Vandenberghe, *The CVXOPT linear and quadratic cone program solvers*, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def determinant(s: Float[Tensor, "... e"]) -> Float[Tensor, ...]:
    """s_0² − ‖s̄‖²."""
    return s[..., 0] ** 2 - s[..., 1:].square().sum(-1)


def reflected(s: Float[Tensor, "... e"]) -> Float[Tensor, "... e"]:
    """Js."""
    return torch.cat([s[..., :1], -s[..., 1:]], -1)


def inverse(s: Float[Tensor, "... e"]) -> Float[Tensor, "... e"]:
    """s⁻¹, sᵀs⁻¹ = 1: half the gradient of −log det, negated."""
    return reflected(s) / determinant(s)[..., None]


def inside(s: Float[Tensor, "... e"], room: float) -> Float[Tensor, "... e"]:
    """s with its first entry raised to 1.2‖s̄‖ + room, where it is below."""
    least = 1.2 * s[..., 1:].norm(dim=-1) + room
    return torch.cat([torch.maximum(s[..., 0], least)[..., None], s[..., 1:]], -1)


def reach(s: Float[Tensor, "... e"], step: Float[Tensor, "... e"], where: Bool[Tensor, ...]) -> float:
    """The largest a for which all s + a·step with ``where`` are in their cones; inf where there is none."""
    square, mixed = determinant(step), s[..., 0] * step[..., 0] - (s[..., 1:] * step[..., 1:]).sum(-1)
    whole = determinant(s)
    denominator = (mixed * mixed - square * whole).clamp(min=0).sqrt() - mixed
    most = torch.where(denominator > 0, whole / denominator, torch.inf)
    most = torch.where(step[..., 0] < 0, torch.minimum(most, -s[..., 0] / step[..., 0]), most)
    return float(torch.where(where, most, torch.inf).min()) if most.numel() else float("inf")


@dataclass(frozen=True, eq=False)
class Scaling:
    """Nesterov and Todd's W = b(2vvᵀ − J) with Wd = W⁻¹s of primal s and dual d.

    Attributes
    ----------
    v, b : of W. ``metric`` : W⁻², which maps steps of s to those of d.
    """

    v: Float[Tensor, "... e"]
    b: Float[Tensor, "... 1"]
    metric: Float[Tensor, "... e e"]

    @classmethod
    def of(cls, s: Float[Tensor, "... e"], d: Float[Tensor, "... e"]) -> Scaling:
        """That of two vectors inside of their cones."""
        of_s, of_d = determinant(s), determinant(d)
        unit_s, unit_d = s / of_s.sqrt()[..., None], d / of_d.sqrt()[..., None]
        half = ((1 + (unit_s * unit_d).sum(-1, keepdim=True)) / 2).sqrt()
        w = (unit_s + reflected(unit_d)) / (2 * half)
        one = torch.zeros_like(w)
        one[..., 0] = 1.0
        v, size, Jw = (w + one) / (2 * (w[..., :1] + 1)).sqrt(), (of_d / of_s).sqrt()[..., None], reflected(w)
        J = torch.diag(reflected(w.new_ones(w.shape[-1])))
        metric = 2 * Jw[..., :, None] * Jw[..., None, :] - J
        return cls(v, size.rsqrt(), size[..., None] * metric)

    def forth(self, d: Float[Tensor, "... e"]) -> Float[Tensor, "... e"]:
        """Wd."""
        return self.b * (2 * self.v * (self.v * d).sum(-1, keepdim=True) - reflected(d))

    def back(self, s: Float[Tensor, "... e"]) -> Float[Tensor, "... e"]:
        """W⁻¹s."""
        Jv = reflected(self.v)
        return (2 * Jv * (Jv * s).sum(-1, keepdim=True) - reflected(s)) / self.b

    def corrector(
        self, s: Float[Tensor, "... e"], step_s: Float[Tensor, "... e"], step_d: Float[Tensor, "... e"]
    ) -> Float[Tensor, "... e"]:
        """−W⁻¹(λ \\ (W⁻¹Δs ∘ WΔd)): what the steps' product adds to the equation of d (Mehrotra)."""
        at, p, q = self.back(s), self.back(step_s), self.forth(step_d)
        first, rest = (p * q).sum(-1, keepdim=True), p[..., :1] * q[..., 1:] + q[..., :1] * p[..., 1:]
        top = (at[..., :1] * first - (at[..., 1:] * rest).sum(-1, keepdim=True)) / determinant(at)[..., None]
        return -self.back(torch.cat([top, (rest - top * at[..., 1:]) / at[..., :1]], -1))
