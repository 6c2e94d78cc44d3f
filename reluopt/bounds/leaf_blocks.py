"""The matrices [[Y, F], [·, xᵀf]], F = (e, f), of samples that rise in a leaf, many at once, and their inverses."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def blocks(Y: Float[Tensor, "r e e"], F: Float[Tensor, "r e"], x: Float[Tensor, "r e"]) -> Float[Tensor, "r c c"]:
    """[[Y, F], [·, xᵀf]]."""
    top = torch.cat([Y, F[..., None]], -1)
    last = torch.cat([F, (F * x).sum(-1, keepdim=True)], -1)
    return torch.cat([top, last[:, None]], 1)


def bordered(
    inverse_Y: Float[Tensor, "r e e"], F: Float[Tensor, "r e"], x: Float[Tensor, "r e"], e: int
) -> tuple[Float[Tensor, "r c c"], Float[Tensor, " r"]]:
    """The inverses of the matrices and their Schur complements xᵀf − FᵀY⁻¹F, from the inverses of Y (e, e)."""
    b = (inverse_Y @ F[..., None])[..., 0]
    c = (F * x).sum(-1) - (F * b).sum(-1)
    R = F.new_empty(len(F), e + 1, e + 1)
    R[:, :e, :e] = inverse_Y + b[:, :, None] * b[:, None] / c[:, None, None]
    R[:, :e, e] = R[:, e, :e] = -b / c[:, None]
    R[:, e, e] = 1 / c
    return R, c
