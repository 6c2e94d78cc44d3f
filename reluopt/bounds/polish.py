"""Fewer λmax at a fixed z: the multipliers of one region and sign, improved directly by a smoothed eigenvalue."""

from __future__ import annotations

import time

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from reluopt.bounds.regions import RegionMultipliers

#: Temperatures of the smoothed λmax in units of the level, with L-BFGS iterations at each.
SCHEDULE = ((0.02, 40), (0.005, 60), (0.001, 100))
#: The smallest ν in units of the usual ν/|z|: smaller ones make the bound too steep to improve.
FLOOR = 1e-2


class Polish:
    """min λmax(C) over slack w − z − c ≥ 0, c ≥ 0 and log ν, all in units of |z_i| so that they are of one size."""

    def __init__(
        self,
        X: Float[np.ndarray, "n d"],
        z: Float[np.ndarray, " n"],
        F: Float[np.ndarray, "f e"],
        start: RegionMultipliers,
    ) -> None:
        self.X, self.F, self.f, self.n = X, F, len(F), len(z)
        size = np.abs(z)
        self.scale = size + 1e-3 * float(size.mean())
        self.base = np.zeros((self.f, self.n))
        self.base[0] = z
        up = z > 0
        usual = float(np.median(start.nu[up] / self.scale[up])) if up.any() else 1.0
        nu = np.maximum(start.nu, FLOOR * max(usual, 1e-12) * self.scale)
        slack = np.maximum(start.w - start.c - self.base, 0.0)
        parts = [(start.c / self.scale).ravel(), (slack / self.scale).ravel(), np.log(nu)]
        self.point = np.concatenate(parts)
        #: The best multipliers so far, and their λmax.
        self.best, self.level = start, self._level(start)

    def multipliers(self, point: Float[np.ndarray, " p"]) -> RegionMultipliers:
        """The multipliers that a point stands for."""
        m = self.f * self.n
        c, slack = (point[i * m : (i + 1) * m].reshape(self.f, self.n) * self.scale for i in (0, 1))
        return RegionMultipliers(self.base + c + slack, c, np.exp(point[2 * m :]))

    def _matrix(self, m: RegionMultipliers) -> tuple[np.ndarray, np.ndarray]:
        """(C, ψ)."""
        psi = m.w.T @ self.F
        psi[:, 1:] += m.nu[:, None] * self.X
        half = 0.5 * psi / np.sqrt(np.where(m.nu > 0, m.nu, 1.0))[:, None]  # ψ = 0 where ν = 0
        C, cross = half.T @ half, (self.X.T @ m.c.T) @ self.F
        C[1:] -= 0.5 * cross
        C[:, 1:] -= 0.5 * cross.T
        return C, psi

    def _level(self, m: RegionMultipliers) -> float:
        return float(np.linalg.eigvalsh(self._matrix(m)[0])[-1])

    def smoothed(self, point: Float[np.ndarray, " p"], temperature: float) -> tuple[float, Float[np.ndarray, " p"]]:
        """τ log tr exp(C/τ) and its gradient."""
        m = self.multipliers(point)
        (C, psi), nu = self._matrix(m), m.nu
        values, vectors = np.linalg.eigh(C)
        weights = np.exp((values - values[-1]) / temperature)
        P = (vectors * (weights / weights.sum())) @ vectors.T
        image = psi @ P
        pull = 0.5 * image / nu[:, None]
        by_w = self.F @ pull.T
        by_c = by_w - (self.F @ P[:, 1:]) @ self.X.T
        by_nu = (pull[:, 1:] * self.X).sum(1) - 0.25 * (image * psi).sum(1) / nu**2
        gradient = np.concatenate([(by_c * self.scale).ravel(), (by_w * self.scale).ravel(), by_nu * nu])
        return float(values[-1] + temperature * np.log(weights.sum())), gradient

    def run(self, target: float, end: float) -> None:
        """Lower the level until it is below ``target`` or the clock passes ``end``; the best point is kept."""
        bounds = [(0.0, None)] * (2 * self.f * self.n) + [(None, None)] * self.n
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
            found = minimize(
                objective, self.point, jac=True, method="L-BFGS-B", bounds=bounds, callback=stop, options=options
            ).x
            self.point, candidate = found, self.multipliers(found)
            level = self._level(candidate)
            if level < self.level:
                self.best, self.level = candidate, level
