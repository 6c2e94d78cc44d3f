"""The active-set method of ``cone_faces`` for a batch of cones, side by side, on numpy arrays or torch tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from reluopt.programs.face_algebra import (
    Array,
    FaceState,
    Precision,
    combine,
    eye_like,
    first_free,
    norms,
    subtract_outer,
    times,
)

#: Rank-one changes of a face after which its projection is computed afresh.
FRESH = 6


class ConeBatch:
    """Some of the cones with the points g to project; ``faces`` are changed in place.

    ``unit`` (n, d) holds the unit rows, ``signs`` (c, n) the cones' signs of them.
    """

    def __init__(self, unit: Array, signs: Array, faces: FaceState, g: Array, precision: Precision) -> None:
        self.xp = np if isinstance(g, np.ndarray) else torch
        self.unit, self.signs, self.g, self.precision = unit, signs, g, precision
        self.rows, self.active, self.B = faces.rows, faces.active, faces.B
        self.feasible = faces.weights
        self.size = norms(g)
        self.changed = self.xp.zeros_like(self.active[:, 0])
        self.stale = self.xp.zeros_like(self.rows[:, 0])
        self.weights, self.p = self.xp.zeros_like(self.feasible), self.xp.zeros_like(g)
        self.every = self._range(len(g))
        self.A = unit[self.rows] * (signs[self.every[:, None], self.rows] * self.active)[:, :, None]
        self.used = self._slots_in_use()
        self._restart(self.every)

    def _range(self, count: int) -> Array:
        return np.arange(count) if self.xp is np else torch.arange(count, device=self.g.device)

    def run(
        self, enough: float, stop: Callable[[], bool], keep: Callable[[Array, FaceState, Array], None]
    ) -> tuple[Array, Array]:
        """Steps until every cone is done; (p, exact). ``keep`` receives places, their faces, what changed."""
        p, exact = self.xp.empty_like(self.g), self.xp.zeros_like(self.changed)
        place, alive = self.every, ~exact
        limit = 20 * self.rows.shape[1] + 200
        for step in range(limit):
            done, finished = self._step(enough, alive)
            blurred = done & finished & (self.stale > FRESH)
            if blurred.any():  # many or ill-conditioned changes leave rounding behind: once more from a clean start
                self._restart(self.every[blurred], suspicious=True)
                done = done & ~blurred
            if step == limit - 1 or (step % 8 in (0, 7) and stop()):
                self._settle(done)
                done = alive
            if done.any():
                out = place[done]
                p[out], exact[out] = self.p[done], finished[done]
                alive = alive & ~done
                count = int(alive.sum())
                if count == 0 or 2 * count < len(place):
                    dead = ~alive
                    keep(place[dead], self._faces(dead), self.changed[dead])
                    if count == 0:
                        break
                    place = place[alive]
                    self._shrink(alive)
                    alive = alive[alive]
        return p, exact

    def _slots_in_use(self) -> int:
        """Slots are filled from the front: those beyond are empty in every face, and left out of the products."""
        filled = self.xp.where(self.active.any(axis=0))[0]
        return int(filled[-1]) + 1 if len(filled) else 0

    def _faces(self, which: Array) -> FaceState:
        return FaceState(self.rows[which], self.active[which], self.feasible[which], self.B[which])

    def _shrink(self, which: Array) -> None:
        for name in ("g", "rows", "active", "feasible", "A", "B", "signs", "size", "weights", "p", "changed", "stale"):
            setattr(self, name, getattr(self, name)[which])
        self.every = self._range(len(self.g))
        self.used = self._slots_in_use()

    def _step(self, enough: float, alive: Array) -> tuple[Array, Array]:
        """One row leaves each cone with a negative λ, one enters each other; (which are done, which exactly)."""
        xp = self.xp
        negative = self.weights < 0
        leaving = negative.any(axis=1)
        any_leaving = bool(leaving.any())
        entering = alive & ~leaving if any_leaving else alive
        self.feasible = xp.where(leaving[:, None], self.feasible, self.weights)
        length = norms(self.p)
        exact = entering & ((length <= self.precision.vanished * self.size) | self.active.all(axis=1))
        done = exact | (entering & (length <= enough))
        price = entering & ~done
        vector, slot = xp.zeros_like(self.p), (~self.active).argmax(axis=1) if xp is np else first_free(self.active)
        if price.any():
            optimal = self._choose_entering(self.every[price], length, vector, slot)
            done = done | optimal
            exact = exact | optimal
        if any_leaving:
            self._choose_leaving(self.every[leaving], negative, vector, slot)
        elif bool(done.all()):
            return done, exact
        dependent = self._change(entering & ~done, leaving, vector, slot)
        return done | dependent, exact | dependent

    def _choose_entering(self, at: Array, length: Array, vector: Array, slot: Array) -> Array:
        """The most violated row of each cone at ``at`` into ``vector``; True (c,) for those where none is violated."""
        few = 2 * len(at) < len(length)
        slack = (self.p[at] if few else self.p) @ self.unit.T
        slack *= self.signs[at] if few else self.signs
        active, rows = (self.active[at], self.rows[at]) if few else (self.active, self.rows)
        held, slots = self.xp.where(active)
        slack[held, rows[held, slots]] = self.xp.inf  # rounding must not make a row enter twice
        row = slack.argmin(axis=1)
        worst = slack[self.every[: len(row)], row]
        if not few:
            row, worst = row[at], worst[at]
        vector[at] = self.unit[row] * self.signs[at, row][:, None]
        self.rows[at, slot[at]] = row
        optimal = self.xp.zeros_like(self.changed)
        optimal[at] = worst >= -(self.precision.violation * length[at] + self.precision.noise * self.size[at])
        return optimal

    def _choose_leaving(self, at: Array, negative: Array, vector: Array, slot: Array) -> None:
        """From the feasible λ towards the least squares one until a λ vanishes: that row leaves."""
        xp = self.xp
        old, new = self.feasible[at], self.weights[at]
        gone = xp.where(negative[at], old - new, xp.ones_like(old))
        ratio = xp.where(negative[at], old / gone, xp.full_like(old, 2.0))
        which = ratio.argmin(axis=1)
        every = self.every[: len(at)]
        moved = old + ratio[every, which][:, None] * (new - old)
        moved = xp.where(moved > 0, moved, xp.zeros_like(moved)) * self.active[at]
        moved[every, which] = 0.0
        self.feasible[at] = moved
        slot[at] = which
        vector[at] = self.B[at, which]

    def _change(self, entering: Array, leaving: Array, vector: Array, slot: Array) -> Array:
        """The rank-one change of B, λ and p for the rows that enter and leave; True where a row was dependent.

        Entering a: c = Ba, v = (a − Aᵀc)/‖a − Aᵀc‖², B ← [B − cvᵀ; vᵀ]. Leaving row j, b = B_j: B ← B − (Bb)bᵀ/‖b‖².
        """
        xp, used = self.xp, self.used
        coefficient = times(self.B[:, :used], vector)
        direction = vector - combine(self.A[:, :used], coefficient) * entering[:, None]
        square = (direction * direction).sum(axis=1)
        near = entering & (square < 1e-3)
        if near.any():
            again = times(self.B[near, :used], direction[near])
            self.stale[near] += FRESH
            coefficient[near] += again
            direction[near] -= combine(self.A[near, :used], again)
            square = (direction * direction).sum(axis=1)
        dependent = entering & (square < self.precision.dependent**2)
        entering = entering & ~dependent
        moving = entering | leaving
        square = xp.where(moving, square, xp.ones_like(square))
        now = xp.where(entering, (direction * self.p).sum(axis=1), self.weights[self.every, slot])
        length = xp.where(moving, -now / square, xp.zeros_like(now))
        direction = direction * moving[:, None]
        scaled = direction / square[:, None]
        self.p = self.p + length[:, None] * direction
        self.weights[:, :used] += xp.where(entering, -length, length)[:, None] * coefficient
        subtract_outer(self.B[:, :used], coefficient, scaled)
        if entering.any():
            where = (self.every[entering], slot[entering])
            self.used = max(used, int(where[1].max()) + 1)
            self.active[where] = True
            self.A[where], self.B[where], self.weights[where] = vector[entering], scaled[entering], length[entering]
        if leaving.any():
            where = (self.every[leaving], slot[leaving])
            self.active[where] = False
            self.A[where], self.B[where], self.weights[where] = 0.0, 0.0, 0.0
        self.changed |= moving
        self.stale += moving
        return dependent

    def _restart(self, at: Array, suspicious: bool = False) -> None:
        """λ and p of the least squares problem on the current rows, refined once; drifted faces are rebuilt."""
        if suspicious:
            error = self._errors(at)
            self._rebuild(at[~(error < 0.1)])
            self._sharpen(at[(error > self.precision.dependent) & (error < 0.1)])
        weights, p, A, B = self._least_squares(at)
        drifted = norms(times(A, p)) > self.precision.drift * self.size[at]
        if drifted.any():
            self._rebuild(at[drifted])
            weights, p, A, B = self._least_squares(at)
        change = times(B, p)
        self.weights[at, : self.used] = weights - change
        self.weights[at, self.used :] = 0.0
        self.p[at] = p - combine(A, change)
        self.stale[at] = 0

    def _least_squares(self, at: Array) -> tuple[Array, Array, Array, Array]:
        """λ = −Bg and p = g + Aᵀλ, with the A and B they were made of."""
        everything = len(at) == len(self.every)
        A, B = (M[:, : self.used] if everything else M[at, : self.used] for M in (self.A, self.B))
        g = self.g[at]
        weights = -times(B, g)
        return weights, g + combine(A, weights), A, B

    def _sharpen(self, at: Array) -> None:
        """B ← B + (I − ABᵀ)ᵀB (Newton and Schulz), which squares the error of a pseudo-inverse."""
        if len(at) == 0:
            return
        A, B = self.A[at], self.B[at]
        off = self.active[at][:, :, None] * eye_like(A) - A @ B.swapaxes(1, 2)
        self.B[at] = B + off.swapaxes(1, 2) @ B
        self.changed[at] = True

    def _rebuild(self, at: Array) -> None:
        """Pseudo-inverses from scratch; faces with dependent rows start again from none."""
        if len(at) == 0:
            return
        A = self.A[at]
        pinv = (np if self.xp is np else torch).linalg.pinv(A, hermitian=False)
        B = pinv.swapaxes(1, 2)
        self.B[at] = B
        self.changed[at] = True
        lost = at[~(self._errors(at) < 1e-2)]
        for state in (self.A, self.B, self.active, self.feasible):
            state[lost] = 0

    def _errors(self, at: Array) -> Array:
        """‖ABᵀ − I‖ over the active rows of each face."""
        off = self.A[at] @ self.B[at].swapaxes(1, 2) - self.active[at][:, :, None] * eye_like(self.A)
        return (off * off).sum(axis=(1, 2)) ** 0.5

    def _settle(self, done: Array) -> None:
        """End early: p = g + Aᵀλ for the feasible λ of every cone that is not done."""
        rest = ~done
        self.weights = self.feasible
        self.p[rest] = self.g[rest] + combine(self.A[rest], self.feasible[rest])
