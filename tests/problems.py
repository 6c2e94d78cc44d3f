"""Instances that many tests share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reluopt.patterns.pattern_set import PatternSet

HERE = Path(__file__).resolve().parent / "reference"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "reference"


@dataclass(frozen=True)
class Reference:
    """One instance with the values that independent methods found for it."""

    name: str
    X: np.ndarray
    y: np.ndarray
    beta: float
    gates: np.ndarray
    values: dict[str, float]

    @property
    def patterns(self) -> PatternSet:
        return PatternSet.from_gates(self.X, self.gates)


def reference_names() -> list[str]:
    """The three instances that come with the tests, and all others where the folder of references is at hand."""
    folder = SHARED if SHARED.is_dir() else HERE
    return list(json.loads((folder / "values.json").read_text()))


def reference(name: str) -> Reference:
    folder = HERE if (HERE / f"{name}.npz").is_file() else SHARED
    content = np.load(folder / f"{name}.npz")
    values = json.loads((folder / "values.json").read_text())[name]
    X, y, gates = (np.ascontiguousarray(content[key], dtype=np.float64) for key in ("X", "y", "gates"))
    return Reference(name, X, y, float(content["beta"]), gates, values)


def small_problem(seed: int, n: int = 12, d: int = 3, P: int = 8) -> tuple[np.ndarray, np.ndarray, PatternSet, float]:
    """Random X (n, d), y, the patterns of P Gaussian gates, and a moderate β."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    return X, y, PatternSet.from_gates(X, rng.standard_normal((d, P))), 0.3


def random_network(rng: np.random.Generator, d: int, width: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Weights (U, α) with some zero neurons among them."""
    U, alpha = scale * rng.standard_normal((width, d)), scale * rng.standard_normal(width)
    if width > 2:
        U[0], alpha[1] = 0.0, 0.0
    return U, alpha
