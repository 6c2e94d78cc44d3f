r"""Fewer λmax at a fixed z, with groups of paired samples: their variables s are eliminated group by group.

On the core (t, u, s) the multipliers of a group give the form (``lifting.py``)

.. math:: ẑᵀs\,t − Σ ν_i s_i (s_i − x_iᵀu) + Σ_{a<b} r_{ab} F_a F_b = hᵀHh + 2 sᵀBh − sᵀAs,\quad h = (t, u),

with F = (t, s, p), p = s − Xu; with several outputs a takes the place of t, and F = (s, p). Where A ≻ 0 its
maximum over s is hᵀ(H + BᵀA⁻¹B)h, and the level is λmax of the sum over the groups.
A Cholesky factorisation and two solves a group give the level and, through the top eigenvectors, its gradient: the
value of every constraint there.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import chain, pairwise, repeat
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import Bounds, minimize
from torch import Tensor

from reluopt.bounds.lifting import Lifting, Products, eliminated
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
LIFTS, SHARES = 10.0 ** np.arange(-3.0, 1.5, 0.5), (1.0, 0.9, 0.7, 0.4, 0.1)
#: ε of κ = √(‖ω‖² + ε²), in units of the mean of ‖ω‖.
SOFT = 1e-3
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

    A point is the r of t with every s and p of each group (with one output), ν, what ball products need, and the r of
    the searched pairs. With ball products (``ball.py``) every form F_i has F_i(κ_i − k_iᵀu), k_i = Vᵀω_i and κ_i a
    little above ‖ω_i‖, as V has orthonormal rows; κ_i adds to the r of t. The tilt ω adds ω(t² − ‖u‖²).

    Parameters
    ----------
    z : ẑ (slots, C), z times the norms of the rows. ``nu`` : (slots,) the start of ν, of either sign.
    products : (groups, f + 2g, f + 2g) symmetric, the start of r, f = 1 or 0; only its positive entries and its rows of
        the head are searched, and what ``extend`` adds. ``safe`` : another (products, ν), with products of t alone.
    """

    def __init__(
        self,
        X: Float[Tensor, "slots d"],
        z: Float[Tensor, "slots C"],
        nu: Float[Tensor, " slots"],
        products: Float[Tensor, "groups f f"],
        safe: tuple[Float[Tensor, "groups f f"], Float[Tensor, " slots"]],
        ball: tuple[Float[Tensor, "i d"], Float[Tensor, "groups h c"], float] | None = None,
    ) -> None:
        (N, d), self.groups, self.forms, C = X.shape, products.shape[0], products.shape[1], z.shape[1]
        self.g = N // self.groups
        F = torch.eye(self.forms - 2 * self.g, C + d, dtype=X.dtype, device=X.device)
        self.lifting, self.z = Lifting(X.view(self.groups, self.g, d), F), z.view(self.groups, self.g, C)
        f = len(F)
        #: V, and the start of what ball products and tilt have in a point: ω of every form, and the tilt.
        self.span, of_ball = X.new_zeros(0, d), X.new_zeros(0)
        first, self.least_norm = f * 2 * N, 0.0
        if ball is not None:
            self.span, cones, tilt = ball
            omega, kappa = -cones[..., 1:], cones[..., 0]
            of_ball = torch.cat([omega.reshape(-1), X.new_tensor([tilt])])
            self.least_norm = SOFT * float(omega.norm(dim=-1).mean())
            products = products.clone()
            products[:, 0, 1:] += (kappa - omega.norm(dim=-1)).clamp(min=0)
        #: Where the r of t, ν, ω and tilt, and the r of pairs are in a point.
        ends = np.cumsum([0, first, N, len(of_ball)])
        self.on_first, self.on_nu, self.on_ball = (slice(a, b) for a, b in pairwise(ends.tolist()))
        self.on_pairs = slice(int(ends[-1]), None)
        searched = torch.triu(products, 1) > 0
        searched[:, :f] = False
        self.pairs = torch.zeros(3, 0, dtype=torch.long, device=X.device)
        self._search(torch.stack(torch.nonzero(searched, as_tuple=True)))
        #: The best point so far, and its λmax; infinite until a definite one was found.
        self.level, self.best = math.inf, np.zeros(0)
        starts = [
            torch.cat([r[:, :f, f:].reshape(-1), nu.clamp(min=0), own, r[tuple(self.pairs)]]).cpu().numpy()
            for r, nu, own in ((products, nu, of_ball), (*safe, 0 * of_ball))
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
        g, f = self.g, len(self.lifting.F)
        of_p, row, column = (i >= f + g, j >= f + g), (i - f) % g, (j - f) % g
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
        _, _, A = self._forms(start)
        if not torch.isfinite(A).all():
            return
        values, vectors = torch.linalg.eigh(A)
        missing = (vectors * (-values).clamp(min=0)[:, None, :]) @ vectors.mT
        start[self.on_nu] += missing.abs().sum(2).reshape(-1).cpu().numpy()
        usual, last = float(start[self.on_nu].mean()) or 1.0, math.inf
        for lift in LIFTS:
            point = start.copy()
            point[self.on_nu] += lift * usual
            level = self.top(point)
            if level > last:
                break
            last = level

    def products(self, point: Float[np.ndarray, " q"]) -> Float[Tensor, "groups f f"]:
        """r as symmetric matrices R with FᵀRF = Σ_{a<b} r_ab F_a F_b."""
        at, f = torch.as_tensor(point, device=self.z.device), len(self.lifting.F)
        R = at.new_zeros(self.groups, self.forms, self.forms)
        R[:, :f, f:] = 0.5 * self._of_head(at)
        R[tuple(self.pairs)] = 0.5 * at[self.on_pairs]
        return R + R.mT

    def _of_head(self, at: Float[Tensor, " q"]) -> Float[Tensor, "groups f h"]:
        """r of t with every s and p, with what ball products ask for."""
        own = at[self.on_first].view(self.groups, len(self.lifting.F), 2 * self.g)
        return own if not len(self.span) else own + self._kappa(self.omega(at))[:, None]

    def _kappa(self, omega: Float[Tensor, "groups h i"]) -> Float[Tensor, "groups h"]:
        """κ = √(‖ω‖² + ε²): smooth, and above ‖k‖."""
        return (omega.square().sum(-1) + self.least_norm**2).sqrt()

    def omega(self, at: Float[Tensor, " q"]) -> Float[Tensor, "groups h i"]:
        """ω of all forms but t."""
        return at[self.on_ball][:-1].view(self.groups, 2 * self.g, len(self.span))

    def _forms(self, point: Float[np.ndarray, " q"]) -> tuple[Tensor, Tensor, Tensor]:
        """H (e, e), summed over the groups, B (groups, g, e) and A (groups, g, g)."""
        groups, g, f = self.groups, self.g, len(self.lifting.F)
        at = torch.as_tensor(point, device=self.z.device)
        of_s, of_p = (0.5 * self._of_head(at)).view(groups, f, 2, g).unbind(2)
        r, nu = 0.5 * at[self.on_pairs], at[self.on_nu].view(groups, g)
        both, cross, only_p = (
            r.new_zeros(groups * g * g).index_add_(0, places, r[which]).view(groups, g, g)
            for which, places in self.places
        )
        summed = Products(r.new_zeros(f, f), of_s, of_p, both, cross, only_p)
        if not len(self.span):
            return self.lifting.blocks(self.z, nu, summed)
        k = torch.nn.functional.pad(self.omega(at) @ self.span, (0, 0, 1, 0))
        H, B, A = self.lifting.blocks(self.z, nu, summed, k)
        H += at[self.on_ball][-1] * self._tilted(len(H), at)
        return H, B, A

    def _tilted(self, size: int, like: Tensor) -> Float[Tensor, "e e"]:
        """diag(1, −I)."""
        return torch.diag(like.new_tensor([1.0, *[-1.0] * (size - 1)]))

    def _eliminated(self, point: Float[np.ndarray, " q"]) -> Eliminated | None:
        """The form without s; None where A is not definite. Keeps the best point."""
        H, B, A = self._forms(point)
        found = eliminated(B, A)
        if found is None:
            return None
        L, half = found
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
        F, head = self._at_the_top(found, temperature)
        (group, i, j), f = self.pairs, len(self.lifting.F)
        by_first = (F[:, :f, None] * F[:, None, f:]).sum(3).reshape(-1)
        by_r = (F[group, i] * F[group, j]).sum(1)
        by_nu = -(F[:, self.lifting.s] * F[:, self.lifting.p]).sum(2).reshape(-1)
        by_ball = self._by_ball(torch.as_tensor(point, device=F.device), F, head, by_first)
        gradient = torch.cat([by_first, by_nu, by_ball, by_r]).cpu().numpy()
        return float(found.values[-1] + temperature * excess), gradient

    def _by_ball(self, at: Tensor, F: Tensor, head: Tensor, by_first: Tensor) -> Tensor:
        """The gradient by ω and the tilt."""
        if not len(self.span):
            return F.new_zeros(0)
        omega = self.omega(at)
        along = omega / self._kappa(omega).clamp(min=1e-300)[..., None] * by_first.view(*omega.shape[:2], 1)
        by_omega = along - F[:, 1:] @ (self.span @ head[1:]).T
        by_tilt = head[0].square().sum() - head[1:].square().sum()
        return torch.cat([by_omega.reshape(-1), by_tilt[None]])

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
        self._search(violated[torch.as_tensor(worst, device=W.device)].T)
        self.best = np.append(self.best, np.zeros(len(worst)))

    def run(self, target: float, clock: Clock) -> None:
        """Lower the level until it is below ``target``, falls no more, or the clock is over; the best point is kept."""

        def stop(_: object) -> None:
            if self.level <= target or clock.over:
                raise StopIteration

        unit = math.inf
        for number, (relative, iterations) in enumerate(chain(SCHEDULE, repeat(SCHEDULE[-1]))):
            before, unit = unit, self.level
            if not math.isfinite(unit) or unit <= target or clock.over:
                return
            if number >= len(SCHEDULE) and unit > before * (1 - SETTLED):
                return
            if number >= EXTEND_FROM:
                self.extend(relative * unit)
            lowest = np.zeros(len(self.best))
            lowest[self.on_ball] = -np.inf
            lowest[self.on_nu] = LEAST * self.best[self.on_nu].mean()
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
