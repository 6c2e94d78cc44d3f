r"""The moment bound: Theorem B solved over low-rank factors, Theorem A as its proof.

Theorem A is the bound of section 6 of ``certificate/SPEC.md`` without cuts and groups; Theorem B, its Lagrange dual,

.. math:: \min_{Y^± ⪰ 0} ½ Σ_i dist(y_i, [lo⁺_i − hi⁻_i, hi⁺_i − lo⁻_i])² + (β/2)(tr Y⁺ + tr Y⁻)

is convex; its optimal Y have rank 2 or 3, so Y = RᵀR with a few rows is minimised by L-BFGS over R, the smoothing of
lo falling from step to step. After each step the multipliers (q, ν) of Theorem A are read off, the bound is *proved*
for them, and the best one is kept. Where Theorem A's matrix shows a direction that still lowers the objective, it
is put into an empty row of R: that is how a stationary point of the factors that is no optimum is left.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.evidence import Evidence, unsplit
from reluopt.bounds.factors import (
    ROWS,
    SMOOTHING,
    Moments,
    ScaledData,
    minimised,
    moments,
    multipliers,
    random_factors,
)
from reluopt.bounds.lower_bound import LowerBound, check_inputs, prove
from reluopt.bounds.support import tighten
from reluopt.bounds.theorem_a import Geometry
from reluopt.errors import DataError

#: A direction is worth adding where it lowers the objective by more than this fraction of its penalty.
WORTH = 1e-5
#: A scale t this far below 1 says that the multipliers do not fit z yet.
LOOSE = 1e-4
#: The random part of a start from a network, as a fraction of a random start.
JITTER = 0.1

#: U (m, d) and α (m,) of a network.
Network = tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]


def moment(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    device: str | torch.device = "cpu",
    time_limit: float | None = None,
    iterations: int = 300,
    seed: int = 0,
    network: Network | None = None,
) -> LowerBound:
    """A proved lower bound of p* for every width: the unsplit moment bound.

    Parameters
    ----------
    device : where the factors are multiplied; the proof is always made on the CPU in float64.
    time_limit : seconds after which the best bound so far is returned.
    iterations : of L-BFGS for each of the six smoothings.
    seed : of the factors' random start.
    network : (U, α) of a network from whose second moments to start. The optimum is the same, and on the data sets
        tried so was the time.

    Raises
    ------
    DataError, ConfigError : see ``check_inputs``.
    """
    return moment_with_factors(
        X, y, beta, device=device, time_limit=time_limit, iterations=iterations, seed=seed, network=network
    )[0]


def moment_with_factors(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    beta: float,
    *,
    device: str | torch.device = "cpu",
    time_limit: float | None = None,
    iterations: int = 300,
    seed: int = 0,
    network: Network | None = None,
) -> tuple[LowerBound, Float[np.ndarray, "2 k e"]]:
    """The moment bound with the factors of Theorem B's optimum, in the data's units: where a tighter search starts."""
    started = time.perf_counter()
    check_inputs(X, y, beta)
    search = MomentSearch(X, y, beta, device=device, seed=seed)
    if network is not None:
        search.start_from(*network)
    best: LowerBound | None = None
    for epsilon in SMOOTHING:
        left = math.inf if time_limit is None else time_limit - (time.perf_counter() - started)
        if best is not None and left <= 0:
            break
        search.descend(epsilon, iterations, left)
        bound = prove(X, y, beta, search.evidence(epsilon), method="moment", started=started)
        best = bound if best is None or bound.value >= best.value else best
        if epsilon != SMOOTHING[-1]:
            search.escape(bound.evidence)
    assert best is not None
    left = math.inf if time_limit is None else time_limit - (time.perf_counter() - started)
    if best.scale * (1 + LOOSE) < 1 and left > 0:
        # the factors of one sign vanish (β ≥ β_max, say): its multipliers want their own search at this z
        _, evidence = tighten(X, best.evidence.z, device=device, time_limit=left, iterations=iterations, seed=seed)
        bound = prove(X, y, beta, evidence, method="moment", started=started)
        best = max(best, bound, key=lambda b: b.value)
    factors = search.R * math.sqrt(search.unit / search.data.unit)
    return replace(best, seconds=time.perf_counter() - started), factors


def beta_max_upper(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    *,
    device: str | torch.device = "cpu",
    time_limit: float | None = None,
) -> float:
    """A proved upper bound of β_max = max_{‖u‖≤1} |yᵀ(Xu)_+|: from there on the zero network is optimal."""
    check_inputs(X, y, 1.0)
    return tighten(X, y, device=device, time_limit=time_limit)[0]


@np.errstate(over="ignore", invalid="ignore")
def _balanced_neurons(U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m e"]:
    """(|α_j|, u_j) (m, d + 1) with every neuron scaled so that |α_j| = ‖u_j‖; the function stays."""
    norms = np.linalg.norm(U, axis=1)
    directions = U / np.where(norms > 0, norms, 1.0)[:, None]
    sizes = np.sqrt(norms * np.abs(alpha))[:, None]
    return np.hstack([sizes, sizes * directions])


class MomentSearch:
    """Theorem B's objective over the factors R (2, k, d + 1), in units where ‖X‖ = √n and y has mean square one."""

    def __init__(
        self,
        X: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, " n"],
        beta: float,
        *,
        device: str | torch.device = "cpu",
        seed: int = 0,
        rows: int = ROWS,
    ) -> None:
        self.original = X
        self.data = ScaledData.of(X, device)
        self.unit = float(np.linalg.norm(y)) / math.sqrt(len(y)) or 1.0
        self.y = torch.as_tensor(y / self.unit, dtype=torch.float64, device=device)
        self.beta = beta / (self.data.unit * self.unit)
        self.R = random_factors(rows, X.shape[1], seed)

    def start_from(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]) -> None:
        """Start at Y^± = Σ_j (|α_j|, u_j)(|α_j|, u_j)ᵀ over the balanced neurons of each sign, plus something random.

        Only the directions that matter most fit into the rows of R. A network that is worse than a random start is
        left aside.

        Raises
        ------
        DataError : weights that are not finite, or not of the data's dimension.
        """
        start, neurons = JITTER * self.R, math.sqrt(self.data.unit / self.unit) * _balanced_neurons(U, alpha)
        if neurons.shape[1] != start.shape[2] or not np.isfinite(neurons).all():
            raise DataError(
                f"A network with weights {U.shape} cannot start the bound: not the data's, or not finite.",
                "Give U (m, d) and α (m,) of a network for these data.",
            )
        for side, mask in enumerate((alpha > 0, alpha < 0)):
            _, sizes, rows = np.linalg.svd(neurons[mask], full_matrices=False)
            kept = (sizes[:, None] * rows)[: len(start[side])]
            start[side, : len(kept)] += kept
        if self.objective(start, SMOOTHING[0])[0] < self.objective(self.R, SMOOTHING[0])[0]:
            self.R = start

    def _moments(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> Moments:
        return moments(self.data.X, torch.as_tensor(R, device=self.data.X.device), epsilon)

    def _residuals(self, m: Moments) -> Float[Tensor, "2 n"]:
        """How far y is above (row 0) and below (row 1) what the moments can reach."""
        above = self.y - m.hi[0] + m.lo[1]
        below = m.lo[0] - m.hi[1] - self.y
        return torch.stack([above, below]).clamp(min=0)

    def objective(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> tuple[float, Float[np.ndarray, "2 k e"]]:
        """Theorem B's smoothed objective and its gradient."""
        m = self._moments(R, epsilon)
        miss = self._residuals(m)
        value = 0.5 * float((miss * miss).sum()) + 0.5 * self.beta * float((R * R).sum())
        by_R = m.pull_back(self.data.X, -miss, miss.flip(0))
        return value, by_R.cpu().numpy() + self.beta * R

    def descend(self, epsilon: float, iterations: int, seconds: float) -> None:
        """One L-BFGS run at one smoothing."""
        self.R = minimised(lambda R: self.objective(R, epsilon), self.R, iterations=iterations, seconds=seconds)

    def evidence(self, epsilon: float) -> Evidence:
        """z = y − clip and Theorem A's multipliers, in the data's own units."""
        m = self._moments(self.R, epsilon)
        miss = self._residuals(m)
        z = self.unit * (miss[0] - miss[1]).cpu().numpy()
        return unsplit(z, self.original.shape[1], *multipliers(m, z, self.data.unit))

    def escape(self, evidence: Evidence) -> None:
        """Put the top eigenvector of C into the emptiest row of R where it lowers the objective: λmax(C) > β/2."""
        region, beta = evidence.regions[0], self.beta * self.data.unit * self.unit
        geometry = Geometry.of(self.original, region.cuts, region.groups)
        for side, m in enumerate((region.positive, region.negative)):
            C, _, _ = geometry.matrix(evidence.z, m)
            values, vectors = np.linalg.eigh(C)
            if 2 * values[-1] <= beta * (1 + WORTH):
                continue
            # the same Y = RᵀR with its rows sorted by size
            _, sizes, rows = np.linalg.svd(self.R[side], full_matrices=False)
            sorted_rows = np.zeros_like(self.R[side])
            sorted_rows[: len(sizes)] = sizes[:, None] * rows
            sorted_rows[-1] = 0.1 * max(float(sizes[0]), 0.1) * vectors[:, -1]
            self.R[side] = sorted_rows
