r"""Pairs of neighbouring samples: the moment bound with products of activations inside of groups of alike samples.

For each sign let M = E[vvᵀ] be the second moments of v = (α, u, s), s = (Xu)_+, summed over its neurons. Of the doubly
nonnegative relaxation (Prakhya, Birdal & Yurtsever, ICLR 2025) the products within groups of samples are kept:

.. math:: \min ½‖y − (S^+ − S^-)‖² + (β/2) Σ_± tr_{(α,u)} M^±,\quad S = E[αs],

with E[F_a F_b] ≥ 0 for the forms F = (α, s_g, p_g), p = s − Xu, of every group g, and E[s_i p_i] = 0. Few of these
constraints hold M back at the optimum, all between samples whose rows are nearly parallel or opposite where neurons
are: groups of alike samples lose little, and cost O(n·|g|) instead of O(n²). M = VᵀV has low rank, and an augmented
Lagrangian over V (``augmented.py``) gives z and multipliers, which are then improved at this z (``elimination.py``).
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.augmented import AugmentedLagrangian
from reluopt.bounds.elimination import Elimination
from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.groups import nested_order
from reluopt.bounds.lower_bound import LowerBound, check_inputs, prove
from reluopt.bounds.moment import moment_with_factors

#: Samples of a group at the start; groups double up to LARGEST, or until all multipliers are ENTRIES numbers.
SMALLEST, LARGEST, ENTRIES = 32, 256, 2 * 10**7
#: The penalty in units of ‖multipliers‖/‖products‖, and L-BFGS iterations between two updates of the multipliers: on
#: the way and for the last update, which must be accurate, for then its multipliers are nearly feasible.
PENALTY, ITERATIONS = 80.0, 60
LAST_PENALTY, LAST_ITERATIONS = 20.0, 300
#: Groups double when an update changes the primal value by less than this fraction.
SLOW = 3e-3
#: Shares of the time: for the moment bound, until the last update, until polishing.
FIRST, SOLVE, LAST = 0.2, 0.5, 0.65
#: Groups double only if there is time for so many updates of the present cost before the last one.
UPDATES = 12
#: Multipliers are good enough when the level is this close to β/2.
ENOUGH = 1.0003
#: How far from the edge of its range a slope of Theorem A is smoothed, in units of the moments.
EDGE = 0.01
#: ν of a sample whose row is zero, in units of |z|: whatever it is, it costs |z|/4ν and nothing else.
IDLE = 1e12


def neighbours(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    time_limit: float = 60.0,
    device: str | torch.device = "cpu",
) -> LowerBound:
    """A proved lower bound of p* from the products of neighbouring samples' activations, never below the moment bound.

    Parameters
    ----------
    time_limit : seconds. ``device`` : where everything but the proof is computed.

    Raises
    ------
    DataError, ConfigError : see ``check_inputs``.
    """
    started = time.perf_counter()
    check_inputs(X, y, beta)
    first, factors = moment_with_factors(X, y, beta, device=device, time_limit=FIRST * time_limit)
    if not (X.any() and first.value > 0):
        return first
    search = NeighbourSearch(X, y, beta, factors, first.evidence, device=device)
    search.solve(started, time_limit)
    sides = search.polished(started + time_limit)
    if not all(math.isfinite(side.level) for side in sides):
        return first
    evidence = search.evidence(sides)
    method = f"{search.core.groups} groups of {search.core.size} neighbours"
    bound = prove(X, y, beta, evidence, method=method, started=started)
    return max(first, bound, key=lambda found: found.value)


class NeighbourSearch:
    """Groups of neighbours and their augmented Lagrangian, in units where ‖X‖_F² = n d and y has mean square one.

    A slot is a place in a group, of which some stay empty (x = 0). Rows of X are divided by their norms, so that all
    products have about one size.
    """

    def __init__(
        self,
        X: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, " n"],
        beta: float,
        factors: Float[np.ndarray, "2 k e"],
        evidence: Evidence,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        used = (X != 0).any(axis=1)
        self.X, self.y, self.device = X, y, torch.device(device)
        self.samples, self.idle = np.flatnonzero(used), np.flatnonzero(~used)
        n, d = len(self.samples), X.shape[1]
        self.unit_x = float(np.linalg.norm(X[used])) / math.sqrt(n * d)
        self.unit_y = float(np.linalg.norm(y)) / math.sqrt(len(y))
        factors = factors * math.sqrt(self.unit_x / self.unit_y)
        levels = max(0, math.ceil(math.log2(n / SMALLEST)))
        order = nested_order([X[used] @ R[:, 1:].T for R in factors], levels, -(-n // 2**levels))
        #: The sample of every slot; −1 where there is none.
        self.slots = np.where(order >= 0, self.samples[order], -1)
        self.core = self._core(beta / (self.unit_x * self.unit_y), factors, evidence, 2**levels)

    def _spread(self, values: Float[np.ndarray, "n ..."]) -> Tensor:
        """What belongs to samples, at their slots; 0 where a slot is empty."""
        here = self.slots.reshape(-1, *[1] * (values.ndim - 1)) >= 0
        return torch.as_tensor(np.where(here, values[self.slots], 0.0), dtype=torch.float64, device=self.device)

    def _core(
        self, beta: float, factors: Float[np.ndarray, "2 k e"], evidence: Evidence, groups: int
    ) -> AugmentedLagrangian:
        """At the moment bound's multipliers; s_i is at the end of its range that the sign of z_i asks for."""
        lengths = np.linalg.norm(self.X, axis=1)
        rows = self._spread(self.X / np.where(lengths > 0, lengths, 1.0)[:, None])
        norms, head = lengths / self.unit_x, torch.as_tensor(factors, device=self.device)
        g = len(self.slots) // groups
        multipliers = torch.zeros(2, groups, 1 + 2 * g, 1 + 2 * g, dtype=torch.float64, device=self.device)
        s, p, every = slice(1, 1 + g), slice(1 + g, None), torch.arange(g)
        S, region = [], evidence.regions[0]
        for L, R, sign, m in zip(multipliers, head, (1, -1), (region.positive, region.negative), strict=True):
            z = self._spread(sign * evidence.z / self.unit_y)
            c, w = (self._spread(part[0] * norms / self.unit_y) for part in (m.c, m.w))
            nu = self._spread(m.nu * norms**2 * (self.unit_x / self.unit_y))
            L[:, 0, s] = L[:, s, 0] = (w - z * self._spread(norms) - c).clamp(min=0).view(-1, g)
            L[:, 0, p] = L[:, p, 0] = c.view(-1, g)
            L[:, 1 + every, 1 + g + every] = L[:, 1 + g + every, 1 + every] = -nu.view(-1, g)
            r0, G = R[:, 0], rows @ R[:, 1:].T
            a, length = G @ r0, G.norm(dim=1)
            upper = 0.5 * (G + length[:, None] * (r0 / r0.norm().clamp(min=1e-300)))
            S.append(torch.where((z > 0)[:, None], upper, torch.where((a > 0)[:, None], G, 0.0 * G)))
        y = self._spread(self.y / self.unit_y)
        return AugmentedLagrangian(rows, self._spread(norms), y, beta, head, torch.stack(S), multipliers)

    # -- the search --------------------------------------------------------------------------------------------------

    def solve(self, started: float, time_limit: float) -> None:
        """Update the multipliers again and again; groups grow where that is slow."""
        core, before, curved, end = self.core, math.inf, False, started + SOLVE * time_limit
        while (now := time.perf_counter()) < end:
            value = core.update(PENALTY, ITERATIONS, end - now, curved=curved)
            slow, before, took = abs(value - before) < SLOW * value, value, time.perf_counter() - now
            growing = self._may_grow() and now + UPDATES * took < end
            if core.is_full():
                core.widen()
            if slow and growing:
                core.grow()
            curved = not (growing or curved)
        core.update(LAST_PENALTY, LAST_ITERATIONS, started + LAST * time_limit - now, curved=True)

    def _may_grow(self) -> bool:
        groups, size = self.core.groups, self.core.size
        return groups % 2 == 0 and 2 * size <= LARGEST and 16 * groups * size**2 <= ENTRIES

    # -- the proof ---------------------------------------------------------------------------------------------------

    def polished(self, end: float) -> tuple[Elimination, Elimination]:
        """The multipliers of both signs, improved at this z until the clock passes ``end``, the worse one first."""
        core, sides = self.core, []
        s, p = 1 + torch.arange(core.size), 1 + core.size + torch.arange(core.size)
        for sign, head, nu, M in zip((1, -1), core.head, core.nu, core.multipliers, strict=True):
            z, products = sign * core.z * core.norms, M.clone()
            products[:, s, p] = products[:, p, s] = 0.0
            sides.append(Elimination(core.X, z, nu, products, self._moment_multipliers(z, head)))
        for number, side in enumerate(sorted(sides, key=lambda side: -side.level)):
            now = time.perf_counter()
            side.run(0.5 * core.beta * ENOUGH, now + (end - now) / (2 - number))
        return sides[0], sides[1]

    def _moment_multipliers(self, z: Float[Tensor, " N"], head: Float[Tensor, "k e"]) -> tuple[Tensor, Tensor]:
        """(r, ν) of Theorem A at this z, read off the factors: no products of two samples."""
        core, r0, G = self.core, head[:, 0], self.core.X @ head[:, 1:].T
        a, length = G @ r0, G.norm(dim=1).clamp(min=1e-100)
        slope = 0.5 + 0.5 * a / torch.hypot(a, EDGE * r0.norm() * length + 1e-100)
        r = torch.zeros_like(core.multipliers[0])
        r[:, 0, 1:] = torch.cat([(part * (-z).clamp(min=0)).view(-1, core.size) for part in (1 - slope, slope)], 1)
        return r, z.clamp(min=0) * (r0.norm() / length)

    def evidence(self, sides: tuple[Elimination, Elimination]) -> Evidence:
        """z and the multipliers of both signs in the data's units."""
        here, z = self.slots >= 0, np.zeros(len(self.X))
        z[self.slots[here]] = self.unit_y * self.core.z.cpu().numpy()[here]
        z[self.idle] = self.y[self.idle]
        groups = tuple(np.sort(slots[slots >= 0]) for slots in self.slots.reshape(-1, self.core.size))
        positive, negative = (self._own(side, sign * z) for side, sign in zip(sides, (1, -1), strict=True))
        region = Region(np.zeros((0, self.X.shape[1])), groups, positive, negative)
        return Evidence(z, np.zeros((0, self.X.shape[1])), np.array([[-1, 0, -1]]), (region,))

    def _own(self, side: Elimination, z: Float[np.ndarray, " n"]) -> Multipliers:
        """One sign's multipliers in the data's units, samples of a group in rising order."""
        n, g, here = len(z), self.core.size, self.slots >= 0
        w, nu = np.zeros((1, n)), np.zeros(n)
        w[0, self.idle], nu[self.idle] = np.maximum(z[self.idle], 0.0), IDLE * np.abs(z[self.idle])
        norms, unit = self.unit_x * self.core.norms.cpu().numpy(), self.unit_x * self.unit_y
        nu[self.slots[here]] = unit * side.best[side.entries :][here] / norms[here] ** 2
        all_r, products = [], unit * side.products(side.best).cpu().numpy()
        for r, slots, size in zip(products, self.slots.reshape(-1, g), norms.reshape(-1, g), strict=True):
            there = np.flatnonzero(slots >= 0)
            kept = there[np.argsort(slots[there])]
            scale = 1 / np.concatenate([[1.0], size[kept], size[kept]])
            own = np.concatenate([[0], 1 + kept, 1 + g + kept])
            all_r.append(scale[:, None] * r[np.ix_(own, own)] * scale)
        return Multipliers(w, np.zeros((1, n)), nu, tuple(all_r))
