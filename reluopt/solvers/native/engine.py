r"""Semismooth Newton augmented Lagrangian (SSNAL) on the dual, with a bracket of the optimum at every step.

Outer: U ← U⁺, σ ← growth·σ (a proximal point step on the primal). Inner: Newton steps with line search on Ψ.
Source of the method for the group lasso: Zhang, Zhang, Sun & Toh, Math. Program. 179 (2020); the exact cone
projections inside of the proximal map, and the bracket they give, are this project's.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from reluopt.solvers.native.conjugate import Conjugate, Direction, Point
from reluopt.solvers.native.instance import Instance
from reluopt.solvers.native.lagrangian import Evaluation, Lagrangian
from reluopt.solvers.native.newton import NewtonSystem
from reluopt.solvers.solution import Status

log = logging.getLogger(__name__)

#: First penalty, in natural units, for a cold start and for a warm one; its growth; its largest value.
SIGMA, WARM_SIGMA, GROWTH, SIGMA_MAX = 3.0, 30.0, 2.5, 1e12
#: Newton ends when what it can still gain is at most this times the gap.
PRECISION = 0.1
#: Steps below SHORT_STEP raise the damping of Newton's matrix by the factor MORE_DAMPING, full ones lower it.
SHORT_STEP, MORE_DAMPING = 0.1, 4.0
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
        self.at: Point | None = None
        self.behind: tuple[float, Tensor, Point] | None = None
        self.bracket = self._zero_bracket()

    def late(self) -> bool:
        """Whether time is over."""
        return time.perf_counter() >= self.deadline

    def _zero_bracket(self) -> Bracket:
        conjugate = self.instance.conjugate
        return Bracket(conjugate.primal(torch.zeros_like(conjugate.y)), torch.zeros_like(self.lagrangian.U))

    def warm(self, U: Float[Tensor, "m d"], z: Float[Tensor, " n"] | None) -> None:
        """Start from blocks (any), and a dual point where there is one."""
        blocks = (U != 0).any(dim=1).nonzero()[:, 0]
        self.lagrangian.U = U
        self.at = self.instance.conjugate.start(self.instance.fit(U[blocks], blocks), z)
        if self.instance.faces is not None:
            self.instance.faces.seed(blocks, U[blocks])

    def move(self, beta: float, deadline: float | None) -> None:
        """To another β (in the program's units) and deadline; everything that was learnt is kept.

        Along a path U and z (or f) are nearly linear in β: from the second move on they are extrapolated.
        """
        instance, lagrangian = self.instance, self.lagrangian
        before = instance.beta
        self.deadline = math.inf if deadline is None else deadline
        instance.set_beta(beta)
        if self.at is None:
            return
        U, at, self.damping = lagrangian.U, self.at, 0.0
        if self.behind is not None and before != self.behind[0]:
            reach = min(max((instance.beta - before) / (before - self.behind[0]), 0.0), 2.0)
            blocks = (U != 0).any(dim=1).nonzero()[:, 0]
            lagrangian.U = U.index_add(0, blocks, (U - self.behind[1])[blocks], alpha=reach)
            fit = instance.fit(lagrangian.U[blocks], blocks)
            self.at = instance.conjugate.beyond(self.behind[2], at, reach, fit)
        self.behind = (before, U, at)

    def run(self, tolerance: float, max_steps: int) -> Status:
        """Until the bracket is relatively as narrow as ``tolerance``."""
        self.bracket = self._zero_bracket()
        lagrangian, idle = self.lagrangian, 0
        lagrangian.sigma = SIGMA if self.at is None else WARM_SIGMA
        at = self._cold_start() if self.at is None else self._restart(self.at)
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
        """Ψ along z = tz₀, z₀ of the zero network, is known from one projection: start at its minimum."""
        conjugate, lagrangian = self.instance.conjugate, self.lagrangian
        zero = conjugate.from_fit(torch.zeros_like(conjugate.y))
        at = lagrangian.evaluate(zero)
        self._offer(at)
        t = _best_multiple(
            conjugate, zero.z, at.points.norm(dim=1) / lagrangian.sigma, lagrangian.sigma, self.instance.beta
        )
        if self.instance.faces is not None:
            self.instance.faces.weights.mul_(t)
        return self._restart(conjugate.at(t * zero.z))

    def _restart(self, at: Point) -> Evaluation:
        """Ψ at a point around which the proximal term, where there is one, is centred."""
        return self.lagrangian.evaluate(self.instance.conjugate.recentred(at, self.lagrangian.sigma))

    def _solved(self, at: Evaluation) -> bool:
        """Whether what Newton can still gain is far enough below the gap; it need not be far."""
        gap = at.value - max(at.dual, self.bracket.dual)
        return self.instance.conjugate.gain(at.gradient) <= PRECISION * gap

    def _outer(self, at: Evaluation, growth: float) -> Evaluation:
        lagrangian = self.lagrangian
        lagrangian.step_multipliers(at)
        lagrangian.sigma = min(growth * lagrangian.sigma, SIGMA_MAX)
        log.debug("step %d: σ = %.1e, gap %.2e, %d blocks", self.steps, lagrangian.sigma, self.bracket.gap, len(at.new))
        return self._restart(at.at)

    def _newton(self, at: Evaluation) -> Evaluation | None:
        """One Newton step with line search; None where Ψ can not be lowered."""
        self.steps += 1
        weight = self.instance.conjugate.weight(at.at)
        system = NewtonSystem(self.instance, self.lagrangian.sigma, at.blocks, at.points, weight, self.damping)
        direction = system.solve(at.gradient)
        slope = float(at.gradient @ direction.dz)
        if not slope < 0:
            return None
        following, step = self._line_search(at, direction, slope)
        if step < SHORT_STEP:  # faces change within the step: a shorter one in the soft directions goes further
            self.damping = max(MORE_DAMPING * self.damping, 1.0)
        elif step == 1.0:
            self.damping = self.damping / MORE_DAMPING if self.damping > 1.0 else 0.0
        return following

    def _line_search(self, at: Evaluation, direction: Direction, slope: float) -> tuple[Evaluation | None, float]:
        """(point, step): Armijo with secants on Ψ'; near rounding a smaller |Ψ'| will do (Hager & Zhang 2005)."""
        conjugate, step = self.instance.conjugate, 1.0
        for _ in range(30):
            trial = self.lagrangian.evaluate(conjugate.moved(at.at, direction, step))
            if self.late():
                return trial, step
            # where z bends along the step, what Ψ should lose is that of the step that was made
            linear = step * slope
            if direction.df is not None:
                linear = min(float(at.gradient @ (trial.at.z - at.at.z)), 0.0)
            if trial.psi <= at.psi + 1e-4 * linear:
                return trial, step
            there = float(trial.gradient @ conjugate.tangent(trial.at, direction))
            if trial.psi <= at.psi + 1e-12 * abs(at.psi) and abs(there) <= 0.9 * abs(slope):
                return trial, step
            secant = step * slope / (slope - there) if there > 0 else 0.5 * step
            step = min(max(secant, 0.1 * step), 0.6 * step)
        return None, 0.0

    def _offer(self, at: Evaluation) -> None:
        """Keep what is better than the bracket so far."""
        self.at = at.at
        if at.exact and at.value < self.bracket.value:
            self.bracket.value = at.value
            self.bracket.blocks = torch.zeros_like(self.lagrangian.U).index_copy_(0, at.blocks, at.new)
        if at.dual > self.bracket.dual:
            self.bracket.dual, self.bracket.z = at.dual, at.z
            if self.instance.faces is not None:
                faces = self.instance.faces
                self.bracket.rows = faces.rows.clone()
                self.bracket.weights = faces.weights * faces.active / self.lagrangian.scale[:, None]


def _stalled(before: Evaluation, after: Evaluation) -> bool:
    """Whether a Newton step changed nothing but rounding."""
    flat = after.psi >= before.psi - 1e-13 * abs(before.psi)
    return flat and float(after.gradient.norm()) > 0.5 * float(before.gradient.norm())


def _best_multiple(
    conjugate: Conjugate, z: Float[Tensor, " n"], norms: Float[Tensor, " b"], sigma: float, beta: float
) -> float:
    """argmin_{0<t≤1} h(tz) + (σ/2) Σ(t h_b − β)₊² for block norms h_b ≥ β, by its increasing slope."""

    def slope(t: float) -> float:
        inner = float(z @ conjugate.at(t * z).f.clamp(-1e30, 1e30))
        return sigma * float(norms @ (t * norms - beta).clamp(min=0.0)) - inner

    if len(norms) == 0 or slope(1.0) <= 0:
        return 1.0
    least = min(1.0, beta / float(norms.max()))
    return least if slope(least) >= 0 else float(brentq(slope, least, 1.0, xtol=1e-6, rtol=1e-6))
