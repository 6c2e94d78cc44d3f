r"""What all convex programs over a pattern set share: blocks, fit, and the dual point.

A *block* is one vector of R^d for one pattern D_i and one side (sign of the output weight). Blocks are kept
in one array of shape (k, P, d): k = 2 sides (v with +, w with −) for the relaxed and exact programs, k = 1
for the gated ones. The n × dP design matrix is never formed: one product X·Bᵀ, then the pattern mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt import rounding
from reluopt.errors import ConfigError, DataError
from reluopt.objective import SQUARED
from reluopt.patterns.pattern_set import PatternSet


@dataclass(frozen=True, eq=False)
class PatternProgram:
    """Data X (n, d), y (n,), a pattern set of P patterns, and weight decay β > 0.

    Raises
    ------
    DataError : shapes that do not fit, or non-finite data.
    ConfigError : β that is not a positive finite number.
    """

    X: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    patterns: PatternSet
    beta: float

    #: The sign of each side's contribution to the fit.
    sides: ClassVar[tuple[float, ...]] = (1.0,)
    #: Whether each block must lie in the cone of its pattern.
    has_cones: ClassVar[bool] = False
    #: The power p of the regulariser (β/p) Σ‖u_i‖^p: 1 for the group norm, 2 for ridge.
    penalty_power: ClassVar[int] = 1
    #: Whether the fit must equal y, instead of being close to it.
    exact_fit: ClassVar[bool] = False
    name: ClassVar[str] = "program"

    def __post_init__(self) -> None:
        n = self.X.shape[0]
        if self.y.shape != (n,) or self.patterns.n != n:
            raise DataError(
                f"X has {n} rows, y has shape {self.y.shape}, the patterns are of {self.patterns.n} samples.",
                "Give data and patterns of the same samples.",
            )
        if self.X.dtype != np.float64 or self.y.dtype != np.float64:
            raise DataError(f"The data are {self.X.dtype} and {self.y.dtype}.", "Convert X and y to float64.")
        if not (np.isfinite(self.X).all() and np.isfinite(self.y).all()):
            raise DataError("The data have NaN or infinite entries.", "Clean the data first.")
        if not (np.isfinite(self.beta) and self.beta > 0):
            raise ConfigError(f"β is {self.beta}.", "Give a positive weight decay β.")
        if len(self.patterns) == 0:
            raise ConfigError("The pattern set is empty.", "Sample at least one pattern.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, P, d): the shape of the blocks."""
        return len(self.sides), len(self.patterns), self.X.shape[1]

    def zero_blocks(self) -> Float[np.ndarray, "k P d"]:
        """All blocks zero: always feasible, value ½‖y‖²."""
        return np.zeros(self.shape)

    def preactivations(self, blocks: Float[np.ndarray, "k P d"]) -> Float[np.ndarray, "k n P"]:
        """X u for every block u."""
        return self.X @ blocks.transpose(0, 2, 1)

    def fit(self, blocks: Float[np.ndarray, "k P d"]) -> Float[np.ndarray, " n"]:
        """f = Σ_side ± Σ_i D_i X u_i."""
        combined = np.tensordot(np.array(self.sides), blocks, axes=1)
        return (self.X @ combined.T).sum(axis=1, where=self.patterns.dense)

    def penalty(self, blocks: Float[np.ndarray, "k P d"]) -> float:
        """The regulariser; β Σ‖u_i‖ unless a program says otherwise."""
        return float(self.beta * np.linalg.norm(blocks, axis=-1).sum())

    def value(self, blocks: Float[np.ndarray, "k P d"]) -> float:
        """½‖f − y‖² + penalty. Feasibility is a separate question: see ``cone_violation``."""
        return float(SQUARED.value(self.fit(blocks), self.y)) + self.penalty(blocks)

    def gradient(self, blocks: Float[np.ndarray, "k P d"]) -> Float[np.ndarray, "k P d"]:
        """The smallest subgradient of the value by each block (cones aside): −(± XᵀD_i z) + β u/‖u‖, z = y − f.

        At a zero block −(± XᵀD_i z) is shrunk by β, so without cones the gradient vanishes exactly at an optimum.
        """
        g = self.correlations(SQUARED.dual_point(self.fit(blocks), self.y))
        norms, sizes = np.linalg.norm(blocks, axis=-1), np.linalg.norm(g, axis=-1)
        excess = np.maximum(1 - self.beta / np.where(sizes > 0, sizes, np.inf), 0.0)
        direction = blocks / np.where(norms > 0, norms, 1.0)[..., None]
        return np.where((norms > 0)[..., None], self.beta * direction - g, -excess[..., None] * g)

    def dual_point(self, blocks: Float[np.ndarray, "k P d"]) -> Float[np.ndarray, " n"]:
        """z = y − f, dual optimal when the blocks are optimal."""
        return SQUARED.dual_point(self.fit(blocks), self.y)

    @property
    def dual_radius(self) -> float:
        """What the dual norm of every block must stay within: β (``inf`` where the dual has no constraint)."""
        return self.beta

    def dual_value(self, z: Float[np.ndarray, " n"]) -> float:
        """The dual objective yᵀz − ½‖z‖²; a bound on the optimum where z is feasible (see ``dual_violation``)."""
        return float(SQUARED.dual_objective(z, self.y))

    def scaled_dual(self, z: Float[np.ndarray, " n"], bound: float) -> tuple[float, float]:
        """(value, t): the best dual value of a multiple tz, proved, given a proved ``bound`` on all block norms."""
        return rounding.feasible_value(z, self.y, bound, self.beta)

    def correlations(self, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, "k P d"]:
        """± Xᵀ D_i z for every side and pattern: minus the gradient of the loss by each block."""
        g = (self.patterns.dense * z[:, None]).T @ self.X
        return np.array(self.sides)[:, None, None] * g[None]

    def cone_violation(self, blocks: Float[np.ndarray, "k P d"]) -> float:
        """Largest violation of (2D_i − I) X u_i ≥ 0, in units of the preactivations; 0 without cones."""
        if not self.has_cones:
            return 0.0
        worst = (self.patterns.signs[None] * self.preactivations(blocks)).min(initial=0.0)
        return float(-worst)

    def repair(self, blocks: Float[np.ndarray, "k P d"]) -> Float[np.ndarray, "k P d"]:
        """The blocks moved into their cones; without cones every point is feasible."""
        return blocks
