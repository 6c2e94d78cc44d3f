"""The one result of everything in ``bounds``: a proved lower bound of p*, with its evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt import rounding
from reluopt.bounds.evidence import Evidence
from reluopt.bounds.theorem_a import evidence_upper
from reluopt.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class LowerBound:
    """p* ≥ ``value`` for networks of every width, proved with rounding accounted for.

    Attributes
    ----------
    value : the bound, in units of the objective L (½‖f − y‖² + weight decay; no 1/n).
    method : how it was found; the proof is the evidence alone.
    evidence : z and the multipliers that prove ``support``.
    support : B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1. ``scale`` : t ≤ β/B, so that tz is dual feasible.
    seconds : wall-clock time of the search and the proof.
    """

    value: float
    method: str
    evidence: Evidence
    support: float
    scale: float
    seconds: float


def prove(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    evidence: Evidence,
    *,
    method: str,
    started: float,
) -> LowerBound:
    """The proved value of an evidence: equation (*) with B from Theorem A. ``started`` is a ``time.perf_counter()``."""
    support = evidence_upper(X, evidence)
    value, scale = rounding.feasible_value(evidence.z, y, support, beta)
    return LowerBound(value, method, evidence, support, scale, time.perf_counter() - started)


def check_inputs(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], beta: float) -> None:
    """Refuse what no bound can be proved for.

    Raises
    ------
    DataError : data that are not float64 or not finite, or shapes that do not fit.
    ConfigError : β that is not a positive finite number.
    """
    if X.ndim != 2 or y.shape != X.shape[:1] or 0 in X.shape:
        raise DataError(f"X has shape {X.shape} and y {y.shape}.", "Give X (n, d) and y (n,), with n and d at least 1.")
    if X.dtype != np.float64 or y.dtype != np.float64:
        raise DataError(f"The data are {X.dtype} and {y.dtype}.", "Convert X and y to float64.")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise DataError("The data have NaN or infinite entries.", "Clean the data first.")
    if not (np.isfinite(beta) and beta > 0):
        raise ConfigError(f"β is {beta}.", "Give a positive weight decay β.")
