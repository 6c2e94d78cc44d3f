r"""Moments of neurons as low-rank factors: Y^± = RᵀR with R (k, d + 1) for each sign, in torch float64.

With R = [r_0 | R_u], G = X R_uᵀ: a = G r_0, B_i = ‖G_i‖², T = ‖r_0‖², and a sample's preactivations allow
E[α(xᵀu)_+] between lo = (a)_+ and hi = ½(a + √(T B)) (Theorem B, see ``moment_search.py``). lo is smoothed as
½(a + √(a² + ε²)), which settles its kink by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from reluopt.bounds.evidence import Multipliers, theorem_a

#: Keeps √ and divisions away from 0/0; in units of data scaled to norm one, far below any tolerance here.
FLOOR = 1e-30
#: Smoothing ε of lo in units of y's (or z's) root mean square, one L-BFGS run each, each started where the last ended.
SMOOTHING = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
#: Rows of the factors: a few more than the rank 2 or 3 of the optimum.
ROWS = 8


@dataclass(frozen=True)
class Moments:
    """The moments of both signs, index 0 for + and 1 for −, with what their gradient needs."""

    G: Float[Tensor, "2 k n"]
    r0: Float[Tensor, "2 k"]
    B: Float[Tensor, "2 n"]
    T: Float[Tensor, "2 1"]
    reach: Float[Tensor, "2 n"]
    slope: Float[Tensor, "2 n"]
    lo: Float[Tensor, "2 n"]
    hi: Float[Tensor, "2 n"]

    def pull_back(
        self, X: Float[Tensor, "n d"], on_hi: Float[Tensor, "2 n"], on_lo: Float[Tensor, "2 n"]
    ) -> Float[Tensor, "2 k e"]:
        """The gradient by R of Σ on_hi·hi + on_lo·lo, in closed form (faster than recording it)."""
        by_r0, by_G = self._by_products(on_hi, on_lo)
        return torch.cat([by_r0[:, :, None], through_rows(by_G, X)], dim=2)

    def _by_products(
        self, on_hi: Float[Tensor, "2 n"], on_lo: Float[Tensor, "2 n"]
    ) -> tuple[Float[Tensor, "2 k"], Float[Tensor, "2 k n"]]:
        """The same gradient by r_0 and by G."""
        by_a = 0.5 * on_hi + self.slope * on_lo
        by_B = 0.25 * on_hi * self.T / self.reach
        by_T = 0.25 * (on_hi * self.reach).sum(1, keepdim=True) / self.T
        by_r0 = torch.bmm(self.G, by_a[:, :, None])[:, :, 0] + 2 * by_T * self.r0
        return by_r0, torch.addcmul(by_a[:, None] * self.r0[:, :, None], by_B[:, None], self.G, value=2)


def through_rows(by_G: Float[Tensor, "2 k n"], X: Float[Tensor, "n d"]) -> Float[Tensor, "2 k d"]:
    """by_G X for both signs: the gradient by R_u from that by G = R_uXᵀ."""
    _, k, n = by_G.shape
    return (by_G.view(2 * k, n) @ X).view(2, k, -1)


def moments(X: Float[Tensor, "n d"], R: Float[Tensor, "2 k e"], epsilon: float) -> Moments:
    """The moments of the factors R (2, k, d + 1) on the data, with lo smoothed by ``epsilon``."""
    k, d = R.shape[1], X.shape[1]
    r0 = R[:, :, 0]
    G = (R[:, :, 1:].reshape(2 * k, d) @ X.T).view(2, k, -1)
    a, B, T = torch.bmm(r0[:, None], G)[:, 0], (G * G).sum(1) + FLOOR, (r0 * r0).sum(1, keepdim=True) + FLOOR
    root, reach = (a * a + epsilon * epsilon).sqrt(), (T * B).sqrt()
    return Moments(G, r0, B, T, reach, 0.5 + 0.5 * (a / root), 0.5 * (a + root), 0.5 * (a + reach))


def multipliers(m: Moments, z: Float[np.ndarray, " n"], unit: float) -> tuple[Multipliers, Multipliers]:
    """Theorem A's multipliers of z and of −z, read off the moments; ``unit`` is what X was divided by for them.

    w_i = z_i and ν_i = z_i √(T/B_i) where z_i > 0; q_i = |z_i| θ_i with θ the slope of lo where z_i < 0.
    """
    ratio = ((m.T / m.B).sqrt() / unit).cpu().numpy()
    slope = m.slope.clamp(0.0, 1.0).cpu().numpy()
    sides = []
    for side, signed in enumerate((z, -z)):
        q = np.where(signed < 0, -signed * slope[side], 0.0)
        sides.append(theorem_a(signed, q, np.maximum(signed, 0.0) * ratio[side]))
    return sides[0], sides[1]


def minimised(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    *,
    iterations: int,
    seconds: float,
    memory: int = 20,
) -> np.ndarray:
    """L-BFGS with ``memory`` pairs over the factors, stopped after ``iterations`` or ``seconds``."""
    end = time.perf_counter() + seconds

    def flat(theta: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        value, gradient = objective(theta.reshape(start.shape))
        return value, gradient.ravel()

    def out_of_time(_: object) -> None:
        if time.perf_counter() > end:
            raise StopIteration

    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": memory, "ftol": 1e-12, "gtol": 1e-9}
    result = minimize(flat, start.ravel(), jac=True, method="L-BFGS-B", callback=out_of_time, options=options)
    return result.x.reshape(start.shape)


def random_factors(rows: int, d: int, seed: int) -> Float[np.ndarray, "2 k e"]:
    """A small random start."""
    return np.random.default_rng(seed).standard_normal((2, rows, d + 1)) * 0.3 / math.sqrt(rows * (d + 1))
