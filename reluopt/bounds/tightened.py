"""The tightest bound that fits the problem and the time: all cells, regions of all pairs, or neighbouring samples."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.exact import exact
from reluopt.bounds.lower_bound import LowerBound, check_inputs
from reluopt.bounds.neighbours import neighbours
from reluopt.bounds.splitting import splitting
from reluopt.patterns.arrangement import expected_count

#: Up to so many cells are all enumerated; up to so many samples regions of all pairs beat groups of neighbours.
CELLS, FEW = 2000, 150


def tightened(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    time_limit: float = 60.0,
    stop_at: float = math.inf,
    device: str | torch.device = "cpu",
) -> LowerBound:
    """``exact`` where the arrangement is small, ``splitting`` for few samples, ``neighbours`` for many.

    Parameters
    ----------
    time_limit : seconds (``exact`` takes what it needs, a few). ``stop_at`` : see ``splitting``.
    device : see ``neighbours``.

    Raises
    ------
    DataError, ConfigError : see ``check_inputs``.
    """
    check_inputs(X, y, beta)
    if expected_count(X) <= CELLS:
        return exact(X, y, beta)
    if len(X) <= FEW:
        return splitting(X, y, beta, time_limit=time_limit, stop_at=stop_at)
    return neighbours(X, y, beta, time_limit=time_limit, device=device)
