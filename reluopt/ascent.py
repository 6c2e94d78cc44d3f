r"""Ascent of g(u) = zᵀ(Xu)_+ on the unit sphere through its kinks, for many u at once.

Within a cell of the arrangement g is linear; where x_iᵀu = 0 with z_i < 0 it has a concave ridge, and its local maxima
lie on up to d − 1 of them. A gradient step zigzags between the sides of a ridge. Here a sample whose ridge stops the
ascent is *pinned*, x_iᵀu = 0 from then on, and the ascent goes on within the ridge, along great circles with exact
line search; a pin whose multiplier says that one of its sides is better is released. Each end point is a maximum
along its ridge and, to first order, against every single side of it.

It is the active set method of a piecewise linear concave-convex function: Fletcher, Practical Methods of
Optimization, ch. 14.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.clock import Clock

#: A column is done when its tangential gradient and its pins' violations are below this fraction of ‖g‖.
OPTIMAL = 1e-9
#: Hyperplanes that a step may cross; where none of them stops it, the next step goes on.
CROSSINGS = 32
#: |x_iᵀu|/‖x_i‖ up to which u is on the hyperplane.
ZERO = 1e-14
#: Numbers of one array of a batch of columns: a few of these fit into the cache.
CACHED_VALUES = 2**16
#: Exact recomputation of Xu after so many steps.
REFRESH = 10


def climb(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, " n"],
    U: Float[np.ndarray, "d s"],
    signs: Float[np.ndarray, " s"],
    iterations: int,
    clock: Clock | None = None,
) -> tuple[Float[np.ndarray, "d s"], Float[np.ndarray, " s"]]:
    """(directions, values): every column of U moved to a local maximum of ± zᵀ(Xu)_+, never downwards.

    When the clock is over they stay where they are.
    """
    clock = clock or Clock()
    W, values = np.empty(U.T.shape), np.empty(U.shape[1])
    for part in _parts(X, U):
        W[part], values[part] = _climbed(X, signs[part, None] * z, U[:, part].T, iterations, clock)
    return W.T, values


def climb_outputs(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, "n C"],
    U: Float[np.ndarray, "d s"],
    iterations: int,
    rounds: int,
    clock: Clock,
) -> tuple[Float[np.ndarray, "d s"], Float[np.ndarray, " s"], Float[np.ndarray, "s C"]]:
    """(directions, values, a): every column of U moved towards a local maximum of ‖zᵀ(Xu)_+‖, never downwards.

    ‖zᵀ(Xu)_+‖ = max_a aᵀzᵀ(Xu)_+ over ‖a‖ ≤ 1: u climbs for the best a of the moment, ``rounds`` times.
    """
    W = U.T.copy()
    for _ in range(rounds):
        if clock.over:
            break
        for part in _parts(X, U):
            _, a = outputs_of(X, z, W[part].T)
            W[part] = _climbed(X, a @ z.T, W[part], iterations, clock)[0]
    values, a = outputs_of(X, z, W.T)
    return W.T, values, a


def outputs_of(
    X: Float[np.ndarray, "n d"], z: Float[np.ndarray, "n C"], U: Float[np.ndarray, "d s"]
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "s C"]]:
    """‖zᵀ(Xu)_+‖ of every column u, and the unit a = zᵀ(Xu)_+/‖·‖ of each."""
    V = np.maximum(X @ U, 0.0).T @ z
    values = np.linalg.norm(V, axis=1)
    return values, V / np.where(values > 0, values, 1.0)[:, None]


def _parts(X: Float[np.ndarray, "n d"], U: Float[np.ndarray, "d s"]) -> list[slice]:
    """Columns of U to be worked on at a time."""
    width = max(16, CACHED_VALUES // len(X))
    return [slice(k, k + width) for k in range(0, U.shape[1], width)]


def _climbed(
    X: Float[np.ndarray, "n d"], Z: Float[np.ndarray, "s n"], U: Float[np.ndarray, "s d"], iterations: int, clock: Clock
) -> tuple[Float[np.ndarray, "s d"], Float[np.ndarray, " s"]]:
    state = _Climb(X, Z, U.copy())
    for k in range(iterations):
        if not len(state.alive) or clock.over:
            break
        state.step(refresh=k % REFRESH == REFRESH - 1)
    norms = np.linalg.norm(state.U, axis=1)
    W = state.U / np.where(norms > 0, norms, 1.0)[:, None]
    values, before = ((np.maximum(V @ X.T, 0.0) * Z).sum(axis=1) for V in (W, U))
    worse = before > values
    return np.where(worse[:, None], U, W), np.where(worse, before, values)


class _Climb:
    """U (s, d) unit rows with their z (s, n), pre-activations H (s, n), pinned samples, and who still moves."""

    def __init__(self, X: np.ndarray, Z: np.ndarray, U: np.ndarray) -> None:
        self.X, self.Z, self.U = X, Z, U
        self.norms = np.linalg.norm(X, axis=1)
        self.H = U @ X.T
        # where a released sample goes: counted as active although it is still 0
        self.forced = np.zeros(Z.shape, dtype=bool)
        self.pinned = np.zeros(Z.shape, dtype=bool)
        self.alive = np.arange(len(U))

    def step(self, refresh: bool) -> None:
        """One great circle for every column that still moves."""
        a = self.alive
        if refresh:
            self.H[a] = self.U[a] @ self.X.T
            self.H[a] = np.where(self.pinned[a], 0.0, self.H[a])
        on = ((self.H[a] > 0) | self.forced[a]) & ~self.pinned[a]
        g = (on * self.Z[a]) @ self.X
        tangent, released = self._project(a, g)
        again = released >= 0
        if again.any():
            b = a[again]
            g[again] += (self.forced[b, released[again]] * self.Z[b, released[again]])[:, None] * self.X[
                released[again]
            ]
            on[np.flatnonzero(again), released[again]] = self.forced[b, released[again]]
            tangent[again] = self._project(b, g[again], release=False)[0]
        length, size = np.linalg.norm(tangent, axis=1), np.linalg.norm(g, axis=1)
        moving = length > OPTIMAL * size
        self.alive = a = a[moving]
        if not len(a):
            return
        v = tangent[moving] / length[moving, None]
        value = (g[moving] * self.U[a]).sum(axis=1)
        self._move(a, v, on[moving], value, length[moving])

    def _project(self, a: np.ndarray, g: np.ndarray, release: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """g without its parts along u and the pinned rows; the sample that each column releases, or −1."""
        U, d = self.U[a], self.X.shape[1]
        count = self.pinned[a].sum(axis=1)
        k = int(count.max(initial=0))
        released = np.full(len(a), -1)
        tangent = g - (g * U).sum(axis=1)[:, None] * U
        if k == 0:
            return tangent, released
        column, sample = np.nonzero(self.pinned[a])
        place = np.arange(len(column)) - np.repeat(np.cumsum(count) - count, count)
        rows = np.zeros((len(a), k, d))
        rows[column, place] = self.X[sample] / self.norms[sample, None]
        gram = rows @ rows.transpose(0, 2, 1)
        diagonal = np.arange(k)
        gram[:, diagonal, diagonal] += np.where(diagonal < count[:, None], 1e-13, 1.0)
        mu = np.linalg.solve(gram, rows @ tangent[:, :, None])
        tangent = tangent - (mu.transpose(0, 2, 1) @ rows)[:, 0]
        if not release:
            return tangent, released
        # at an optimum 0 ≤ μ_i ≤ −z_i‖x_i‖; off to the active side g rises by μ_i + z_i‖x_i‖, off to the other by −μ_i
        index = np.full((len(a), k), -1)
        index[column, place] = sample
        mu, weight = mu[:, :, 0], self.Z[a[:, None], index] * self.norms[index]
        gain = np.where(index >= 0, np.maximum(-mu, mu + weight), -np.inf)
        worst = gain.argmax(axis=1)
        best = gain[np.arange(len(a)), worst]
        go = best > np.maximum(0.5 * np.linalg.norm(tangent, axis=1), OPTIMAL * np.linalg.norm(g, axis=1))
        at = np.flatnonzero(go)
        released[at] = index[at, worst[at]]
        self.pinned[a[at], released[at]] = False
        self.forced[a[at], released[at]] = (mu + weight > -mu)[at, worst[at]]
        return tangent, released

    def _move(self, a: np.ndarray, v: np.ndarray, on: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
        """Exact line search along cos θ u + sin θ v: up to the first θ where the slope is no longer positive.

        Where it stays positive, to between the last two crossings that are known, or, if there are no more, to θ = π.
        """
        H, B = self.H[a], v @ self.X.T
        B[self.pinned[a]] = 0.0
        near, angles, more = self._crossings(H, B)
        sides = np.where(np.take_along_axis(on, near, axis=1), -1.0, 1.0) * np.take_along_axis(self.Z[a], near, axis=1)
        cosines = value[:, None] + np.cumsum(np.hstack([0 * value[:, None], sides * np.take_along_axis(H, near, 1)]), 1)
        sines = slope[:, None] + np.cumsum(np.hstack([0 * slope[:, None], sides * np.take_along_axis(B, near, 1)]), 1)
        begin = np.hstack([np.zeros((len(a), 1)), angles])
        end = np.hstack([angles, np.full((len(a), 1), np.pi)])
        at_begin = np.cos(begin) * sines - np.sin(begin) * cosines
        at_begin[:, 0] = slope
        at_end = np.cos(end) * sines - np.sin(end) * cosines
        # what never crosses is at π, behind all others: no interval begins there
        stops = (begin < np.pi) & ((at_begin <= 0) | (at_end <= 0))
        known = (begin < np.pi).sum(axis=1) - 1
        k = np.where(stops.any(axis=1), stops.argmax(axis=1), known)
        i = np.arange(len(a))
        kink = at_begin[i, k] <= 0
        # all known crossings used up and more to come: not onto the last of them, where the sample would have no side
        unknown = more & (k == known) & ~kink
        inside = np.where(stops[i, k], np.arctan2(sines[i, k], cosines[i, k]), np.pi)
        before = 0.5 * (begin[i, k] + begin[i, np.maximum(k - 1, 0)])
        angle = np.where(kink, begin[i, k], np.where(unknown, before, inside))
        self._rotate(a, v, B, angle)
        self.forced[a] = on & (np.abs(self.H[a]) <= ZERO * self.norms) & ~self.pinned[a]
        crossed = near[i, np.maximum(k - 1, 0)]
        p = a[kink]
        self.pinned[p, crossed[kink]] = True
        self.forced[p, crossed[kink]] = False
        self.H[p, crossed[kink]] = 0.0

    def _crossings(self, H: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each column the first samples that cross 0, their angles in order (π: never), and whether there are more.

        Sample i crosses once in 0 < θ < π, at cot θ = −b/a for x_iᵀu = a, x_iᵀv = b: the order of b/a is that of θ.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            key = np.where(np.abs(H) > ZERO * self.norms, B / H, np.inf)
        few = min(CROSSINGS, key.shape[1])
        near = np.argpartition(key, few - 1, axis=1)[:, :few]
        key_near = np.take_along_axis(key, near, axis=1)
        angles = np.where(np.isinf(key_near), np.pi, np.arctan2(1.0, -key_near))
        order = np.argsort(angles, axis=1, kind="stable")
        near, angles = np.take_along_axis(near, order, axis=1), np.take_along_axis(angles, order, axis=1)
        return near, angles, (angles[:, -1] < np.pi) & (key.shape[1] > few)

    def _rotate(self, a: np.ndarray, v: np.ndarray, B: np.ndarray, angle: np.ndarray) -> None:
        cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
        self.U[a] = cosine * self.U[a] + sine * v
        self.H[a] = cosine * self.H[a] + sine * B
