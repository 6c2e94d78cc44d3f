"""The units that every search works in: ‖X‖₂ = √n, and real targets' mean square and the mean of κ are one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Units:
    """X = x·X', f = f·f', L = value·L' between a problem and its scaled one (′)."""

    x: float
    f: float
    value: float

    @property
    def z(self) -> float:
        """z = −∂L/∂f is in units of value/f."""
        return self.value / self.f

    @property
    def weight(self) -> float:
        """Balanced neurons (u, α) are in units of √(f/x), blocks |α|u of its square."""
        return math.sqrt(self.f / self.x)

    @property
    def nu(self) -> float:
        """Multipliers of s_i(s_i − x_iᵀu) = 0, and of all products of two forms linear in u: z/x."""
        return self.z / self.x


def spectral_unit(X: Float[np.ndarray, "n d"]) -> float:
    """‖X‖₂/√n, by the smaller Gram matrix, whose entries cannot overflow; never 0."""
    n, d = X.shape
    size = float(np.abs(X).max()) or 1.0
    small = X / size
    gram = small.T @ small if d <= n else small @ small.T
    return size * math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 1e-30) / n)


def mean_square_unit(targets: Float[np.ndarray, "n ..."]) -> float:
    """√(‖y‖²/n), without overflow; 1 where all targets are 0."""
    size = float(np.abs(targets).max()) or 1.0
    return float(np.linalg.norm(targets / size)) / math.sqrt(len(targets)) * size or 1.0
