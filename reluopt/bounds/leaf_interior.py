r"""An interior point method over all leaves of branch and bound at once, and so over z.

.. math:: \min Σ κℓ(f, y) + β Σ Y_{00}\quad\text{over the cones of } ``leaf_states.py``,\quad f = Σ ± ‖x_i‖E[s_i];

its dual is max Σ κD(z/κ) with ≤ β the relaxed maximum of ±zᵀ(Xu)_+ in every leaf. Primal and dual steps of one length,
Nesterov and Todd's for second-order cones, of Helmberg et al. (1996) for matrices, with Mehrotra's corrector; slacks of
new constraints and dual variables start infeasible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.leaf_blocks import blocks, bordered
from reluopt.bounds.leaf_states import LeafStates, inverse_blocks
from reluopt.bounds.leaf_system import Metrics, NewtonSystem
from reluopt.bounds.second_order import Scaling, inverse, reach

#: Steps go this part of the way to the edge of a cone; matrices are tried at BACK of the last length.
EDGE, BACK = 0.95, 0.85
#: A point that is so many times worse than the best one ends the search.
ASTRAY = 1e3
#: Where a corrected step is shorter than this, one to the centre is taken.
SHORT = 0.1
#: (slack, dual variable, where) of what has entries, by name.
CONES, LINES = (("s", "ds", "free"), ("p", "dp", "held")), (("of_s", "es", "on_s"), ("of_p", "ep", "on_p"))
#: What moves in a step.
MOVING = ("Y", "F", "s", "p", "of_s", "of_p", "ds", "dp", "es", "ep", "D", "D0")

Step = dict[str, Tensor]


class InteriorPoint:
    """One batch of leaves and its iterate.

    Attributes
    ----------
    state : where it is. ``z`` : −κℓ'(f) there. ``mu`` : the mean of what slacks times dual variables are.
    gap : their sum. ``value`` : of the primal program.
    """

    def __init__(self, state: LeafStates) -> None:
        self.data = state.data
        self._take(state)

    def _take(self, state: LeafStates) -> None:
        data, self.state, f = self.data, state, state.fit
        self.z, self.root = data.dual_point(f), data.root(f)
        self.value = data.value(f) + data.beta * float(state.Y[:, 0, 0].sum())
        self.gap = self._products({name: torch.zeros(()) for name in MOVING}, 0.0)
        e, n_of = data.size, (state.free, state.held, state.on_s, state.on_p)
        degree = sum(int(part.sum()) for part in n_of) + (e + 1) * int(state.rising.sum()) + e * len(state)
        self.mu = self.gap / degree

    def solve(self, gap: float, residual: float, steps: int, over: Callable[[], bool]) -> bool:
        """Until gap and residual are below these, relative to the value and to β; whether they are.

        The point is the best one that was reached: near the optimum rounding may lead away from it.
        """
        best, least = self.state, float("inf")
        for _ in range(steps):
            linear = _Linear(self)
            off, left = linear.residual / self.data.beta, self.gap / max(abs(self.value), 1e-300)
            merit = off / residual + left / gap
            if merit < least:
                best, least = self.state, merit
            if off <= residual and left <= gap:
                return True
            if over() or merit > ASTRAY * least or not self._step(linear):
                break
        self._take(best)
        return False

    # -- one step ------------------------------------------------------------------------------------------------------

    def _step(self, linear: _Linear) -> bool:
        """False where it leads nowhere: then nothing has changed."""
        if not linear.usable:
            return False
        zero = {name: torch.zeros(()) for name in ("ds", "dp", "es", "ep", "D", "D0")}
        affine = linear.direction(0.0, 1.0, zero)
        length = self._longest(affine, 1.0)
        after = max(self._products(affine, length), 0.0) / self.gap
        sigma = min(1.0, max(1e-6, after**3, (1.0 - length) ** 3))
        step = linear.direction(sigma, 1.0 - sigma, linear.corrections(affine))
        length = self._longest(step, EDGE)
        if length < SHORT:
            step = linear.direction(0.5, 0.5, zero)
            length = self._longest(step, EDGE)
        moved = {name: getattr(self.state, name) + length * step[name] for name in MOVING}
        if length < 1e-6 or not all(torch.isfinite(part).all() for part in moved.values()):
            return False
        self._take(replace(self.state, **moved).settled())
        return True

    def _products(self, step: Step, length: float) -> float:
        """Slacks times dual variables, summed, after a step of this length."""
        state, total = self.state, 0.0
        for slack, dual, where in (*CONES, *LINES):
            one, two = (getattr(state, name) + length * step[name] for name in (slack, dual))
            mask = getattr(state, where)
            total += float((one * two * (mask[..., None] if one.ndim > mask.ndim else mask)).sum())
        Y, D0 = state.Y + length * step["Y"], state.D0 + length * step["D0"]
        (j, i), F, D = state.of_rising, state.F + length * step["F"], state.D + length * step["D"]
        S = blocks(Y[j], F[j, i], self.data.rows[i])
        return total + float((Y * D0).sum()) + float((S * D).sum())

    def _longest(self, step: Step, edge: float) -> float:
        """The longest step up to 1, ``edge`` of the way to where a cone ends."""
        state, most = self.state, float("inf")
        for names, far in ((CONES, reach), (LINES, _line_reach)):
            for slack, dual, where in names:
                mask = getattr(state, where)
                most = min(most, *(far(getattr(state, name), step[name], mask) for name in (slack, dual)))
        length = min(1.0, edge * most)
        (j, i), x = state.of_rising, self.data.rows
        for _ in range(60):
            t = min(1.0, length / edge)
            Y = state.Y + t * step["Y"]
            if _definite(Y) and _definite(state.D0 + t * step["D0"]) and _definite(state.D + t * step["D"]):
                c = bordered(torch.linalg.inv(Y)[j], state.F[j, i] + t * step["F"][j, i], x[i], self.data.size)[1]
                if (c > 0).all():
                    return length
            length *= BACK
        return 0.0


class _Linear:
    """The equations of a step at one point; ``residual`` : the largest violation of the dual ones."""

    def __init__(self, at: InteriorPoint) -> None:
        state = self.state = at.state
        self.at, self.data = at, at.data
        self.j, self.i = state.of_rising
        self.R, self.R0 = inverse_blocks(state)[0], torch.linalg.inv(state.Y)
        self.scalings = [Scaling.of(state.s, state.ds), Scaling.of(state.p, state.dp)]
        self.metrics = Metrics(
            self.scalings[0].metric * state.free[..., None, None],
            self.scalings[1].metric * state.held[..., None, None],
            state.es / state.of_s * state.on_s, state.ep / state.of_p * state.on_p,
            self.R, state.D, self.R0, state.D0,
        )  # fmt: skip
        room, (F, of_s, P, of_p) = state.room, self.forms(state.Y, state.F)
        free, held = state.free[..., None], state.held[..., None]
        self.off = (
            (state.s - F) * free,
            (state.p - P) * held,
            (state.of_s - of_s - room) * state.on_s,
            (state.of_p - of_p - room) * state.on_p,
        )
        self.by_Y, self.by_F = self._dual_residual()
        self.residual = max(float(part.abs().max()) for part in (self.by_Y, self.by_F))
        parts = (self.metrics.s, self.metrics.p, self.R, self.R0, self.by_Y)
        self.usable = all(bool(torch.isfinite(part).all()) for part in parts)

    @cached_property
    def system(self) -> NewtonSystem:
        """Factored when it is asked for."""
        return NewtonSystem(self.state, self.metrics, self.at.root)

    def forms(self, Y: Tensor, F: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """F, its products with cuts, P, its products with cuts."""
        P, cuts = F - self.state.x @ Y, self.state.G.mT
        return F, F @ cuts, P, P @ cuts

    def adjoint(self, s: Tensor, of_s: Tensor, p: Tensor, of_p: Tensor, D: Tensor, D0: Tensor) -> tuple[Tensor, Tensor]:
        """By the coordinates of Y and by F; D of the matrices alone."""
        state, e = self.state, self.data.size
        on_s, on_p = s * state.free[..., None] + of_s @ state.G, p * state.held[..., None] + of_p @ state.G
        by_Y = (D0 - on_p.mT @ state.x).index_add(0, self.j, D[:, :e, :e])
        last = 2 * D[:, :e, e] + D[:, e, e, None] * self.data.rows[self.i]
        by_F = (on_s + on_p).index_put((self.j, self.i), last, accumulate=True) * state.free[..., None]
        return self.data.folded(by_Y.flatten(1)), by_F

    def _dual_residual(self) -> tuple[Tensor, Tensor]:
        """βe₀e₀ᵀ − Eᵀz less what the dual variables make."""
        state, data = self.state, self.data
        by_Y, by_F = self.adjoint(state.ds, state.es * state.on_s, state.dp, state.ep * state.on_p, state.D, state.D0)
        z, own = state.sign[:, None] * data.norms * self.at.z, torch.zeros_like(state.Y)
        own[:, 0] = -(z * state.active) @ data.rows
        own[:, 0, 0] += data.beta
        by_F = -by_F
        by_F[..., 0] -= z * state.free
        return data.folded(own.flatten(1)) - by_Y, by_F

    def direction(self, sigma: float, eta: float, more: Step) -> Step:
        """Towards the centre of σμ, with the part η of all residuals gone; ``more`` : the corrector's terms."""
        state, m, aim = self.state, self.metrics, sigma * self.at.mu
        goal = {
            name: aim * inverse(getattr(state, slack)) - getattr(state, name) + more[name] for slack, name, _ in CONES
        }
        goal |= {
            name: (aim / getattr(state, slack) - getattr(state, name) + more[name]) * getattr(state, where)
            for slack, name, where in LINES
        }
        to_D, to_D0 = aim * self.R - m.D + more["D"], aim * self.R0 - state.D0 + more["D0"]
        back = (_on(m.s, self.off[0]), _on(m.p, self.off[1]), m.of_s * self.off[2], m.of_p * self.off[3])
        pull = [goal[name] + eta * part for name, part in zip(("ds", "dp", "es", "ep"), back, strict=True)]
        by_Y, by_F = self.adjoint(pull[0], pull[2], pull[1], pull[3], to_D, to_D0)
        Y, F = self.system.solve(by_Y - eta * self.by_Y, (by_F - eta * self.by_F) * state.free[..., None])
        s, of_s, p, of_p = self.forms(Y, F)
        step = {"Y": Y, "F": F}
        for name, part, off in zip(("s", "p", "of_s", "of_p"), (s, p, of_s, of_p), self.off, strict=True):
            step[name] = part - eta * off
        step["ds"], step["dp"] = goal["ds"] - _on(m.s, step["s"]), goal["dp"] - _on(m.p, step["p"])
        step["es"], step["ep"] = goal["es"] - m.of_s * step["of_s"], goal["ep"] - m.of_p * step["of_p"]
        D = to_D - _symmetric(self.R @ blocks(Y[self.j], F[self.j, self.i], self.data.rows[self.i]) @ m.D)
        return step | {"D": D, "D0": to_D0 - _symmetric(self.R0 @ Y @ state.D0)}

    def corrections(self, step: Step) -> Step:
        """What the products of a step's parts add to the equations of the dual variables."""
        state, (j, i) = self.state, (self.j, self.i)
        found = {
            d: w.corrector(getattr(state, s), step[s], step[d])
            for (s, d, _), w in zip(CONES, self.scalings, strict=True)
        }
        found |= {d: -step[s] * step[d] / getattr(state, s) for s, d, _ in LINES}
        S = blocks(step["Y"][j], step["F"][j, i], self.data.rows[i])
        return found | {
            "D": -_symmetric(self.R @ S @ step["D"]), "D0": -_symmetric(self.R0 @ step["Y"] @ step["D0"])
        }  # fmt: skip


def _on(W: Float[Tensor, "J n e e"], s: Float[Tensor, "J n e"]) -> Float[Tensor, "J n e"]:
    return (W @ s[..., None])[..., 0]


def _symmetric(A: Float[Tensor, "... e e"]) -> Float[Tensor, "... e e"]:
    return 0.5 * (A + A.mT)


def _definite(A: Float[Tensor, "... e e"]) -> bool:
    return not torch.linalg.cholesky_ex(A)[1].any()


def _line_reach(s: Tensor, step: Tensor, where: Tensor) -> float:
    most = torch.where(where & (step < 0), -s / step, torch.inf)
    return float(most.min()) if most.numel() else float("inf")
