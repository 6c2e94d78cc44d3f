"""The instances: npz files with X, y, G, or generated ones of the same kinds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reluopt.losses import make_loss
from reluopt.patterns.pattern_set import PatternSet
from reluopt.problem import Problem
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.gated import GatedProgram
from reluopt.programs.relaxed import RelaxedProgram

PROGRAMS = {"relaxed": RelaxedProgram, "gated": GatedProgram}


@dataclass(frozen=True)
class Instance:
    """X (n, d) with columns of norm one, y (n,), gates G (d, P)."""

    name: str
    X: np.ndarray
    y: np.ndarray
    G: np.ndarray

    def program(self, kind: str, ratio: float, loss: str = "squared") -> ConvexProgram:
        """At β = ratio · max_i ‖XᵀD_i z₀‖, the gated program's β_max, as in the files' optima (z₀ = y, squared loss).

        Losses of classes take the sign of y.
        """
        y = np.where(self.y > 0, 1.0, -1.0) if make_loss(loss).classes else self.y
        problem = Problem(self.X, y, loss)
        unit = PROGRAMS[kind](problem, PatternSet.from_gates(self.X, self.G))
        return unit.with_beta(ratio * np.linalg.norm(unit.correlations(problem.zero_dual_point), axis=-1).max())


def load(folder: Path, name: str) -> Instance:
    """``folder/name.npz``."""
    with np.load(folder / f"{name}.npz") as data:
        return Instance(name, *(data[key].astype(np.float64) for key in ("X", "y", "G")))


def planted(n: int, d: int, patterns: int, seed: int = 0, width: int = 10, noise: float = 0.1) -> Instance:
    """A planted network of the given width with noise; the kind of instances a, b and c."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X /= np.linalg.norm(X, axis=0)
    y = np.maximum(X @ rng.standard_normal((d, width)), 0) @ rng.standard_normal(width)
    y = y / y.std() + noise * rng.standard_normal(n)
    return Instance(f"planted_{n}x{d}_{patterns}", X, y / y.std(), rng.standard_normal((d, patterns)))


def digits(patterns: int = 500, seed: int = 0) -> Instance:
    """scikit-learn's digits, 0-4 against 5-9."""
    from sklearn.datasets import load_digits

    X, label = load_digits(return_X_y=True)
    X = X / np.maximum(np.linalg.norm(X, axis=0), 1e-300)
    G = np.random.default_rng(seed).standard_normal((X.shape[1], patterns))
    return Instance("digits", X, np.where(label < 5, -1.0, 1.0), G)
