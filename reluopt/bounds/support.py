r"""The support function at a fixed z: the smallest B that Theorem A proves for |zᵀ(Xu)_+| ≤ B on ‖u‖ ≤ 1.

By homogeneity B = 2 max_Y H_z(Y)/tr Y with H_z = Σ z_+ hi − z_− lo, concave in Y; over factors Y = RᵀR it is a ratio
that L-BFGS maximises for both signs of z at once. The loss has no part in it. Where X has many
more columns than rows, u is searched in the space of the rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from reluopt.bounds.evidence import Evidence, unsplit
from reluopt.bounds.factors import ROWS, SMOOTHING, minimised, moments, multipliers, random_factors
from reluopt.bounds.region_forms import evidence_upper
from reluopt.bounds.row_space import RowSpace
from reluopt.clock import Clock
from reluopt.problem import Problem


def tighten(
    problem: Problem,
    z: Float[np.ndarray, " n"],
    *,
    device: str | torch.device = "cpu",
    clock: Clock | None = None,
    iterations: int = 300,
    seed: int = 0,
) -> tuple[float, Evidence]:
    """(B, evidence): the best proved B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1 that was found for this z, on X of the problem."""
    return best_found(SupportSearch(problem, z, device=device, seed=seed), iterations, clock or Clock())


def best_found(search: SupportSearch, iterations: int, clock: Clock) -> tuple[float, Any]:
    """(B, evidence): the best that a search finds and proves, one smoothing after another."""
    best: tuple[float, Any] | None = None
    for epsilon in SMOOTHING:
        if best is not None and clock.over:
            break
        search.ascend(epsilon, iterations, clock.left)
        evidence = search.evidence(epsilon)
        bound = search.proved(evidence)
        if best is None or bound <= best[0]:
            best = bound, evidence
    assert best is not None
    return best


class SupportSearch:
    """Σ over both signs of H_z(R)/‖R‖² to be maximised, in scaled units and with z of mean square one."""

    def __init__(
        self, problem: Problem, z: Float[np.ndarray, " n"], *, device: str | torch.device = "cpu", seed: int = 0
    ) -> None:
        scaled, self.units = problem.scaled()
        space = RowSpace.of(scaled.X)
        self.problem, self.z = problem, z
        self.X = torch.as_tensor(scaled.X if space is None else space.L, device=device)
        unit = float(np.linalg.norm(z)) / math.sqrt(len(z)) or 1.0
        signed = torch.as_tensor(np.stack([z, -z]) / unit, dtype=torch.float64, device=device)
        self.up, self.down = signed.clamp(min=0), signed.clamp(max=0)
        self.R = random_factors(ROWS, self.X.shape[1], seed)

    def objective(self, R: Float[np.ndarray, "2 k e"], epsilon: float) -> tuple[float, Float[np.ndarray, "2 k e"]]:
        """Minus the sum of the two ratios, and its gradient; both have degree 0 in R but for the smoothing."""
        m, paid = moments(self.X, torch.as_tensor(R, device=self.X.device), epsilon), self._paid(R)
        heights = (self.up * m.hi + self.down * m.lo).sum(1).cpu().numpy()[:, None, None]
        norms = (paid * paid).sum(axis=(1, 2), keepdims=True)
        by_R = m.pull_back(self.X, self.up, self.down).cpu().numpy()
        n = len(self.z)
        return -float((heights / norms).sum()) / n, -(by_R - 2 * heights / norms * paid) / (norms * n)

    def ascend(self, epsilon: float, iterations: int, seconds: float) -> None:
        """One L-BFGS run at one smoothing, from factors of norm one."""
        start = self._normalised(self.R)
        self.R = minimised(lambda R: self.objective(R, epsilon), start, iterations=iterations, seconds=seconds)

    def evidence(self, epsilon: float) -> Evidence:
        """Theorem A's multipliers at z, in the data's own units."""
        m = moments(self.X, torch.as_tensor(self.R, device=self.X.device), epsilon)
        return unsplit(self.z, self.problem.d, *multipliers(m, self.z, self.units.x))

    def proved(self, evidence: Evidence) -> float:
        """B of the evidence."""
        return evidence_upper(self.problem.X, evidence)

    def _paid(self, R: Float[np.ndarray, "2 k e"]) -> Float[np.ndarray, "2 k e"]:
        """What the trace counts."""
        return R

    def _normalised(self, R: Float[np.ndarray, "2 k e"]) -> Float[np.ndarray, "2 k e"]:
        return R / np.linalg.norm(R, axis=(1, 2), keepdims=True)
