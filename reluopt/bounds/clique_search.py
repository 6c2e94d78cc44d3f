"""The search behind the clique bound: cliques of alike samples, an augmented Lagrangian, and what proves the bound."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.augmented import AugmentedLagrangian
from reluopt.bounds.ball import Ball
from reluopt.bounds.ball_products import BallProducts
from reluopt.bounds.bias_forms import LiftedEvidence
from reluopt.bounds.clique_order import nested_order
from reluopt.bounds.clique_places import CliquePlaces
from reluopt.bounds.clique_settings import CliqueSettings
from reluopt.bounds.evidence import Evidence, Multipliers, Region, restored
from reluopt.bounds.lower_bound import LowerBound
from reluopt.bounds.sample_fit import SampleFit
from reluopt.bounds.schur import Elimination
from reluopt.bounds.slopes import Slopes
from reluopt.clock import Clock
from reluopt.problem import Problem


class CliqueSearch:
    """Cliques of alike samples and their augmented Lagrangian, in scaled units.

    A slot is a place in a clique, of which some stay empty (x = 0). Rows of X are divided by their norms, so that all
    products have about one size.
    """

    def __init__(
        self,
        problem: Problem,
        moments: LowerBound,
        settings: CliqueSettings | None = None,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        self.problem, self.settings, self.device = problem, settings or CliqueSettings(), torch.device(device)
        self.scaled, self.units = problem.scaled()
        #: Where first-layer biases are free, the ball around the samples, in which X̂ takes the place of X.
        self.lift = moments.evidence.lift if isinstance(moments.evidence, LiftedEvidence) else None
        self.X = problem.X if self.lift is None else self.lift.rows(problem.X)
        self.small = self.X / self.units.x
        used = (self.X != 0).any(axis=1)
        samples, self.idle = np.flatnonzero(used), np.flatnonzero(~used)
        n, smallest, C = max(1, len(samples)), self.settings.smallest, problem.outputs
        assert moments.factors is not None
        factors = moments.factors / self.units.weight
        levels = max(0, math.ceil(math.log2(n / smallest)))
        order = nested_order([self.small[used] @ R[:, C:].T for R in factors], levels, -(-n // 2**levels))
        #: The sample of every slot; −1 where there is none.
        self.slots = np.where(order >= 0, samples[order], -1)
        self.core = self._core(factors, moments, 2**levels)
        #: What the last update will take.
        self.seconds_of_last = 0.0
        #: The dual point of the samples, and of the rows, of the last solution.
        self.z = np.zeros_like(problem.targets)
        self.v = problem.spread(self.z)

    def _spread(self, values: Float[np.ndarray, "n ..."]) -> Tensor:
        """What belongs to samples, at their slots; 0 where a slot is empty."""
        here = self.slots.reshape(-1, *[1] * (values.ndim - 1)) >= 0
        return torch.as_tensor(np.where(here, values[self.slots], 0.0), dtype=torch.float64, device=self.device)

    def _rows(self) -> tuple[Float[Tensor, "N d"], Float[np.ndarray, " n"]]:
        """The rows at their slots, of norm one, and the norms of all samples' rows."""
        norms = np.linalg.norm(self.small, axis=1)
        return self._spread(self.small / np.where(norms > 0, norms, 1.0)[:, None]), norms

    def _lagrangian(
        self,
        head: Tensor,
        S: Tensor,
        size: int,
        multipliers: tuple[Tensor, Tensor],
        moments: LowerBound,
        ball: BallProducts | None = None,
    ) -> AugmentedLagrangian:
        """From this start; ``multipliers`` of α with all forms, and ν."""
        spread = None
        if isinstance(moments.evidence, LiftedEvidence):
            pairs = moments.evidence.levels(self.problem.X)
            spread = head.new_tensor([mu for _, mu in pairs]) / (self.units.z * self.units.x)
        rows, norms = self._rows()
        fit = SampleFit(self.scaled, self.slots, self.device, self.settings.envelopes[0])
        at, beta = self._spread(norms), self.scaled.beta
        return AugmentedLagrangian(rows, at, fit, beta, head, S, size, *multipliers, ball, spread)

    def _core(self, factors: Float[np.ndarray, "q k e"], moments: LowerBound, groups: int) -> AugmentedLagrangian:
        """At the moment bound's multipliers; s_i is at the end of its range that the sign of z_i asks for."""
        units, evidence, (rows, norms) = self.units, inner_of(moments), self._rows()
        assert isinstance(evidence, Evidence)
        head = torch.as_tensor(factors, device=self.device).mT
        S, first, nu, region = [], [], [], evidence.regions[0]
        for R, sign, m in zip(head, (1, -1), (region.positive, region.negative), strict=True):
            z = self._spread(sign * evidence.z / units.z)
            c, w = (self._spread(part[0] * norms / units.z) for part in (m.c, m.w))
            nu.append(self._spread(m.nu * norms**2 / units.nu))
            first.append(torch.cat([(w - z * self._spread(norms) - c).clamp(min=0), c]))
            r0, G = R[0], rows @ R[1:]
            a, length = G @ r0, G.norm(dim=1)
            upper = 0.5 * (G + length[:, None] * (r0 / r0.norm().clamp(min=1e-300)))
            S.append(torch.where((z > 0)[:, None], upper, torch.where((a > 0)[:, None], G, 0.0 * G)))
        with_head = torch.stack(first)
        ball = self._ball(head, region, with_head) if self.settings.ball else None
        multipliers = with_head[:, None], torch.stack(nu)
        return self._lagrangian(head, torch.stack(S), len(self.slots) // groups, multipliers, moments, ball)

    def _ball(self, head: Float[Tensor, "q e k"], region: Region, first: Float[Tensor, "q h"]) -> BallProducts:
        """The affine slopes of the start as products with the ball; their κ is taken off those of α, ``first``."""
        rows, norms = self._rows()
        biased = self.lift is not None
        span = self._directions(head[:, 1 : -1 if biased else None], rows[:, :-1] if biased else rows)
        if biased:
            span = torch.nn.functional.pad(span, (0, 1, 0, 1))
            span[:, -1, -1] = 1.0
        cones, tilt = [], []
        for V, m, own in zip(span, (region.positive, region.negative), first, strict=True):
            k = torch.zeros(len(rows), len(V), dtype=head.dtype, device=head.device)
            if m.slopes is not None:
                turn = m.slopes.eta[:, None] * ((self.X @ m.slopes.factor.T) @ m.slopes.factor)
                if m.slopes.lean is not None:
                    turn[:, -1] = m.slopes.lean
                k = self._spread((norms / self.units.z)[:, None] * turn) @ V.T
            reach = k[..., :-1].norm(dim=-1) + k[..., -1].abs() if biased else k.norm(dim=-1)
            size = torch.minimum(reach, torch.minimum(*own.view(2, -1)))
            k = k * (size / reach.clamp(min=1e-300))[..., None]
            both = torch.cat([size, size])
            cones.append(torch.cat([both[:, None], torch.cat([-k, k])], 1))
            own -= both
            tilt.append(0.0 if m.slopes is None else m.slopes.tilt / (self.units.z * self.units.x))
        return BallProducts(span, torch.stack(cones), head.new_tensor(tilt), biased)

    def _directions(self, R: Float[Tensor, "q d k"], rows: Float[Tensor, "N d"]) -> Float[Tensor, "q i d"]:
        """Orthonormal directions of every sign that u is seen through, the widest in the moments RRᵀ first.

        All are in the space of the rows: what is outside of it moves no activation, and would only weaken the proof.
        """
        d, most = rows.shape[1], self.settings.directions
        basis = torch.eye(d, dtype=rows.dtype, device=rows.device)
        if len(rows) < d:
            _, sizes, Vh = torch.linalg.svd(rows, full_matrices=False)
            basis = Vh[sizes > 1e-12 * sizes[0]].mT
        if basis.shape[1] > most:
            basis = basis @ torch.linalg.svd(basis.mT @ R, full_matrices=True).U[:, :, :most]
        return basis.mT.expand(len(R), -1, -1).contiguous()

    # -- the search --------------------------------------------------------------------------------------------------

    def solve(self, clock: Clock) -> None:
        """Update the multipliers again and again; cliques grow where that is slow."""
        core, settings, before, curved = self.core, self.settings, math.inf, False
        whole, (step, least) = clock.spent + clock.left, (core.fit.smoothing, settings.envelopes[1])
        end = settings.last * whole
        while (now := clock.spent) < max(settings.least * end, end - self.seconds_of_last):
            value = core.update(settings.penalty, settings.iterations, end - now, curved=curved)
            slow, before, took = abs(value - before) < settings.slow * value, value, clock.spent - now
            self.seconds_of_last = took * settings.last_iterations / settings.iterations
            growing = self._may_grow() and now + settings.updates * took < end - self.seconds_of_last
            if core.is_full():
                core.widen()
            if slow and growing:
                core.grow()
            curved = not (growing or curved)
            step = max(least, settings.falls * step)
            core.fit.smooth(step)
        core.fit.smooth(least)
        core.update(settings.last_penalty, settings.last_iterations, end - clock.spent, curved=True)

    def _may_grow(self) -> bool:
        groups, size, settings = self.core.groups, self.core.size, self.settings
        return groups % 2 == 0 and 2 * size <= settings.largest and 16 * groups * size**2 <= settings.entries

    # -- the proof ---------------------------------------------------------------------------------------------------

    def polished(self, clock: Clock) -> Iterator[list[Elimination]]:
        """The multipliers of both signs, improved at this z until the clock is over, the worse one first."""
        core, sides = self.core, []
        self.z = self.problem.settled(core.dual_point(self.units.z))
        self.v = self.problem.spread(self.z)
        at_slots = self._spread(self.v / self.units.z)
        for number, (sign, head, nu) in enumerate(zip((1, -1), core.head, core.nu, strict=False)):
            z, products = sign * at_slots.view(len(nu), -1) * core.norms[:, None], core.products(number)
            ball, spread = core.ball_of(number), None if core.spread is None else float(core.spread[number])
            sides.append(Elimination(core.X, z, nu, products, self._moment_multipliers(z, head), ball, spread))
        target = 0.5 * core.beta * self.settings.enough
        waiting = sorted(sides, key=lambda side: -side.level)
        while waiting:
            # each has time as it has to fall
            falls = [max(side.level - target, 1e-9 * target) ** 0.5 for side in waiting]
            waiting.pop(0).run(target, clock.part(falls[0] / sum(falls) if math.isfinite(falls[0]) else 0.5))
            yield sides

    def _moment_multipliers(self, z: Float[Tensor, "N 1"], head: Float[Tensor, "e k"]) -> tuple[Tensor, Tensor]:
        """(r, ν) of Theorem A at this z, read off the factors: no products of two samples."""
        z, core, r0, G = z[:, 0], self.core, head[0], self.core.X @ head[1:]
        a, length = G @ r0, G.norm(dim=1).clamp(min=1e-100)
        slope = 0.5 + 0.5 * a / torch.hypot(a, self.settings.edge * r0.norm() * length + 1e-100)
        r = torch.zeros_like(core.products(0))
        r[:, 0, 1:] = torch.cat([(part * (-z).clamp(min=0)).view(-1, core.size) for part in (1 - slope, slope)], 1)
        return r, z.clamp(min=0) * (r0.norm() / length)

    def places(self) -> CliquePlaces:
        """Which sample is at which slot."""
        return CliquePlaces(self.slots, self.core.norms.cpu().numpy(), self.core.size)

    def evidence(self, sides: list[Elimination]) -> Evidence | LiftedEvidence:
        """The rows' dual point and the multipliers of both signs in the data's units."""
        d, z = self.problem.d, self.v
        positive, negative = (
            restored(self._own(side, sign * z / self.units.z), sign * z, self.units)
            for side, sign in zip(sides, (1, -1), strict=True)
        )
        whole = Region(np.zeros((0, d)), self.places().groups, positive, negative)
        found = Evidence(z, np.zeros((0, d)), np.array([[-1, 0, -1]]), (whole,))
        return found if self.lift is None else LiftedEvidence(found, self.lift)

    def _own(self, side: Elimination, z: Float[np.ndarray, " n"]) -> Multipliers:
        """One sign's multipliers in scaled units, samples of a clique in rising order."""
        n, places = len(z), self.places()
        w, nu = np.zeros((1, n)), np.zeros(n)
        w[0, self.idle], nu[self.idle] = np.maximum(z[self.idle], 0.0), self.settings.idle * np.abs(z[self.idle])
        nu[places.samples] = places.nu(side)
        slopes = ball = None
        if len(side.span):
            at, d = torch.as_tensor(side.best), self.problem.d
            lean = np.zeros(n) if side.biased else None
            slopes = Slopes(np.zeros((0, d)), np.zeros(n), float(at[side.on_ball][-1]), lean)
            ball = Ball(side.span.cpu().numpy(), places.omega(side), side.biased)
        return Multipliers(w, np.zeros((1, n)), nu, places.products(side), slopes, ball)


def inner_of(moments: LowerBound) -> object:
    """The evidence for the rows that are searched, X or X̂."""
    found = moments.evidence
    return found.inner if isinstance(found, LiftedEvidence) else found
