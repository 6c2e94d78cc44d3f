"""What refinement takes and gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.network import TwoLayerReLU


@dataclass(frozen=True)
class RefineSettings:
    """How :func:`refine` spends its rounds; the usual ones suit all losses and sizes tried.

    Attributes
    ----------
    starts : of pricing, or two a neuron where that is more, up to ``most_usual``; twice as many as before where
        fewer new directions than ``wanted`` are found; at most ``confirm``, which is what must find nothing at the end.
    climbs : steps of the exact ascent while prices are above 1.01 β, and then.
    most_new : directions added a round, the dearest first; as many as there are neurons where that is more.
    steps : L-BFGS iterations of a round; every ``descend_every``-th round has them.
    idle : a candidate without a neuron is kept while its price is at least this share of β ...
    most_idle : ... and it is among so many times the number of neurons (at least 100).
    """

    starts: int = 64
    confirm: int = 2048
    most_usual: int = 512
    wanted: int = 8
    climbs: tuple[int, int] = (20, 100)
    most_new: int = 60
    steps: int = 100
    descend_every: int = 2
    idle: float = 0.95
    most_idle: float = 3.0


@dataclass(frozen=True, eq=False)
class Refined:
    """One network on the way down; the last one is what :func:`refine` returns.

    Attributes
    ----------
    network : balanced, active neurons only (one zero neuron where there are none).
    objective : its L in float64. ``price`` : the largest |zᵀ(Xu)_+|/β found at its z; ≤ 1 + tolerance at the end.
    z : its dual point (n,); for a loss with kinks that of the smoothed loss.
    neurons : how many. ``rounds`` : so far. ``seconds`` : so far, wall-clock.
    status : "running", "settled" (no neuron dearer than β(1 + tolerance) was found), "time", "stopped" or "rounds".
    maximisers : (k, d) directions that were found dearer than β.
    """

    network: TwoLayerReLU
    objective: float
    price: float
    z: Float[np.ndarray, " n"]
    neurons: int
    rounds: int
    seconds: float
    status: str
    maximisers: Float[np.ndarray, "k d"]
