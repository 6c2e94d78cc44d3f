"""What refinement takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from reluopt.bounds import LowerBound
from reluopt.interrupts import exit_code
from reluopt.network import TwoLayerReLU


@dataclass(frozen=True)
class RefineSettings:
    """How :func:`refine` spends its rounds; the usual ones suit all losses and sizes tried.

    Attributes
    ----------
    starts : of pricing, or two a neuron where that is more, up to ``most_usual``; twice as many as before where
        fewer new directions than ``wanted`` are found; at most ``confirm``, which is what must find nothing at the end.
    climbs : steps of the exact ascent while prices are above 1.1 β, then while they are above 1.01 β, and then.
    most_new : directions added a round, the dearest first; as many as there are neurons where that is more.
    steps : L-BFGS iterations of a round; every ``descend_every``-th round has them.
    idle : a candidate without a neuron is kept while its price is at least this share of β ...
    most_idle : ... and it is among so many times the number of neurons (at least 100).
    """

    starts: int = 64
    confirm: int = 2048
    most_usual: int = 512
    wanted: int = 8
    climbs: tuple[int, int, int] = (4, 20, 100)
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
    status : "running", "settled" (no neuron dearer than β(1 + tolerance) was found, and the sizes are optimal to the
        tolerance, |zᵀ(f − c) − β Σ‖u_j‖‖α_j‖| ≤ tolerance·β Σ‖u_j‖‖α_j‖), "inexact" (none was found, but several
        rounds of weighing did not bring the sizes there; or one was, and several rounds changed nothing), "time",
        "stopped" or "rounds".
    maximisers : (k, d) directions that were found dearer than β.
    """

    network: TwoLayerReLU
    objective: float
    price: float
    z: Float[np.ndarray, "n ..."]
    neurons: int
    rounds: int
    seconds: float
    status: str
    maximisers: Float[np.ndarray, "k d"]


@dataclass(frozen=True)
class Progress:
    """One line of the race: seconds, L, bound, gap = L/bound − 1 (``inf`` without a bound), price/β, neurons."""

    seconds: float
    objective: float
    bound: float
    gap: float
    price: float
    neurons: int


@dataclass(frozen=True, eq=False)
class Solved:
    """A network with a proof of how good it is.

    Attributes
    ----------
    network : the best one found. ``objective`` : a proved upper bound on its L.
    bound : the best proved lower bound on p*, with its evidence; None where none was found in time.
    gap : objective/bound − 1, rounded up: L is at most so much above the optimum of every width.
    status : "gap" (it is at most what was asked for), "budget" (the time is over), or "exhausted" (no dearer neuron
        was found and the bounds are at their ends); "running" of one that is kept on the way.
    seconds : of all sessions.
    refined : the last iterate of the refinement.
    trace : the way there.
    """

    network: TwoLayerReLU
    objective: float
    bound: LowerBound | None
    gap: float
    status: str
    seconds: float
    refined: Refined
    trace: tuple[Progress, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Earlier:
    """What an earlier session of `solve` left beside its network: its trace, and its bound, if it had one."""

    trace: tuple[Progress, ...]
    bound: LowerBound | None

    @property
    def seconds(self) -> float:
        """That it took."""
        return self.trace[-1].seconds if self.trace else 0.0


class SolveInterrupted(KeyboardInterrupt):
    """Solving was interrupted; ``solved`` holds what was found and proved by then (status "interrupted")."""

    def __init__(self, solved: Solved, stop: KeyboardInterrupt) -> None:
        super().__init__("Interrupted: what was found and proved by then stands.")
        self.solved, self.signum = solved, exit_code(stop) - 128
