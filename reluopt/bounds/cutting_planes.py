"""A nearly optimal dual point by cutting planes: prices give cuts, the master problem gives z."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.bounds.master import best_under_cuts
from reluopt.bounds.protocol import Network
from reluopt.clock import Clock
from reluopt.pricing import Maximisers, price
from reluopt.problem import Problem

#: New cuts a round at most; with more cuts than this a sample's number, or so many, the slack ones are dropped.
MOST_NEW, MANY = 60, 300
#: Steps of the search for prices: few where the tolerance is above ROUGH.
ROUGH, ROUGHLY, EXACTLY = 1e-2, 20, 100
#: A cut is slack where aᵀz is below this share of β.
SLACK = 0.99


class CuttingPlanes:
    """max Σ κD(z/κ) under |zᵀ(Xu)_+| ≤ β for the directions u found so far, in scaled units.

    Attributes
    ----------
    z : (n,) the best point of the cuts, in scaled units. ``price`` : the largest |zᵀ(Xu)_+|/β found at it.
    """

    def __init__(self, problem: Problem, network: Network | None, seed: int = 0) -> None:
        self.whole = problem
        self.problem, self.units = problem.scaled()
        self.rng = np.random.default_rng(seed)
        self.directions, self.signs = np.zeros((0, problem.d)), np.zeros(0)
        self.cuts, self.price = np.zeros((0, problem.n)), np.inf
        self.z = self.problem.zero_dual_point
        if network is not None and len(network[1]):
            sizes = np.linalg.norm(network[0], axis=1)
            used = (sizes > 0) & (network[1] != 0)
            self._add(network[0][used] / sizes[used, None], np.sign(network[1][used]))

    @property
    def dual_point(self) -> Float[np.ndarray, " n"]:
        """z in the problem's own units, settled."""
        return self.whole.settled(self.units.z * self.z)

    def improve(self, tolerance: float, clock: Clock, near: Float[np.ndarray, "k d"] | None = None) -> None:
        """Cut until no direction dearer than β(1 + tolerance) is found, or the clock is over."""
        while True:
            found = self._priced(near, clock, ROUGHLY if tolerance > ROUGH else EXACTLY)
            self.price, near = float(found.values.max(initial=0.0)) / self.problem.beta, None
            if clock.over or self.price <= 1.0 + tolerance:
                return
            self._add(found.directions, found.signs)

    def _priced(self, near: Float[np.ndarray, "k d"] | None, clock: Clock, steps: int) -> Maximisers:
        starts = [(self.directions, self.signs)] if len(self.signs) else []
        if near is not None:
            starts += [(near, np.ones(len(near))), (near, -np.ones(len(near)))]
        found = price(self.problem, self.z, self.rng, starts=64, iterations=steps, near=starts, clock=clock)
        return found.above(self.problem.beta, MOST_NEW)

    def _add(self, directions: Float[np.ndarray, "k d"], signs: Float[np.ndarray, " k"]) -> None:
        kept = np.ones(len(self.cuts), dtype=bool)
        if len(self.cuts) > MANY:
            kept = self.cuts @ self.z > SLACK * self.problem.beta
        columns = signs[:, None] * np.maximum(self.problem.X @ directions.T, 0.0).T
        self.directions = np.vstack([self.directions[kept], directions])
        self.signs = np.concatenate([self.signs[kept], signs])
        self.cuts = np.vstack([self.cuts[kept], columns])
        self.z = best_under_cuts(self.problem, self.cuts)
