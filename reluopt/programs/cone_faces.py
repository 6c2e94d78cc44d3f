r"""Projection on many cones K_i = {u : (2D_i − I)Xu ≥ 0} at once, warm-started: the kernel of the native solver.

All cones share the rows of X, so one product prices every row of every cone. Each cone keeps its *face*: the
active rows A (r, d), made unit vectors, their pseudo-inverse, and λ ≥ 0. The projection of g is found by the
active-set method for min_{λ≥0} ‖g + Aᵀλ‖ (Lawson & Hanson 1974), run for all cones side by side; a row enters or
leaves by a rank-one change of the pseudo-inverse (Greville 1960), so a step costs O(rd) a cone. When g moves a
little, most faces stay, and a projection costs four small matrix-vector products.

Whatever the rounding, λ ≥ 0, so ‖g + Aᵀλ‖ is an upper bound of sup{gᵀu : u ∈ K_i, ‖u‖ ≤ 1}.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

#: Powers of the machine epsilon: a unit row x is violated when xᵀp < −ε^VIOLATION ‖p‖ (1e-11 in float64); it is
#: dependent on the active ones when nearer than ε^DEPENDENT to their span (1e-8); a pseudo-inverse is worn out when
#: it leaves residuals above ε^DRIFT times the point (1e-9); a projection is zero below ε^VANISHED times the point.
VIOLATION, DEPENDENT, DRIFT, VANISHED = 0.7, 0.5, 0.58, 0.83
#: Entries of the (cones, n) products formed at a time.
CHUNK = 1 << 19


class ConeFaces:
    """The faces of m cones, cone i that of pattern ``pattern_of[i]``, and the projections on them.

    Parameters
    ----------
    X : (n, d). ``signs`` : (P, n) entries ±1, the rows 2D_i − I. ``pattern_of`` : (m,) int64.

    Attributes
    ----------
    rows : (m, r) int64, the active samples; ``active`` : (m, r) mask of the slots in use.
    weights : (m, r) λ ≥ 0 for the *unit* rows, of the last projection.
    """

    def __init__(self, X: Float[Tensor, "n d"], signs: Float[Tensor, "P n"], pattern_of: Int[Tensor, " m"]) -> None:
        n, d = X.shape
        m, r = len(pattern_of), min(n, d)
        self.norms = X.norm(dim=1)
        self.unit = X / self.norms.where(self.norms > 0, torch.ones_like(self.norms))[:, None]
        self.signs, self.pattern_of = signs, pattern_of
        self.rows = torch.zeros(m, r, dtype=torch.int64, device=X.device)
        self.active = torch.zeros(m, r, dtype=torch.bool, device=X.device)
        self.weights = X.new_zeros(m, r)
        self._A = X.new_zeros(m, r, d)
        self._B = X.new_zeros(m, r, d)
        self._chunk = max(1, CHUNK // max(1, n))
        eps = torch.finfo(X.dtype).eps
        self.violation, self.dependent, self.drift = eps**VIOLATION, eps**DEPENDENT, eps**DRIFT
        self.vanished, self.noise = eps**VANISHED, 4 * eps

    def project(
        self,
        g: Float[Tensor, "c d"],
        cones: Int[Tensor, " c"],
        *,
        enough: float = 0.0,
        stop: Callable[[], bool] = lambda: False,
    ) -> tuple[Float[Tensor, "c d"], Bool[Tensor, " c"]]:
        """(p, exact): the projections of g on the given cones, and which of them are exact.

        A cone is left as soon as its λ proves ‖proj(g)‖ ≤ ``enough``; its p = g + Aᵀλ then proves that and is no
        projection. ``stop()`` returning true ends the work the same way.
        """
        parts = [
            _Batch(self, g[at], cones[at]).run(enough, stop)
            for at in torch.arange(len(cones), device=g.device).split(self._chunk)
        ]
        if not parts:
            return g, torch.ones(0, dtype=torch.bool, device=g.device)
        return torch.cat([p for p, _ in parts]), torch.cat([e for _, e in parts])

    def seed(self, cones: Int[Tensor, " c"], points: Float[Tensor, "c d"], tolerance: float = 1e-9) -> None:
        """Start the faces of the given cones at the rows active at ``points`` (of a warm start).

        Rows enter with λ = 0, which is always valid; a projection then finds the multipliers.
        """
        for at in torch.arange(len(cones), device=points.device).split(self._chunk):
            batch = _Batch(self, points[at], cones[at])
            slack = (points[at] @ self.unit.T).abs()
            batch.enter_all(slack <= tolerance * points[at].norm(dim=1, keepdim=True), self.active.shape[1] - 1)

    def multipliers(self, cones: Int[Tensor, " c"]) -> Float[Tensor, "c n"]:
        """λ of the given cones as dense (c, n) multipliers of the rows of X itself."""
        dense = self.weights.new_zeros(len(cones), len(self.unit))
        scale = self.norms.where(self.norms > 0, torch.ones_like(self.norms))
        rows = self.rows[cones]
        return dense.scatter_add_(1, rows, self.weights[cones] * self.active[cones] / scale[rows])

    def rescale(self, cones: Int[Tensor, " c"], factors: Float[Tensor, " c"]) -> None:
        """Multiply λ of the given cones by positive factors, for points that are scaled."""
        self.weights[cones] *= factors[:, None]

    def null_basis(self, cones: Int[Tensor, " c"]) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        """Orthonormal bases of the faces' linear spans {u : A u = 0}, stacked, and the place in ``cones`` of each."""
        q, rank = self._complete_bases(cones)
        owner, column = (torch.arange(q.shape[-1], device=q.device) >= rank).nonzero(as_tuple=True)
        return q[owner, :, column], owner

    def span_basis(self, cones: Int[Tensor, " c"]) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        """Orthonormal bases of the spans of the active rows (the complements of ``null_basis``), stacked."""
        q, rank = self._complete_bases(cones)
        owner, column = (torch.arange(q.shape[-1], device=q.device) < rank).nonzero(as_tuple=True)
        return q[owner, :, column], owner

    def _complete_bases(self, cones: Tensor) -> tuple[Tensor, Tensor]:
        """Q (c, d, d) whose first ``rank`` (c, 1) columns span the active rows."""
        active = self.active[cones]
        order = active.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        packed = torch.take_along_dim(self._A[cones], order[:, :, None], dim=1)
        return torch.linalg.qr(packed.mT, mode="complete").Q, active.sum(dim=1, keepdim=True)


class _Batch:
    """Some of the cones, worked on side by side; ``run`` writes the faces back."""

    def __init__(self, faces: ConeFaces, g: Tensor, cones: Tensor) -> None:
        self.faces, self.g, self.cones = faces, g, cones
        self.rows, self.active, self.feasible = faces.rows[cones], faces.active[cones], faces.weights[cones]
        self.A, self.B = faces._A[cones], faces._B[cones]
        self.signs = faces.signs[faces.pattern_of[cones]]
        self.size = g.norm(dim=1)
        self.changed = torch.zeros_like(cones, dtype=torch.bool)
        self.stale = torch.zeros_like(self.changed)
        self.weights, self.p = torch.zeros_like(self.feasible), torch.zeros_like(g)
        self._restart(torch.arange(len(cones), device=g.device))

    def _restart(self, at: Tensor) -> None:
        """λ and p of the least squares problem on the current rows, refined once; drifted faces are rebuilt."""
        A, B, g = self.A[at], self.B[at], self.g[at]
        weights = -_times(B, g)
        p = g + _combine(A, weights)
        off = _times(A, p)
        drifted = (off * off).sum(dim=1).sqrt() > self.faces.drift * self.size[at]
        if bool(drifted.any()):
            self._rebuild(at[drifted])
            A[drifted], B[drifted] = self.A[at[drifted]], self.B[at[drifted]]
            weights[drifted] = -_times(B[drifted], g[drifted])
            p[drifted] = g[drifted] + _combine(A[drifted], weights[drifted])
        change = _times(B, p)
        self.weights[at] = weights - change
        self.p[at] = p - _combine(A, change)
        self.stale[at] = False

    def _rebuild(self, at: Tensor) -> None:
        """Pseudo-inverses (AAᵀ)⁻¹A from scratch; faces with dependent rows start again from none."""
        A = self.A[at]
        gram = A @ A.mT
        gram.diagonal(dim1=1, dim2=2).add_((~self.active[at]).to(A.dtype))
        L, info = torch.linalg.cholesky_ex(gram)
        B = torch.cholesky_solve(A, L)
        off = (A @ B.mT - torch.diag_embed(self.active[at].to(A.dtype))).abs().amax(dim=(1, 2))
        self.B[at] = B
        self.changed[at] = True
        lost = at[(info != 0) | ~(off < 1e-2)]
        for state in (self.A, self.B, self.active, self.feasible):
            state[lost] = 0

    def run(self, enough: float, stop: Callable[[], bool]) -> tuple[Tensor, Tensor]:
        """Steps until every cone is done; (p, exact)."""
        p, exact = torch.empty_like(self.g), torch.zeros_like(self.active[:, 0])
        place = torch.arange(len(self.g), device=self.g.device)
        self.alive = torch.ones_like(exact)
        limit = 20 * self.rows.shape[1] + 200
        for step in range(limit):
            done, finished = self._step(enough)
            blurred = (done & finished & self.stale).nonzero()[:, 0]
            if len(blurred):  # many rank-one changes leave rounding behind: once more from a clean start
                self._restart(blurred)
                done[blurred] = False
            if step == limit - 1 or (step % 8 == 7 and stop()):
                done = self._settle(done)
            if bool(done.any()):
                out = place[done]
                p[out], exact[out] = self.p[done], finished[done]
                self.alive &= ~done
                count = int(self.alive.sum())
                if count == 0 or 2 * count < len(place):
                    self._write(~self.alive)
                    place = place[self.alive]
                    self._keep(self.alive)
                if count == 0:
                    break
        return p, exact

    def enter_all(self, wanted: Tensor, limit: int) -> None:
        """Make the wanted rows (c, n) active, at most ``limit`` a cone, those that depend on others left out."""
        order = wanted.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :limit]
        every = torch.arange(len(order), device=order.device)
        for row in order.unbind(dim=1):
            enters = wanted[every, row]
            if not bool(enters.any()):
                break
            vector = self.faces.unit[row] * self.signs[every, row][:, None]
            slot = (~self.active).to(torch.int8).argmax(dim=1)
            self.rows[enters, slot[enters]] = row[enters]
            self._change(enters, torch.zeros_like(enters), vector, slot)
        self.feasible.zero_()
        self.changed.fill_(True)
        self._write(torch.ones_like(self.changed))

    def _step(self, enough: float) -> tuple[Tensor, Tensor]:
        """One row leaves each cone with a negative λ, one enters each other; (which are done, which exactly)."""
        negative = (self.weights < 0) & self.active
        leaving = negative.any(dim=1) & self.alive
        entering = ~leaving & self.alive
        self.feasible = self.weights.where(entering[:, None], self.feasible)
        length = self.p.norm(dim=1)
        exact = entering & ((length <= self.faces.vanished * self.size) | self.active.all(dim=1))
        done = exact | (entering & (length <= enough))
        vector, slot = torch.zeros_like(self.p), torch.zeros_like(self.cones)
        price = (entering & ~done).nonzero()[:, 0]
        if len(price):
            optimal = price[self._choose_entering(price, length, vector, slot)]
            done[optimal] = exact[optimal] = True
        if bool(leaving.any()):
            self._choose_leaving(leaving.nonzero()[:, 0], negative, vector, slot)
        elif bool(done.all()):
            return done, exact
        dependent = self._change(entering & ~done, leaving, vector, slot)
        return done | dependent, exact | dependent

    def _choose_entering(self, at: Tensor, length: Tensor, vector: Tensor, slot: Tensor) -> Tensor:
        """The most violated row of each cone into ``vector`` and a free slot; True where none is violated."""
        if 2 * len(at) > len(self.p):  # cheaper than to copy the signs of some
            worst, row = (x[at] for x in (self.p @ self.faces.unit.T).mul_(self.signs).min(dim=1))
        else:
            worst, row = (self.p[at] @ self.faces.unit.T).mul_(self.signs[at]).min(dim=1)
        vector[at] = self.faces.unit[row] * self.signs[at, row][:, None]
        slot[at] = (~self.active[at]).to(torch.int8).argmax(dim=1)
        self.rows[at, slot[at]] = row
        return worst >= -(self.faces.violation * length[at] + self.faces.noise * self.size[at])

    def _choose_leaving(self, at: Tensor, negative: Tensor, vector: Tensor, slot: Tensor) -> None:
        """From the feasible λ towards the least squares one until a λ vanishes: that row leaves."""
        old, new = self.feasible[at], self.weights[at]
        ratio = torch.where(negative[at], old / (old - new), torch.full_like(old, torch.inf))
        step, which = ratio.min(dim=1)
        moved = (old + step[:, None] * (new - old)).clamp_min(0.0)
        self.feasible[at] = moved.scatter(1, which[:, None], 0.0) * self.active[at]
        slot[at] = which
        vector[at] = self.B[at, which]

    def _change(self, entering: Tensor, leaving: Tensor, vector: Tensor, slot: Tensor) -> Tensor:
        """The rank-one change of B, λ and p for the rows that enter and leave; True where a row was dependent.

        Entering a: c = Ba, v = (a − Aᵀc)/‖a − Aᵀc‖², B ← [B − cvᵀ; vᵀ]. Leaving row j, b = B_j: B ← B − (Bb)bᵀ/‖b‖².
        """
        coefficient = _times(self.B, vector)
        direction = torch.where(entering[:, None], vector - _combine(self.A, coefficient), vector)
        near = (entering & ((direction * direction).sum(dim=1) < 1e-3)).nonzero()[:, 0]
        if len(near):
            again = _times(self.B[near], direction[near])
            coefficient[near] += again
            direction[near] -= _combine(self.A[near], again)
        square = (direction * direction).sum(dim=1)
        dependent = entering & (square < self.faces.dependent**2)
        entering = entering & ~dependent
        moving = entering | leaving
        square = square.where(moving, torch.ones_like(square))
        now = torch.where(entering, (direction * self.p).sum(dim=1), self.weights.gather(1, slot[:, None])[:, 0])
        length = (-now / square).where(moving, torch.zeros_like(now))
        coefficient = coefficient * moving[:, None]
        direction = direction * moving[:, None]
        scaled = direction / square[:, None]
        self.p = self.p + length[:, None] * direction
        self.weights = self.weights + torch.where(entering, -length, length)[:, None] * coefficient
        self.B.baddbmm_(coefficient[:, :, None], scaled[:, None, :], alpha=-1.0)
        self._fill(entering.nonzero()[:, 0], slot, True, vector, scaled, length)
        zero = torch.zeros_like(vector)
        self._fill(leaving.nonzero()[:, 0], slot, False, zero, zero, zero[:, 0])
        self.changed |= moving
        self.stale |= moving
        return dependent

    def _fill(self, at: Tensor, slot: Tensor, active: bool, a: Tensor, b: Tensor, weight: Tensor) -> None:
        where = (at, slot[at])
        self.active[where] = active
        self.A[where], self.B[where], self.weights[where] = a[at], b[at], weight[at]

    def _settle(self, done: Tensor) -> Tensor:
        """End early: p = g + Aᵀλ for the feasible λ of every cone, done or not."""
        self.weights = self.feasible
        self.p = torch.where(done[:, None], self.p, self.g + _combine(self.A, self.feasible))
        return self.alive

    def _write(self, which: Tensor) -> None:
        """The faces of the cones that are done, back to where they are kept."""
        f, cones = self.faces, self.cones[which]
        f.weights[cones] = self.feasible[which]
        which = which & self.changed
        cones = self.cones[which]
        if len(cones):
            f.rows[cones], f.active[cones] = self.rows[which], self.active[which]
            f._A[cones], f._B[cones] = self.A[which], self.B[which]

    def _keep(self, which: Tensor) -> None:
        for name in (
            "g",
            "cones",
            "rows",
            "active",
            "feasible",
            "A",
            "B",
            "signs",
            "size",
            "weights",
            "p",
            "changed",
            "stale",
            "alive",
        ):
            setattr(self, name, getattr(self, name)[which])


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Mv for each of a batch: (c, r, d), (c, d) -> (c, r)."""
    return torch.bmm(matrix, vector[:, :, None])[:, :, 0]


def _combine(matrix: Tensor, weights: Tensor) -> Tensor:
    """Mᵀw for each of a batch: (c, r, d), (c, r) -> (c, d)."""
    return torch.bmm(weights[:, None, :], matrix)[:, 0, :]
