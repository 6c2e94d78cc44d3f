"""Gaussian gates: the random patterns of the Gaussian relaxation (KP section 1, "gated by h_i ~ N(0, I)")."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.errors import ConfigError
from reluopt.patterns.pattern_set import PatternSet


def gaussian_gates(d: int, count: int, rng: np.random.Generator) -> Float[np.ndarray, "d P"]:
    """``count`` i.i.d. gates h ~ N(0, I_d) as columns."""
    if count < 1:
        raise ConfigError(f"{count} gates were asked for.", "Ask for at least one.")
    return rng.standard_normal((d, count))


def sample_patterns(X: Float[np.ndarray, "n d"], draws: int, rng: np.random.Generator) -> PatternSet:
    """The distinct patterns of ``draws`` Gaussian gates: the pattern set of the Gaussian relaxation."""
    return PatternSet.from_gates(X, gaussian_gates(X.shape[1], draws, rng))
