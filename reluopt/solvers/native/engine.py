r"""Semismooth Newton augmented Lagrangian (SSNAL) on the dual, with a bracket of the optimum at every step.

Outer: U ← U⁺, σ ← growth·σ (a proximal point step on the primal). Inner: Newton steps with line search on Ψ.
Source of the method for the group lasso: Zhang, Zhang, Sun & Toh, Math. Program. 179 (2020); the exact cone
projections inside of the proximal map, and the bracket they give, are this project's.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.solvers.native.instance import Instance
from reluopt.solvers.native.lagrangian import Evaluation, Lagrangian
from reluopt.solvers.native.newton import NewtonSystem
from reluopt.solvers.solution import Status

log = logging.getLogger(__name__)

#: First penalty, in natural units, for a cold start and for a warm one; its growth; its largest value.
SIGMA, WARM_SIGMA, GROWTH, SIGMA_MAX = 3.0, 30.0, 2.5, 1e12
#: Newton ends when ½‖∇Ψ‖² is at most this times the gap.
PRECISION = 0.1
#: Steps below SHORT raise the damping of Newton's matrix by the factor DAMPING, full ones lower it.
SHORT, DAMPING = 0.1, 4.0
#: Newton steps in a row that rounding may spoil before the solver gives up.
PATIENCE = 10


@dataclass(eq=False)
class Bracket:
    """The best feasible blocks and the best dual point so far, in natural units."""

    value: float
    blocks: Float[Tensor, "m d"]
    dual: float = -math.inf
    z: Float[Tensor, " n"] | None = None
    weights: Float[Tensor, "m r"] | None = None
    rows: Tensor | None = None

    @property
    def gap(self) -> float:
        """(value − dual)/|value|."""
        return (self.value - self.dual) / max(abs(self.value), 1e-300)


class Engine:
    """One program's solver state: multipliers, penalty, faces, bracket. ``run`` may be called again at another β."""

    def __init__(self, instance: Instance, deadline: float) -> None:
        self.instance, self.deadline = instance, deadline
        self.lagrangian = Lagrangian(instance, self.late)
        self.steps, self.damping = 0, 0.0
        self.z: Tensor | None = None
        self.behind: tuple[float, Tensor, Tensor] | None = None
        self.bracket = self._zero_bracket()

    def late(self) -> bool:
        """Whether time is over."""
        return time.perf_counter() >= self.deadline

    def _zero_bracket(self) -> Bracket:
        y = self.instance.y
        return Bracket(0.5 * float(y @ y), torch.zeros_like(self.lagrangian.U))

    def warm(self, U: Float[Tensor, "m d"], z: Float[Tensor, " n"] | None) -> None:
        """Start from blocks (any), and a dual point where there is one."""
        blocks = (U != 0).any(dim=1).nonzero()[:, 0]
        self.lagrangian.U = U
        self.z = self.instance.y - self.instance.fit(U[blocks], blocks) if z is None else z
        if self.instance.faces is not None:
            self.instance.faces.seed(blocks, U[blocks])

    def move(self, beta: float, deadline: float | None) -> None:
        """To another β (in the program's units) and deadline; everything that was learnt is kept.

        Along a path U and z are nearly linear in β: from the second move on they are extrapolated.
        """
        instance, lagrangian = self.instance, self.lagrangian
        before, beta = instance.beta, beta / (instance.scale_x * instance.scale_y)
        self.deadline = math.inf if deadline is None else deadline
        instance.beta = beta
        if self.z is None:
            return
        U, z = lagrangian.U, self.z
        if self.behind is not None and before != self.behind[0]:
            reach = min(max((beta - before) / (before - self.behind[0]), 0.0), 2.0)
            alive = (U != 0).any(dim=1, keepdim=True)
            lagrangian.U = U + reach * (U - self.behind[1]) * alive
            self.z = z + reach * (z - self.behind[2])
        self.behind = (before, U, z)

    def run(self, tolerance: float, max_steps: int) -> Status:
        """Until the bracket is relatively as narrow as ``tolerance``."""
        self.bracket = self._zero_bracket()
        lagrangian, idle = self.lagrangian, 0
        lagrangian.sigma = SIGMA if self.z is None else WARM_SIGMA
        at = self._cold_start() if self.z is None else lagrangian.evaluate(self.z)
        for _ in range(max_steps):
            self._offer(at)
            if self.bracket.gap <= tolerance:
                lagrangian.step_multipliers(at)
                return Status.CONVERGED
            if self.late():
                return Status.TIME_LIMIT
            if idle > PATIENCE or not math.isfinite(at.psi):
                return Status.INACCURATE
            if idle or self._solved(at):
                # a larger σ than rounding allows would make things worse
                at = self._outer(at, GROWTH if idle == 0 else 1.0)
                self._offer(at)
            following = self._newton(at)
            idle = idle + 1 if following is None or _stalled(at, following) else 0
            at = following or at
        return Status.ITERATION_LIMIT

    def _cold_start(self) -> Evaluation:
        """Ψ along z = ty is known from one projection of the correlations of y: start at its minimum."""
        y, lagrangian = self.instance.y, self.lagrangian
        at = lagrangian.evaluate(y)
        norms = at.points.norm(dim=1) / lagrangian.sigma
        t = _best_multiple(float(y @ y), norms, lagrangian.sigma, self.instance.beta)
        self._offer(at)
        if self.instance.faces is not None:
            self.instance.faces.weights.mul_(t)
        return lagrangian.evaluate(t * y)

    def _solved(self, at: Evaluation) -> bool:
        """Ψ is 1-strongly convex: ½‖∇Ψ‖² bounds what Newton can still gain; it need not be far below the gap."""
        gap = at.value - max(at.dual_value(self.instance.y, self.instance.beta), self.bracket.dual)
        return 0.5 * float(at.gradient @ at.gradient) <= PRECISION * gap

    def _outer(self, at: Evaluation, growth: float) -> Evaluation:
        lagrangian = self.lagrangian
        lagrangian.step_multipliers(at)
        lagrangian.sigma = min(growth * lagrangian.sigma, SIGMA_MAX)
        log.debug("step %d: σ = %.1e, gap %.2e, %d blocks", self.steps, lagrangian.sigma, self.bracket.gap, len(at.new))
        return lagrangian.evaluate(at.z)

    def _newton(self, at: Evaluation) -> Evaluation | None:
        """One Newton step with line search; None where Ψ can not be lowered."""
        self.steps += 1
        system = NewtonSystem(self.instance, self.lagrangian.sigma, at.blocks, at.points, self.damping)
        direction = system.solve(at.gradient)
        slope = float(at.gradient @ direction)
        if not slope < 0:
            return None
        following, step = _line_search(self.lagrangian.evaluate, at, direction, slope, self.late)
        if step < SHORT:  # faces change within the step: a shorter one in the soft directions goes further
            self.damping = max(DAMPING * self.damping, 1.0)
        elif step == 1.0:
            self.damping = self.damping / DAMPING if self.damping > 1.0 else 0.0
        return following

    def _offer(self, at: Evaluation) -> None:
        """Keep what is better than the bracket so far."""
        self.z = at.z
        if at.exact and at.value < self.bracket.value:
            self.bracket.value = at.value
            self.bracket.blocks = torch.zeros_like(self.lagrangian.U).index_copy_(0, at.blocks, at.new)
        dual = at.dual_value(self.instance.y, self.instance.beta)
        if dual > self.bracket.dual:
            self.bracket.dual, self.bracket.z = dual, at.z
            if self.instance.faces is not None:
                faces = self.instance.faces
                self.bracket.rows = faces.rows.clone()
                self.bracket.weights = faces.weights * faces.active / self.lagrangian.scale[:, None]


def _stalled(before: Evaluation, after: Evaluation) -> bool:
    """Whether a Newton step changed nothing but rounding."""
    flat = after.psi >= before.psi - 1e-13 * abs(before.psi)
    return flat and float(after.gradient.norm()) > 0.5 * float(before.gradient.norm())


def _best_multiple(yy: float, norms: Float[Tensor, " b"], sigma: float, beta: float) -> float:
    """argmin_t ½t²‖y‖² − t‖y‖² + (σ/2) Σ(t h_b − β)₊² for h ≥ β: piecewise quadratic, by its breakpoints."""
    h = norms.sort(descending=True).values
    squares, sums = (sigma * h * h).cumsum(0), (sigma * beta * h).cumsum(0)
    if len(h) == 0:
        return 1.0
    t = (yy + sums) / (yy + squares)
    following = torch.cat([beta / h[1:], h.new_full((1,), torch.inf)])
    fits = (t >= beta / h) & (t <= following)
    return float(t[fits][0]) if bool(fits.any()) else min(1.0, beta / float(h[0]))


def _line_search(
    evaluate: Callable[[Tensor], Evaluation], at: Evaluation, direction: Tensor, slope: float, late: Callable[[], bool]
) -> tuple[Evaluation | None, float]:
    """(point, step): Armijo with secants on Ψ'; near rounding a smaller |Ψ'| will do (Hager & Zhang 2005)."""
    step = 1.0
    for _ in range(30):
        trial = evaluate(at.z + step * direction)
        if late():
            return trial, step
        if trial.psi <= at.psi + 1e-4 * step * slope:
            return trial, step
        there = float(trial.gradient @ direction)
        if trial.psi <= at.psi + 1e-12 * abs(at.psi) and abs(there) <= 0.9 * abs(slope):
            return trial, step
        secant = step * slope / (slope - there) if there > 0 else 0.5 * step
        step = min(max(secant, 0.1 * step), 0.6 * step)
    return None, 0.0
