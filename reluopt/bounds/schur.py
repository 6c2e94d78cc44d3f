r"""Fewer λmax at a fixed z, with groups of paired samples: their variables s are eliminated group by group.

On the core (t, u, s) the multipliers of a group give the form

.. math:: ẑᵀs\,t − Σ ν_i s_i (s_i − x_iᵀu) + Σ_{a<b} r_{ab} F_a F_b = aᵀHa + 2 sᵀBa − sᵀAs,\quad a = (t, u),

with F = (t, s, p), p = s − Xu. Where A ≻ 0 its maximum over s is aᵀ(H + BᵀA⁻¹B)a, and the level is λmax of the sum
over the groups. A Cholesky factorisation and two solves a group give the level and, through the top eigenvectors, its
gradient: the value of every constraint there.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import Bounds, minimize
from torch import Tensor

from reluopt.clock import Clock

#: Temperatures of the smoothed λmax in units of the level, with L-BFGS iterations at each.
SCHEDULE = ((0.03, 200), (0.01, 300), (0.003, 200), (0.003, 200), (0.001, 200), (0.001, 200), (0.0005, 300))
#: Before each run from this one on so many new r a slot may leave zero, those whose constraints are violated most.
EXTEND_FROM, NEW = 1, 1
#: The least ν, in units of their mean: near zero the level is so curved that the search gets nowhere.
LEAST = 0.02
#: What is added to a definite start's ν, in units of its mean, and shares of the given start in a mixture with the safe
#: one: the best of these is where the search begins.
LIFTS, SHARES = 10.0 ** np.arange(-3.0, 1.5, 0.5), (1.0, 0.9, 0.7, 0.4, 0.1)
#: Eigenvectors of less weight than this do not enter the gradient.
NEGLIGIBLE = 1e-6
#: The value where A is not definite, in units of the level: the line search turns back.
WALL = 1e3


class Eliminated(NamedTuple):
    """Eigenvalues and eigenvectors of the form without s; A = LLᵀ and ``half`` = L⁻¹B of every group."""

    values: Float[Tensor, " e"]
    vectors: Float[Tensor, "e e"]
    L: Float[Tensor, "groups g g"]
    half: Float[Tensor, "groups g e"]


class Elimination:
    """min λmax over ν and the r that are not zero at the start; X (slots, d) has rows of norm one, or zero.

    A point is the r of t with every s and p of each group, the r of the searched pairs, and ν.

    Parameters
    ----------
    z : ẑ (slots,), z times the norms of the rows. ``nu`` : (slots,) the start of ν, of either sign.
    products : (groups, 1 + 2g, 1 + 2g) symmetric, the start of r; only its positive entries and its first row are
        searched, and what ``extend`` adds. ``safe`` : another (products, ν), whose products are in the first row.
    """

    def __init__(
        self,
        X: Float[Tensor, "slots d"],
        z: Float[Tensor, " slots"],
        nu: Float[Tensor, " slots"],
        products: Float[Tensor, "groups f f"],
        safe: tuple[Float[Tensor, "groups f f"], Float[Tensor, " slots"]],
    ) -> None:
        self.groups, self.forms = products.shape[0], products.shape[1]
        self.g = (self.forms - 1) // 2
        self.s, self.p = slice(1, 1 + self.g), slice(1 + self.g, None)
        self.X, self.z = X.view(self.groups, self.g, -1), z.view(self.groups, self.g)
        searched = torch.triu(products, 1) > 0
        searched[:, 0] = False
        self.pairs = torch.zeros(3, 0, dtype=torch.long, device=X.device)
        self._search(torch.stack(torch.nonzero(searched, as_tuple=True)))
        #: The best point so far, and its λmax; infinite until a definite one was found.
        self.level, self.best = math.inf, np.zeros(0)
        starts = [
            torch.cat([r[:, 0, 1:].reshape(-1), r[tuple(self.pairs)], nu.clamp(min=0)]).cpu().numpy()
            for r, nu in ((products, nu), safe)
        ]
        for share in SHARES:
            before = self.level
            self._lift(share * starts[0] + (1 - share) * starts[1])
            if math.isfinite(before) and self.level >= before:
                break

    def _search(self, new: Int[Tensor, "3 k"]) -> None:
        """Add (group, i, j), i < j, to the searched pairs; their places among products of two samples, flat."""
        self.pairs = torch.cat([self.pairs, new], 1)
        group, i, j = self.pairs
        self.first, self.entries = 2 * self.z.numel(), 2 * self.z.numel() + len(group)
        g = self.g
        of_p, row, column = (i > g, j > g), (i - 1) % g, (j - 1) % g
        forth, back = (group * g + row) * g + column, (group * g + column) * g + row
        both = of_p[0] & of_p[1]
        #: For the products of (s + p, s + p), (s + p, p), (p, p): which pairs, and where in a (groups, g, g) matrix.
        every = torch.arange(len(group), device=i.device)
        self.places = [
            (torch.cat([every[one], every[two]]), torch.cat([forth[one], back[two]]))
            for one, two in ((every, every), (of_p[1], of_p[0]), (both, both))
        ]

    def _lift(self, start: Float[np.ndarray, " q"]) -> None:
        """Raise ν by the row sums of |A₋|, so that A becomes definite, and on as long as that lowers the level."""
        A, _, _ = self._forms(start)
        if not torch.isfinite(A).all():
            return
        values, vectors = torch.linalg.eigh(A)
        missing = (vectors * (-values).clamp(min=0)[:, None, :]) @ vectors.mT
        start[self.entries :] += missing.abs().sum(2).reshape(-1).cpu().numpy()
        usual, last = float(start[self.entries :].mean()) or 1.0, math.inf
        for lift in LIFTS:
            point = start.copy()
            point[self.entries :] += lift * usual
            level = self.top(point)
            if level > last:
                break
            last = level

    def products(self, point: Float[np.ndarray, " q"]) -> Float[Tensor, "groups f f"]:
        """r as symmetric matrices R with FᵀRF = Σ_{a<b} r_ab F_a F_b."""
        half = 0.5 * torch.as_tensor(point, device=self.X.device)
        R = half.new_zeros(self.groups, self.forms, self.forms)
        R[:, 0, 1:] = half[: self.first].view(self.groups, -1)
        R[tuple(self.pairs)] = half[self.first : self.entries]
        return R + R.mT

    def _forms(self, point: Float[np.ndarray, " q"]) -> tuple[Tensor, Tensor, Tensor]:
        """A (groups, g, g), B (groups, g, 1 + d) and the sum of H (1 + d, 1 + d)."""
        X, (groups, g, d) = self.X, self.X.shape
        half = 0.5 * torch.as_tensor(point, device=X.device)
        of_s, of_p = half[: self.first].view(groups, 2, g).unbind(1)
        r, nu = half[self.first : self.entries], half[self.entries :].view(groups, g)
        both, on_p, only_p = (
            r.new_zeros(groups * g * g).index_add_(0, places, r[which]).view(groups, g, g)
            for which, places in self.places
        )
        A = torch.diag_embed(2 * nu) - both
        B = torch.empty(groups, g, 1 + d, dtype=X.dtype, device=X.device)
        B[:, :, 0] = of_s + of_p + 0.5 * self.z
        torch.mul(nu[..., None], X, out=B[:, :, 1:])
        B[:, :, 1:] -= on_p @ X
        H = X.new_zeros(1 + d, 1 + d)
        flat = X.reshape(-1, d)
        H[1:, 1:] = flat.T @ (only_p @ X).reshape(-1, d)
        H[0, 1:] = H[1:, 0] = -(of_p.reshape(-1) @ flat)
        return A, B, H

    def _eliminated(self, point: Float[np.ndarray, " q"]) -> Eliminated | None:
        """The form without s; None where A is not definite. Keeps the best point."""
        A, B, H = self._forms(point)
        L, failed = torch.linalg.cholesky_ex(A)
        if failed.any():
            return None
        half = torch.linalg.solve_triangular(L, B, upper=False)
        flat = half.reshape(-1, half.shape[2])
        M = H + flat.T @ flat
        if not torch.isfinite(M).all():
            return None
        values, vectors = torch.linalg.eigh(M)
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
        F = self._at_the_top(found, temperature)
        group, i, j = self.pairs
        by_first = (F[:, :1] * F[:, 1:]).sum(2).reshape(-1)
        by_r = (F[group, i] * F[group, j]).sum(1)
        by_nu = -(F[:, self.s] * F[:, self.p]).sum(2).reshape(-1)
        gradient = torch.cat([by_first, by_r, by_nu]).cpu().numpy()
        return float(found.values[-1] + temperature * excess), gradient

    def _at_the_top(self, found: Eliminated, temperature: float) -> Float[Tensor, "G f q"]:
        """The forms at the top eigenvectors, each times the root of its weight; s is where the form is largest."""
        weights = torch.softmax(found.values / temperature, 0)
        keep = weights > NEGLIGIBLE
        a = found.vectors[:, keep] * weights[keep].sqrt()
        S = torch.linalg.solve_triangular(found.L.mT, found.half @ a, upper=True)
        return torch.cat([a[:1].expand(self.groups, 1, -1), S, S - self.X @ a[1:]], 1)

    def extend(self, temperature: float) -> None:
        """Let those r leave zero whose constraints E[F_a F_b] ≥ 0 the best point violates most."""
        found = self._eliminated(self.best)
        assert found is not None
        F = self._at_the_top(found, temperature)
        W = torch.triu(F @ F.mT, 1)
        every = torch.arange(self.g)
        W[:, 0] = W[:, 1 + every, 1 + self.g + every] = 0.0
        W[tuple(self.pairs)] = 0.0
        violated = torch.nonzero(W < 0)
        worst = np.argsort(W[tuple(violated.T)].cpu().numpy())[: NEW * self.z.numel()]
        self._search(violated[torch.as_tensor(worst, device=W.device)].T)
        self.best = np.insert(self.best, -self.z.numel(), np.zeros(len(worst)))

    def run(self, target: float, clock: Clock) -> None:
        """Lower the level until it is below ``target`` or the clock is over; the best point is kept."""

        def stop(_: object) -> None:
            if self.level <= target or clock.over:
                raise StopIteration

        for number, (relative, iterations) in enumerate(SCHEDULE):
            unit = self.level
            if not math.isfinite(unit) or unit <= target or clock.over:
                return
            if number >= EXTEND_FROM:
                self.extend(relative * unit)
            lowest = np.zeros(len(self.best))
            lowest[self.entries :] = LEAST * self.best[self.entries :].mean()
            objective = partial(self._in_units, unit, relative * unit)
            options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 15}
            minimize(
                objective,
                np.maximum(self.best, lowest),
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
