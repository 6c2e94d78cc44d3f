r"""Fewer λmax at a fixed z, with groups of paired samples: their variables s are eliminated group by group.

The multipliers give the form hᵀHh + 2 sᵀBh − sᵀAs (``clique_form.py``). Where A ≻ 0 its maximum over s is
hᵀ(H + BᵀA⁻¹B)h, and the level is λmax of the sum over the groups. A Cholesky factorisation and two solves a group give
the level and, through the top eigenvectors, its gradient: the value of every constraint there.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import Bounds, minimize
from torch import Tensor

from reluopt.bounds.bias_forms import best_levels
from reluopt.bounds.clique_form import BallStart, CliqueForm
from reluopt.bounds.lifting import eliminated
from reluopt.clock import Clock

#: Temperatures of the smoothed λmax in units of the level, with L-BFGS iterations at each.
SCHEDULE = ((0.03, 200), (0.01, 300), (0.003, 200), (0.003, 200), (0.001, 200), (0.001, 200), (0.0005, 300))
#: After these the last one is repeated while the clock runs and the level falls by more than this fraction.
SETTLED = 1e-4
#: Before each run from this one on so many new r a slot may leave zero, those whose constraints are violated most.
EXTEND_FROM, NEW = 1, 1
#: The least ν, in units of their mean: near zero the level is so curved that the search gets nowhere.
LEAST = 0.02
#: What is added to a definite start's ν, in units of its mean, and shares of the given start in a mixture with the safe
#: one: the best of these is where the search begins.
LIFTS, SHARES = 10.0 ** np.arange(-7.0, 1.5, 0.5), (1.0, 0.9, 0.7, 0.4, 0.1)
#: Eigenvectors of less weight than this do not enter the gradient.
NEGLIGIBLE = 1e-6
#: The value where A is not definite, in units of the level: the line search turns back.
WALL = 1e3


class Eliminated(NamedTuple):
    """Eigenvalues, eigenvectors (b̃ at their end) of the form without s; A = LLᵀ and ``half`` = L⁻¹B of every group."""

    values: Float[Tensor, " e"]
    vectors: Float[Tensor, "e e"]
    L: Float[Tensor, "groups g g"]
    half: Float[Tensor, "groups g e"]


class Elimination(CliqueForm):
    """min λmax over ν and the r that are not zero at the start, or that ``extend`` adds.

    Parameters
    ----------
    X, z : see ``CliqueForm``. ``nu`` : (slots,) the start of ν, of either sign.
    products : (groups, f + 2g, f + 2g) symmetric, the start of r; only its positive entries and its rows of the head
        are searched. ``safe`` : another (products, ν), with products of t alone.
    ball : the start of ball products, None without any. ``spread`` : that of μ where the last entry of u is a bias.
    """

    def __init__(
        self,
        X: Float[Tensor, "slots d"],
        z: Float[Tensor, "slots C"],
        nu: Float[Tensor, " slots"],
        products: Float[Tensor, "groups f f"],
        safe: tuple[Float[Tensor, "groups f f"], Float[Tensor, " slots"]],
        ball: BallStart | None = None,
        spread: float | None = None,
    ) -> None:
        super().__init__(X, z, products, ball, spread)
        if ball is not None:
            products = products.clone()
            kappa = torch.stack([part.norm(dim=-1) for part in self._parts(ball[1][..., 1:])]).sum(0)
            products[:, 0, 1:] += (ball[1][..., 0] - kappa).clamp(min=0)
        #: The best point so far, and its λmax; infinite until a definite one was found.
        self.level, self.best = math.inf, np.zeros(0)
        first, second = self.point(products, nu, self.of_ball), self.point(*safe, 0 * self.of_ball)
        for share in SHARES:
            before = self.level
            self._lift(share * first + (1 - share) * second)
            if math.isfinite(before) and self.level >= before:
                break

    def _lift(self, start: Float[np.ndarray, " q"]) -> None:
        """Raise ν by the row sums of |A₋|, so that A becomes definite, and on as long as that lowers the level."""
        _, _, A = self.blocks(start)
        if not torch.isfinite(A).all():
            return
        values, vectors = torch.linalg.eigh(A)
        missing = (vectors * (-values).clamp(min=0)[:, None, :]) @ vectors.mT
        start[self.on_nu] += missing.abs().sum(2).reshape(-1).cpu().numpy()
        usual, last = float(start[self.on_nu].mean()) or 1.0, math.inf
        for lift in LIFTS:
            point = start.copy()
            point[self.on_nu] += lift * usual
            level = self.top(self._spread_out(point))
            if level > last:
                break
            last = level

    def _spread_out(self, point: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
        """The point with the best μ, where there is one."""
        found = self._without_s(point) if self.biased else None
        if found is not None:
            point[self.on_spread] = best_levels(found[0].cpu().numpy(), self.lifting.outputs)[1]
        return point

    def _without_s(self, point: Float[np.ndarray, " q"]) -> tuple[Tensor, Tensor, Tensor] | None:
        """(M, L, L⁻¹B): the form of the head; None where A is not definite."""
        H, B, A = self.blocks(point)
        found = eliminated(B, A)
        if found is None:
            return None
        L, half = found
        flat = half.reshape(-1, half.shape[2])
        M = H + flat.T @ flat
        return (M, L, half) if torch.isfinite(M).all() else None

    def _eliminated(self, point: Float[np.ndarray, " q"]) -> Eliminated | None:
        """The form without s, and without a bias; None where A is not definite. Keeps the best point.

        b̃ is eliminated from M ⪯ diag(λ, (λ − μ)I, μ) as in ``best_levels``: its best value is vᵀh/(μ − m).
        """
        found = self._without_s(point)
        if found is None:
            return None
        M, L, half = found
        if not self.biased:
            values, vectors = torch.linalg.eigh(M)
        else:
            spread, v = float(point[self.on_spread][0]), M[:-1, -1]
            room = spread - float(M[-1, -1])
            if not room > 0:
                return None
            N = M[:-1, :-1] + torch.outer(v, v) / room
            every = torch.arange(self.lifting.outputs, len(N), device=N.device)
            N[every, every] += spread
            values, vectors = torch.linalg.eigh(N)
            vectors = torch.cat([vectors, (v @ vectors)[None] / room])
        if (level := float(values[-1])) < self.level:
            self.level, self.best = level, point.copy()
        return Eliminated(values, vectors, L, half)

    def top(self, point: Float[np.ndarray, " q"]) -> float:
        """λmax at a point; inf where A is not definite."""
        found = self._eliminated(point)
        return math.inf if found is None else float(found.values[-1])

    def smoothed(self, point: Float[np.ndarray, " q"], temperature: float) -> tuple[float, Float[np.ndarray, " q"]]:
        """τ log tr exp(M/τ) and its gradient."""
        found = self._eliminated(point)
        if found is None:
            return WALL * self.level, np.zeros_like(point)
        excess = torch.logsumexp((found.values - found.values[-1]) / temperature, 0)
        F, head = self._at_the_top(found, temperature)
        return float(found.values[-1] + temperature * excess), self.gradient(point, F, head)

    def _at_the_top(self, found: Eliminated, temperature: float) -> tuple[Float[Tensor, "G f q"], Float[Tensor, "e q"]]:
        """The forms at the top eigenvectors, and these, each times the root of its weight; s makes the form largest."""
        weights = torch.softmax(found.values / temperature, 0)
        keep = weights > NEGLIGIBLE
        head = found.vectors[:, keep] * weights[keep].sqrt()
        S = torch.linalg.solve_triangular(found.L.mT, found.half @ head, upper=True)
        return self.lifting.forms(head, S), head

    def extend(self, temperature: float) -> None:
        """Let those r leave zero whose constraints E[F_a F_b] ≥ 0 the best point violates most."""
        found = self._eliminated(self.best)
        assert found is not None
        F, _ = self._at_the_top(found, temperature)
        W = torch.triu(F @ F.mT, 1)
        s = len(self.lifting.F) + torch.arange(self.g)
        W[:, : len(self.lifting.F)] = W[:, s, s + self.g] = 0.0
        W[tuple(self.pairs)] = 0.0
        violated = torch.nonzero(W < 0)
        worst = np.argsort(W[tuple(violated.T)].cpu().numpy())[: NEW * self.groups * self.g]
        self.search(violated[torch.as_tensor(worst, device=W.device)].T)
        self.best = np.append(self.best, np.zeros(len(worst)))

    def run(self, target: float, clock: Clock) -> None:
        """Lower the level until it is below ``target``, falls no more, or the clock is over; the best point is kept."""

        def stop(_: object) -> None:
            if self.level <= target or clock.over:
                raise StopIteration

        # where smoothing would cost more than there is to gain, it begins later
        useful = [step for step in SCHEDULE[:-1] if target <= 0 or step[0] < self.level / target - 1]
        schedule, unit = [*useful, SCHEDULE[-1]], math.inf
        for number, (relative, iterations) in enumerate(chain(schedule, repeat(schedule[-1]))):
            before, unit = unit, self.level
            if not math.isfinite(unit) or unit <= target or clock.over:
                return
            if number >= len(schedule) and unit > before * (1 - SETTLED):
                return
            if number >= EXTEND_FROM or len(schedule) < len(SCHEDULE):
                self.extend(relative * unit)
            lowest = np.zeros(len(self.best))
            lowest[self.on_ball] = -np.inf
            lowest[self.on_nu] = np.minimum(LEAST * self.best[self.on_nu].mean(), self.best[self.on_nu])
            objective = partial(self._in_units, unit, relative * unit)
            options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 15}
            minimize(
                objective,
                self._spread_out(np.maximum(self.best, lowest)),
                jac=True,
                method="L-BFGS-B",
                bounds=Bounds(lowest),
                callback=stop,
                options=options,
            )

    def _in_units(
        self, unit: float, temperature: float, point: Float[np.ndarray, " q"]
    ) -> tuple[float, Float[np.ndarray, " q"]]:
        value, gradient = self.smoothed(point, temperature)
        return value / unit, gradient / unit
