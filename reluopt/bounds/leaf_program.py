r"""The relaxation of one leaf of branch and bound over sample hyperplanes, with ball products and without pairs.

Moments of unit neurons u in the leaf: Y = E[(1,u)(1,u)ᵀ] with Y_00 = tr Y_uu = 1, and for every free sample
(e_i, f_i) = E[s_i(1,u)], s = (Xu)_+. Both (e_i, f_i) and (e_i − a_i, f_i − Y_uu x_i) lie in the second-order cone, as
s_i ≥ 0, p_i = s_i − x_iᵀu ≥ 0 and ‖u‖ ≤ 1; so do the cuts g; products of two of these are ≥ 0; where z_i > 0 also

.. math:: [[Y, (e_i, f_i)], [·, x_iᵀf_i]] ⪰ 0,   as s_i² = s_i x_iᵀu.

Its maximum of Σ z_i e_i is an upper bound of zᵀ(Xu)_+ on the leaf, and its dual variables are the multipliers of
``certificate/SPEC.md``, section 6, with every free sample in a group of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from reluopt.bounds.ball import SAFETY, Ball
from reluopt.bounds.evidence import Multipliers
from reluopt.bounds.slopes import Slopes

#: ν of samples with z_i < 0, whose ψ vanishes, as a part of the largest ν.
SMALLEST_NU = 1e-6


@dataclass(frozen=True, eq=False)
class LeafBound:
    """The value of one sign on one leaf, its multipliers, and where the moments are far from those of a neuron.

    Attributes
    ----------
    value : of the program, as solved. ``multipliers`` : for the evidence.
    doubt : (n,) |z_i| times what is undecided of sample i, min(e_i, e_i − a_i) ≥ 0; 0 for decided ones.
    direction : (d,) E[u], or the first eigenvector of Y_uu where that vanishes.
    """

    value: float
    multipliers: Multipliers
    doubt: Float[np.ndarray, " n"]
    direction: Float[np.ndarray, " d"]


class LeafProgram:
    """One leaf: X (n, d), its cuts (k, d), the free samples, and those that are active by a cut."""

    def __init__(
        self,
        X: Float[np.ndarray, "n d"],
        cuts: Float[np.ndarray, "k d"],
        free: Int[np.ndarray, " m"],
        active: Int[np.ndarray, " a"],
    ) -> None:
        self.X, self.cuts, self.free, self.active = X, cuts, free, active
        self.d, self.m, self.k = X.shape[1], len(free), len(cuts)
        N = self.N = 1 + self.d
        a, b = np.triu_indices(N)
        self.entry = np.zeros((N, N), dtype=np.int64)
        self.entry[a, b] = self.entry[b, a] = np.arange(len(a))
        self.size = len(a) + self.m * N
        self.rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.count = 0

    def moment(self, i: int) -> Int[np.ndarray, " e"]:
        """Where (e_i, f_i) of the i-th free sample stands."""
        return self.size - self.m * self.N + i * self.N + np.arange(self.N)

    def solve(self, z: Float[np.ndarray, " n"], seconds: float) -> LeafBound | None:
        """The bound of one sign; None where the solver gives none."""
        N, X, rising = self.N, self.X, np.flatnonzero(z[self.free] > 0)
        A, b, cones = self._constraints(rising)
        q = np.zeros(self.size)
        for i, sample in enumerate(self.free):
            q[self.moment(i)[0]] = -z[sample]
        q[self.entry[0, 1:]] -= z[self.active] @ X[self.active]
        settings = clarabel.DefaultSettings()
        settings.verbose, settings.max_threads, settings.time_limit = False, 1, max(1e-3, seconds)
        settings.tol_gap_rel = settings.tol_gap_abs = settings.tol_feas = 1e-7
        found = clarabel.DefaultSolver(sp.csc_matrix((self.size, self.size)), q, A, b, cones, settings).solve()
        x, dual = np.array(found.x), np.array(found.z)
        if not (np.isfinite(x).all() and np.isfinite(dual).all()) or "Infeasible" in str(found.status):
            return None
        moments = x[self.size - self.m * N :].reshape(self.m, N)
        mean, doubt = x[self.entry[0, 1:]], np.zeros(len(X))
        low = np.minimum(moments[:, 0], moments[:, 0] - X[self.free] @ mean)
        doubt[self.free] = np.abs(z[self.free]) * low.clip(0.0)
        direction = mean if np.linalg.norm(mean) > 1e-6 else np.linalg.eigh(x[self.entry[1:, 1:]])[1][:, -1]
        return LeafBound(-float(q @ x), self._multipliers(dual, rising), doubt, direction)

    # -- the constraints -----------------------------------------------------------------------------------------------

    def _constraints(self, rising: Int[np.ndarray, " p"]) -> tuple[sp.csc_matrix, Float[np.ndarray, " c"], list[Any]]:
        """Ax + s = b in the order in which ``_multipliers`` reads the dual variables."""
        self.rows, self.count, d, N, k, m = [], 0, self.d, self.N, self.k, self.m
        Y, X, G = self.entry, self.X[self.free], self.cuts
        self._put(1, [0], [Y[0, 0]], [1.0])
        self._put(1, np.zeros(d), np.diag(Y)[1:], np.ones(d))
        for i in range(m):
            f = self.moment(i)[1:]
            for g in G:
                self._put(1, np.zeros(d), f, g)
                self._put(1, np.zeros(d + d * d), [*f, *Y[1:, 1:].ravel()], [*g, *(-np.outer(g, X[i])).ravel()])
        for j in range(k):
            for other in range(j):
                self._put(1, np.zeros(d * d), Y[1:, 1:].ravel(), np.outer(G[j], G[other]).ravel())
        nonnegative = self.count - 2
        for i in range(m):
            at = self.moment(i)
            self._put(N, np.arange(N), at, np.ones(N))
            rows = np.repeat(np.arange(N), d)
            self._put(N, [*np.arange(N), *rows], [*at, *Y[:, 1:].ravel()], [*np.ones(N), *np.tile(-X[i], N)])
        for g in G:
            self._put(N, np.repeat(np.arange(N), d), Y[:, 1:].ravel(), np.tile(g, N))
        a, b = _triangle(N)
        self._put(len(a), np.arange(len(a)), Y[a, b], np.where(a == b, 1.0, math.sqrt(2)))
        a, b = _triangle(N + 1)
        inside, last = np.flatnonzero(b < N), np.flatnonzero((b == N) & (a < N))
        for i in rising.tolist():
            columns = [*Y[a[inside], b[inside]], *self.moment(i), *self.moment(i)[1:]]
            weights = [*np.where(a == b, 1.0, math.sqrt(2))[inside], *np.full(N, math.sqrt(2)), *X[i]]
            self._put(len(a), [*inside, *last, *np.full(d, len(a) - 1)], columns, weights)
        cones = [clarabel.ZeroConeT(2), *([clarabel.NonnegativeConeT(nonnegative)] if nonnegative else [])]
        cones += [clarabel.SecondOrderConeT(N)] * (2 * m + k) + [clarabel.PSDTriangleConeT(N)]
        cones += [clarabel.PSDTriangleConeT(N + 1)] * len(rising)
        rows, places, values = (np.concatenate([part[at] for part in self.rows]) for at in range(3))
        right = np.zeros(self.count)
        right[:2] = -1.0
        A = sp.csc_matrix((-values, (rows, places)), shape=(self.count, self.size))
        return A, right, cones

    def _put(self, height: int, rows: object, columns: object, values: object) -> None:
        """Rows whose slack is Σ value·x, and less by 1 in the two equations."""
        self.rows.append(
            (np.asarray(rows, dtype=np.int64) + self.count, np.asarray(columns, np.int64), np.asarray(values, float))
        )
        self.count += height

    # -- the dual variables --------------------------------------------------------------------------------------------

    def _multipliers(self, dual: Float[np.ndarray, " c"], rising: Int[np.ndarray, " p"]) -> Multipliers:
        d, N, k, m, n = self.d, self.N, self.k, self.m, len(self.X)
        tilt, at = 0.5 * (dual[0] - dual[1]), 2
        of_cuts, at = dual[at : at + 2 * m * k].reshape(m, k, 2).clip(0.0), at + 2 * m * k
        pairs, at = dual[at : at + k * (k - 1) // 2].clip(0.0), at + k * (k - 1) // 2
        balls, at = dual[at : at + 2 * m * N].reshape(m, 2, N), at + 2 * m * N
        ball_cuts, at = dual[at : at + k * N].reshape(k, N), at + k * N + N * (N + 1) // 2
        height, nu = (N + 1) * (N + 2) // 2, np.zeros(n)
        for i, block in zip(rising, dual[at:].reshape(-1, height), strict=True):
            nu[self.free[i]] = block[-1]
        nu[self.free] = np.maximum(nu[self.free], SMALLEST_NU * (float(nu.max()) or 1.0))
        r: list[np.ndarray] = []
        omega: list[np.ndarray] = []
        for i in range(m):
            square, rows = np.zeros((3 + k, 3 + k)), np.zeros((3 + k, d))
            for form, (kappa, *minus) in zip((1 + k, 2 + k), balls[i], strict=True):
                rows[form] = -np.array(minus)
                square[0, form] = _above(kappa, rows[form])
            square[1 : 1 + k, 1 + k], square[1 : 1 + k, 2 + k] = of_cuts[i, :, 0], of_cuts[i, :, 1]
            r.append(square)
            omega.append(rows)
        square, rows = np.zeros((1 + k, 1 + k)), np.zeros((1 + k, d))
        square[1:, 1:][np.tril_indices(k, -1)] = pairs
        for j in range(k):
            rows[1 + j] = -ball_cuts[j, 1:]
            square[0, 1 + j] = _above(ball_cuts[j, 0], rows[1 + j])
        zeros = np.zeros((1 + k, n))
        return Multipliers(
            zeros, zeros.copy(), nu, (*r, square), Slopes(np.zeros((0, d)), np.zeros(n), float(tilt)),
            Ball(np.eye(d), (*omega, rows)),
        )  # fmt: skip


def _above(kappa: float, row: Float[np.ndarray, " d"]) -> float:
    """κ ≥ ‖k‖ with room for rounding."""
    return max(float(kappa), float(np.linalg.norm(row)) * (1 + SAFETY) + 1e-300)


def _triangle(N: int) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
    """Rows and columns of an upper triangle, column by column."""
    columns = np.repeat(np.arange(N), np.arange(1, N + 1))
    return np.concatenate([np.arange(j + 1) for j in range(N)]), columns
