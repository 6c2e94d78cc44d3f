r"""The generalised Newton system (W⁻¹ + σ Σ_b D X J_b Xᵀ D) δ = −g of the augmented Lagrangian, W⁻¹ = h''.

With S = W^½ and v = S⁻¹δ it is (I + σ Σ_b SD X J_b XᵀDS) v = −Sg: that of the rows SX. Samples with w = 0 do not move.

For an active block with p = proj(W), s = σβ/‖p‖ and Π the projector on the linear span of its face,
J_b = Π((1 − s)I + s p̂p̂ᵀ)Π. Two structures make it cheap, and the n × dP design is never formed:

- a face of small dimension gives few columns D X Π^½(…): with K < n columns in all, Woodbury's identity needs a
  K × K factor only;
- Π = I (no cones) gives D_iXXᵀD_i = (XXᵀ) ∘ (D_i 1 1ᵀ D_i), so Σ_b a_b D_bXXᵀD_b = (XXᵀ) ∘ (S diag(a) Sᵀ): one
  product of n × P matrices instead of d times that; faces near to full dimension are handled as I − (I − Π).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluopt.solvers.native.conjugate import Direction
from reluopt.solvers.native.instance import Instance

#: The n × n matrix is made in about this many parts, of at least so many rows.
PARTS, ROWS_AT_A_TIME = 8, 128
#: Shifts of the diagonal, relative to its largest entry, until the matrix is positive definite in floating point.
DIAGONAL_SHIFTS = (0.0, 1e-13, 1e-10, 1e-7)


class NewtonSystem:
    """The Newton system at the active blocks (``blocks``, with projections ``points`` (b, d)), (1 + μ)W⁻¹ for W⁻¹.

    ``weight`` is w (n,), None for 1. The damping μ shortens steps in the directions that Ψ hardly bends in, and leaves
    the others.
    """

    def __init__(
        self,
        instance: Instance,
        sigma: float,
        blocks: Int[Tensor, " b"],
        points: Float[Tensor, "b d"],
        weight: Float[Tensor, " n"] | None = None,
        damping: float = 0.0,
    ) -> None:
        self.instance, self.blocks = instance, blocks
        self.root = None if weight is None else weight.sqrt()
        # (1 + μ)I + σ… = (1 + μ)(I + σ/(1 + μ)…)
        self.identity, self.sigma = 1.0 + damping, sigma / (1.0 + damping)
        norms = points.norm(dim=1)
        self.unit = points / norms[:, None]
        self.shrink = (sigma * instance.beta / norms).clamp(0.0, 1.0)
        n, d = instance.X.shape
        if instance.faces is None:
            self.free = torch.full_like(blocks, d)
        else:
            self.free = d - instance.faces.active[blocks].sum(dim=1)
        self.wide = self.free * 2 > d + 1
        # all faces as columns if these are fewer than the samples
        self.small = int(self.free.sum()) < n
        if self.small:
            self.wide = torch.zeros_like(self.wide)

    def solve(self, gradient: Float[Tensor, " n"]) -> Direction:
        """δ, by one Cholesky factorisation; zero where none succeeds. In f it is −W⁻¹δ."""
        if self.root is None:
            step = self._solve(gradient)
            return Direction(step, None)
        step = self._solve(self.root * gradient)
        return Direction(self.root * step, -step / self.root.where(self.root > 0, torch.ones_like(self.root)))

    def _solve(self, gradient: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        narrow = self._narrow_columns()
        if self.small:
            return -_woodbury(narrow, gradient / self.identity)
        for shift in DIAGONAL_SHIFTS:  # rounding can cost definiteness; a shifted step still descends
            H = self._full_matrix(narrow)
            H.diagonal().add_(shift * float(H.diagonal().max()))
            info = torch.empty((), dtype=torch.int32, device=H.device)
            torch.linalg.cholesky_ex(H, out=(H, info))
            if int(info) == 0:
                return -torch.cholesky_solve(gradient[:, None] / self.identity, H)[:, 0]
        return torch.zeros_like(gradient)

    def _narrow_columns(self) -> Float[Tensor, "n c"]:
        """√σ D X N(√(1−s) I + (1−√(1−s)) vvᵀ) with N a basis of the face, Nv = p̂."""
        which = (~self.wide).nonzero()[:, 0]
        if len(which) == 0:
            return self.unit.new_zeros(len(self.instance.X), 0)
        basis, owner = self._bases(which)
        owner = which[owner]
        root = (1.0 - self.shrink).sqrt()[owner]
        along = (basis * self.unit[owner]).sum(dim=1)
        vectors = root[:, None] * basis + ((1.0 - root) * along)[:, None] * self.unit[owner]
        return self._columns(vectors * self.sigma**0.5, self.blocks[owner])

    def _columns(self, vectors: Float[Tensor, "c d"], blocks: Int[Tensor, " c"]) -> Float[Tensor, "n c"]:
        """± S D_i X v."""
        columns = self.instance.columns(vectors, blocks)
        return columns if self.root is None else columns.mul_(self.root[:, None])

    def _bases(self, which: Tensor) -> tuple[Tensor, Tensor]:
        if self.instance.faces is not None:
            return self.instance.faces.null_basis(self.blocks[which])
        d = self.instance.X.shape[1]
        eye = torch.eye(d, dtype=self.unit.dtype, device=self.unit.device)
        owner = torch.arange(len(which), device=self.unit.device).repeat_interleave(d)
        return eye.repeat(len(which), 1), owner

    def _full_matrix(self, narrow: Tensor) -> Float[Tensor, "n n"]:
        """I + σ Σ D X J Xᵀ D as an n × n matrix; its lower triangle, a few rows at a time."""
        instance, wide = self.instance, self.wide.nonzero()[:, 0]
        X, blocks = instance.X, self.blocks[wide]
        X = X if self.root is None else self.root[:, None] * X
        masks = instance.masks[instance.pattern_of[blocks]]
        weight = self.sigma * (1.0 - self.shrink[wide])
        along = self._columns(self.unit[wide] * (self.sigma * self.shrink[wide]).sqrt()[:, None], blocks)
        positive = torch.cat([narrow, along], dim=1)
        negative = positive[:, :0]
        if instance.faces is not None:
            span, owner = instance.faces.span_basis(blocks)
            negative = self._columns(span * weight.sqrt()[owner][:, None], blocks[owner])
        H = X.new_zeros(len(X), len(X))
        for rows in torch.arange(len(X), device=X.device).split(max(ROWS_AT_A_TIME, len(X) // PARTS)):
            start, end = int(rows[0]), int(rows[-1]) + 1
            part = (masks[:, start:end].T * weight) @ masks[:, :end]
            part *= X[start:end] @ X[:end].T
            part.addmm_(positive[start:end], positive[:end].T)
            if negative.shape[1]:
                part.addmm_(negative[start:end], negative[:end].T, alpha=-1.0)
            if end - start == len(X):
                H = part
            else:
                H[start:end, :end] = part
        H.diagonal().add_(1.0)
        return H


def _woodbury(C: Float[Tensor, "n c"], g: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """(I + CCᵀ)⁻¹ g = g − C (I + CᵀC)⁻¹ Cᵀ g."""
    if C.shape[1] == 0:
        return g
    gram = C.T @ C
    gram.diagonal().add_(1.0)
    L = torch.linalg.cholesky(gram)
    x = g - C @ torch.cholesky_solve((C.T @ g)[:, None], L)[:, 0]
    # once more: with σ large the first answer has lost digits
    residual = g - x - C @ (C.T @ x)
    return x + residual - C @ torch.cholesky_solve((C.T @ residual)[:, None], L)[:, 0]
