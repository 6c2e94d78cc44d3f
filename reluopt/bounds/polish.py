"""Fewer λmax at a fixed z: the multipliers of one region and sign, improved directly by a smoothed eigenvalue."""

from __future__ import annotations

import math
import time

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.optimize import minimize

from reluopt.bounds.regions import RegionMultipliers

#: Temperatures of the smoothed λmax in units of the level, with L-BFGS iterations at each.
SCHEDULE = ((0.005, 40), (0.005, 40), (0.002, 60), (0.001, 100))
#: The smallest ν in units of the usual ν/|z|: smaller ones make the bound too steep to improve.
FLOOR = 1e-2
#: The smallest start of c and of the slack in units of |z|: they are squares, which would never leave 0.
SEED = 1e-3
#: Eigenvectors of less weight than this do not enter the gradient, and no more than MOST of them are computed.
NEGLIGIBLE, MOST = 1e-5, 64


class Polish:
    """min λmax(C) over w = z + c + slack, c ≥ 0, slack ≥ 0 and ν > 0, as squares and a logarithm in units of |z_i|.

    With W, c (f, n) on the forms F and D = ¼W − ½c the bound matrix is

    .. math:: C = ¼ Fᵀ(W ν^{-1} Wᵀ)F + (XᵀDᵀF + FᵀDX) + ¼ Xᵀ diag(ν) X,

    so its only large product is the last one. The search runs in float32, ``level`` is taken in float64.
    """

    def __init__(
        self,
        X: Float[np.ndarray, "n d"],
        z: Float[np.ndarray, " n"],
        F: Float[np.ndarray, "f e"],
        start: RegionMultipliers,
        fast: np.ndarray | None = None,
    ) -> None:
        """Start at multipliers of z; ``fast`` is X in float32, which all blocks may share."""
        self.X, self.F, self.z = X, F, z
        self.fast = X.astype(np.float32) if fast is None else fast
        self.fast_F = F.astype(self.fast.dtype)
        self.f, self.n = len(F), len(z)
        size = np.abs(z)
        self.scale = size + 1e-3 * float(size.mean())
        up = z > 0
        usual = float(np.median(start.nu[up] / self.scale[up])) if up.any() else 1.0
        nu = np.maximum(start.nu, FLOOR * max(usual, 1e-12) * self.scale)
        slack = start.w - start.c
        slack[0] -= z
        roots = [np.sqrt(np.maximum(part, 0.0) / self.scale + SEED).ravel() for part in (start.c, slack)]
        self.point = np.concatenate([*roots, np.log(nu)])
        #: The best multipliers so far, and their λmax.
        self.best, self.level = start, self._level(start)

    def _roots(self, point: Float[np.ndarray, " p"]) -> Float[np.ndarray, "2 f n"]:
        return point[: -self.n].reshape(2, self.f, self.n)

    def multipliers(self, point: Float[np.ndarray, " p"]) -> RegionMultipliers:
        """The multipliers that a point stands for."""
        c, slack = self._roots(point) ** 2 * self.scale
        w = c + slack
        w[0] += self.z
        return RegionMultipliers(w, c, np.exp(point[-self.n :]))

    @staticmethod
    def _matrix(X: np.ndarray, F: np.ndarray, w: np.ndarray, c: np.ndarray, nu: np.ndarray) -> Float[np.ndarray, "e e"]:
        C = 0.25 * (F.T @ ((w / nu) @ w.T) @ F)
        half = X * (0.5 * np.sqrt(nu))[:, None]
        C[1:, 1:] += half.T @ half
        cross = ((0.25 * w - 0.5 * c) @ X).T @ F
        C[1:] += cross
        C[:, 1:] += cross.T
        return C

    def _level(self, m: RegionMultipliers) -> float:
        nu = np.where(m.nu > 0, m.nu, 1e-300)  # w = 0 where ν = 0
        C = self._matrix(self.X, self.F, m.w, m.c, nu)
        return float(np.linalg.eigvalsh(C)[-1])

    def smoothed(self, point: Float[np.ndarray, " p"], temperature: float) -> tuple[float, Float[np.ndarray, " p"]]:
        """τ log tr exp(C/τ) and its gradient."""
        m = self.multipliers(point)
        X, F = self.fast, self.fast_F
        w, c, nu = (part.astype(X.dtype) for part in (m.w, m.c, m.nu))
        C = self._matrix(X, F, w, c, nu).astype(np.float64)
        if not np.isfinite(C).all():
            return math.inf, np.zeros_like(point)
        values, vectors = _top(C)
        weights = np.exp((values - values[-1]) / temperature)
        value = float(values[-1] + temperature * np.log(weights.sum()))
        weights /= weights.sum()
        keep = weights > NEGLIGIBLE
        half = (vectors[:, keep] * np.sqrt(weights[keep])).astype(X.dtype)
        image = X @ half[1:]
        on_forms = F @ half
        by_core = on_forms @ image.T
        again = (on_forms @ on_forms.T) @ w / nu
        by_w = 0.5 * (again + by_core)
        by_c = by_w - by_core
        by_nu = 0.25 * ((image * image).sum(1) - (again * w).sum(0) / nu)
        by_roots = 2 * np.stack([by_c, by_w]) * self.scale * self._roots(point)
        return value, np.concatenate([by_roots.ravel(), by_nu * nu]).astype(np.float64)

    def run(self, target: float, end: float) -> None:
        """Lower the level until it is below ``target`` or the clock passes ``end``; the best point is kept."""
        unit = self.level

        def stop(_: object) -> None:
            if time.perf_counter() > end:
                raise StopIteration

        for relative, iterations in SCHEDULE:
            if self.level <= target or time.perf_counter() > end:
                return

            def objective(point: np.ndarray, tau: float = relative * unit) -> tuple[float, np.ndarray]:
                value, gradient = self.smoothed(point, tau)
                return value / unit, gradient / unit

            options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 10}
            found = minimize(objective, self.point, jac=True, method="L-BFGS-B", callback=stop, options=options).x
            self.point, candidate = found, self.multipliers(found)
            level = self._level(candidate)
            if level < self.level:
                self.best, self.level = candidate, level


def _top(C: Float[np.ndarray, "e e"]) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "e k"]]:
    """The largest eigenvalues of C, in rising order, with their eigenvectors."""
    if len(C) <= 2 * MOST:
        return np.linalg.eigh(C)
    return scipy.linalg.eigh(C, subset_by_index=(len(C) - MOST, len(C) - 1), check_finite=False)
