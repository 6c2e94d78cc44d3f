r"""The augmented Lagrangian of the dual at a point z, its gradient, and the bracket that comes with it.

With multipliers U (the primal blocks) and penalty σ, for blocks b with correlations g_b = ±XᵀD z,
    Ψ(z) = ½‖z‖² − yᵀz + (1/2σ) Σ_b (‖p_b‖ − σβ)₊²,   p_b = proj_{K_b}(U_b + σ g_b),
    ∇Ψ(z) = z − (y − f(U⁺)),   U⁺_b = (1 − σβ/‖p_b‖)₊ p_b.
U⁺ is primal feasible. p_b = U_b + σg_b + Aᵀλ with λ ≥ 0 gives ‖g_b + Aᵀλ/σ‖ = ‖p_b − U_b‖/σ, a proved bound of the
dual norm of every block: each evaluation brackets the optimum at no further cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reluopt.solvers.native.instance import Instance


@dataclass(eq=False)
class Evaluation:
    """Ψ at z. ``blocks`` are those with U⁺ ≠ 0, ``points`` their p, ``new`` their U⁺."""

    z: Float[Tensor, " n"]
    psi: float
    gradient: Float[Tensor, " n"]
    residual: Float[Tensor, " n"]
    blocks: Int[Tensor, " b"]
    points: Float[Tensor, "b d"]
    new: Float[Tensor, "b d"]
    value: float
    bound: float
    exact: bool

    def dual_value(self, y: Float[Tensor, " n"], beta: float) -> float:
        """t yᵀz − ½t²‖z‖² with the feasible scaling t of z."""
        yz, zz = float(y @ self.z), float(self.z @ self.z)
        if zz == 0.0 or yz <= 0.0:
            return 0.0
        t = min(yz / zz, beta / self.bound) if self.bound > 0 else yz / zz
        return t * yz - 0.5 * t * t * zz


class Lagrangian:
    """Ψ for one program; remembers faces and dual norms from one evaluation to the next.

    Attributes
    ----------
    U : (m, d) multipliers, ``sigma`` : σ.
    """

    def __init__(self, instance: Instance, stop: Callable[[], bool]) -> None:
        self.instance, self.stop = instance, stop
        m, d = len(instance.sign), instance.X.shape[1]
        self.U = instance.X.new_zeros(m, d)
        self.sigma = 1.0
        # ‖g + Aᵀ(weights/scale)‖ ≤ known at the correlations ``seen``
        self.seen = instance.X.new_zeros(m, d)
        self.known = instance.X.new_zeros(m)
        self.scale = instance.X.new_ones(m)
        self.evaluations = 0

    def evaluate(self, z: Float[Tensor, " n"]) -> Evaluation:
        """Ψ(z) with everything that a step needs. Blocks that cannot be active are not projected."""
        instance, sigma, beta = self.instance, self.sigma, self.instance.beta
        self.evaluations += 1
        g = instance.correlations(z)
        bound = self.known + (g - self.seen).norm(dim=1)
        idle = (bound <= beta) & (self.U == 0).all(dim=1)
        busy = (~idle).nonzero()[:, 0]
        points, exact = self._project(busy, g)
        lengths = points.norm(dim=1)
        self.seen[busy] = g[busy]
        self.known[busy] = (points - self.U[busy]).norm(dim=1) / sigma
        self.scale[busy] = sigma
        bound[busy] = self.known[busy]
        on = lengths > sigma * beta
        blocks, points, lengths = busy[on], points[on], lengths[on]
        excess = lengths - sigma * beta
        new = points * (excess / lengths)[:, None]
        residual = instance.y - instance.fit(new, blocks)
        return Evaluation(
            z=z,
            psi=float(0.5 * z @ z - instance.y @ z + (excess @ excess) / (2 * sigma)),
            gradient=z - residual,
            residual=residual,
            blocks=blocks,
            points=points,
            new=new,
            value=float(0.5 * residual @ residual + beta * excess.sum()),
            bound=float(bound.max()),
            exact=bool(exact[on].all()),
        )

    def _project(self, busy: Tensor, g: Tensor) -> tuple[Float[Tensor, "b d"], Bool[Tensor, " b"]]:
        W = self.U[busy] + self.sigma * g[busy]
        faces = self.instance.faces
        if faces is None:
            return W, torch.ones_like(busy, dtype=torch.bool)
        faces.rescale(busy, self.sigma / self.scale[busy])
        self.scale[busy] = self.sigma
        return faces.project(W, busy, enough=self.sigma * self.instance.beta, stop=self.stop)

    def step_multipliers(self, at: Evaluation) -> None:
        """U ← U⁺."""
        self.U = torch.zeros_like(self.U).index_copy_(0, at.blocks, at.new)

    def change(self, at: Evaluation) -> float:
        """‖U⁺ − U‖."""
        U = torch.zeros_like(self.U).index_copy_(0, at.blocks, at.new)
        return float((U - self.U).norm())
