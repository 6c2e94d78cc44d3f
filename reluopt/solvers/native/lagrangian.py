r"""The augmented Lagrangian of the dual at a point z, its gradient, and the bracket that comes with it.

With multipliers U (the primal blocks) and penalty σ, for blocks b with correlations g_b = ±XᵀD z,
    Ψ(z) = h(z) + (1/2σ) Σ_b (‖p_b‖ − σβ)₊²,   p_b = proj_{K_b}(U_b + σ g_b),   h of :mod:`conjugate`,
    ∇Ψ(z) = f(U⁺) − f(z),   f(z) = −∇h(z),   U⁺_b = (1 − σβ/‖p_b‖)₊ p_b.
U⁺ is primal feasible. p_b = U_b + σg_b + Aᵀλ with λ ≥ 0 gives ‖g_b + Aᵀλ/σ‖ = ‖p_b − U_b‖/σ, a proved bound of the
dual norm of every block: each evaluation brackets the optimum at no further cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluopt.solvers.native.conjugate import Point
from reluopt.solvers.native.instance import Instance


@dataclass(eq=False)
class Evaluation:
    """Ψ at a point. ``blocks`` are those with U⁺ ≠ 0, ``points`` their p, ``new`` their U⁺.

    ``value`` is the program's at U⁺, ``dual`` the best dual value of a feasible multiple of ``z``, the point
    brought into the domain.
    """

    at: Point
    z: Float[Tensor, " n"]
    psi: float
    gradient: Float[Tensor, " n"]
    blocks: Int[Tensor, " b"]
    points: Float[Tensor, "b d"]
    new: Float[Tensor, "b d"]
    value: float
    dual: float
    exact: bool


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
        self._every = torch.arange(m, device=self.U.device)
        self._exact = torch.ones_like(self._every, dtype=torch.bool)

    def evaluate(self, at: Point) -> Evaluation:
        """Ψ with everything that a step needs. Blocks that cannot be active are not projected."""
        instance, sigma, beta = self.instance, self.sigma, self.instance.beta
        g = instance.correlations(at.z)
        busy, points, exact, bound = self._all_points(g) if instance.faces is None else self._projected(g)
        lengths = points.norm(dim=1)
        on = lengths > sigma * beta
        blocks, points, lengths = busy[on], points[on], lengths[on]
        excess = lengths - sigma * beta
        new = points * (excess / lengths)[:, None]
        f = instance.fit(new, blocks)
        conjugate = instance.conjugate
        z = conjugate.inside(at.z)
        if z is not at.z:  # the same λ prove the norms there, but for the change of the correlations
            bound = bound + instance.correlations(z - at.z).norm(dim=1)
        dual, largest = conjugate.dual(z), float(bound.max())
        return Evaluation(
            at=at,
            z=z,
            psi=conjugate.value(at, dual) + float(excess @ excess) / (2 * sigma),
            gradient=f - at.f,
            blocks=blocks,
            points=points,
            new=new,
            value=conjugate.primal(f) + beta * float(excess.sum()),
            dual=conjugate.best_dual(z, dual, beta / largest if largest > 0 else math.inf),
            exact=bool(exact[on].all()),
        )

    def _all_points(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(blocks, their p, which are exact, bounds of all dual norms) without cones."""
        return self._every, self.U + self.sigma * g, self._exact, g.norm(dim=1)

    def _projected(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same with cones, for the blocks that can be active: others are not projected."""
        faces, sigma = self.instance.faces, self.sigma
        assert faces is not None
        bound = self.known + (g - self.seen).norm(dim=1)
        idle = (bound <= self.instance.beta) & (self.U == 0).all(dim=1)
        busy = (~idle).nonzero()[:, 0]
        faces.rescale(busy, sigma / self.scale[busy])
        points, exact = faces.project(
            self.U[busy] + sigma * g[busy], busy, enough=sigma * self.instance.beta, stop=self.stop
        )
        self.seen[busy] = g[busy]
        self.known[busy] = (points - self.U[busy]).norm(dim=1) / sigma
        self.scale[busy] = sigma
        bound[busy] = self.known[busy]
        return busy, points, exact, bound

    def step_multipliers(self, at: Evaluation) -> None:
        """U ← U⁺."""
        self.U = torch.zeros_like(self.U).index_copy_(0, at.blocks, at.new)
