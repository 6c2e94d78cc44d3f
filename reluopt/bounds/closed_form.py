r"""The closed-form lower bound, KP Prop. 3.6 and Cor. 3.7: z = ty with B = √λmax(XXᵀ)‖y‖.

zᵀ(Xu)_+ ≤ ‖z_+‖‖Xu‖ gives the sharper B = √λmax(XXᵀ) · max(‖y_+‖, ‖y_−‖) at the same cost; it is Theorem A with
q = 0, w = z_+ and one ν for all samples, so its evidence has the form of all others.
"""

from __future__ import annotations

import time

import numpy as np
from jaxtyping import Float

from reluopt.bounds.evidence import Multipliers, theorem_a, unsplit
from reluopt.bounds.lower_bound import LowerBound, check_inputs, prove


def closed_form(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], beta: float) -> LowerBound:
    """A proved lower bound of p* from the largest singular value of X alone.

    Raises
    ------
    DataError, ConfigError : see ``check_inputs``.
    """
    started = time.perf_counter()
    check_inputs(X, y, beta)
    gram = X.T @ X if X.shape[1] <= X.shape[0] else X @ X.T
    top = float(np.sqrt(max(0.0, np.linalg.eigvalsh(gram)[-1])))
    evidence = unsplit(y, X.shape[1], _one_nu(y, top), _one_nu(-y, top))
    return prove(X, y, beta, evidence, method="closed form", started=started)


def _one_nu(z: Float[np.ndarray, " n"], top: float) -> Multipliers:
    """ν_i = ‖z_+‖/‖X‖, which makes the two diagonal blocks of C equal."""
    norm = float(np.linalg.norm(np.maximum(z, 0.0)))
    nu = norm / top if norm > 0 and top > 0 else 1e30 * (1.0 + norm)  # nothing to balance: X = 0 or z ≤ 0
    return theorem_a(z, np.zeros_like(z), np.full(len(z), nu))
