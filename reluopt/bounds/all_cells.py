r"""The exact optimum at small rank, with a proof: all cells of the arrangement, each bounded on its own cone.

p* = max Σ κD(z/κ) over z with ‖proj_K(±XᵀDz)‖ ≤ β for every cell K and its pattern D. Cutting planes: the cells
that are violated at z give neurons u = proj/‖proj‖ and cuts |zᵀ(Xu)_+| ≤ β; z is the best point of the cuts, which is
the dual point of the best network of these neurons (``master.py``).
The evidence is a tree of the samples' hyperplanes that ends in one cell a leaf. A sample off the path has a sign
there that the path implies, x_i = ±Σ μ_k σ_k g_k with μ ≥ 0; multiplied by a large τ this makes s_i = x_iᵀu (or 0)
up to z_i²/4τ.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import nnls

from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.lower_bound import LowerBound, prove
from reluopt.bounds.master import best_under_cuts
from reluopt.bounds.protocol import Bound, Start
from reluopt.bounds.region_forms import Geometry
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.losses import Loss
from reluopt.patterns.arrangement import count_up_to, iterate_patterns
from reluopt.problem import Problem, as_problem
from reluopt.programs.cones import project

#: τ in units of the largest |z_i|: larger loses digits, smaller leaves a gap of z²/4τ a sample.
STIFFNESS = 3e6


def exact(
    problem: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    tolerance: float = 1e-8,
    most_cells: int = 5000,
    most_rounds: int = 300,
    time_limit: float | None = None,
) -> LowerBound:
    """p* itself, up to ``tolerance``, proved; for data of small rank.

    Parameters
    ----------
    problem : a ``Problem``; or X, with y, β, and what else makes a ``Problem``.
    tolerance, most_cells, most_rounds : see ``AllCells``.
    time_limit : seconds. Cutting planes leave what the proof is foretold to take, but have ``planes`` of all at least;
        where they end too early that may cost much of the bound.

    Raises
    ------
    DataError, ConfigError : see ``Problem``; also ConfigError where there are too many patterns.
    """
    problem = as_problem(problem, y, beta, loss=loss, weights=weights)
    bound = AllCells(tolerance=tolerance, most_cells=most_cells, most_rounds=most_rounds)
    return bound.best(problem, clock=Clock(time_limit))


@dataclass(frozen=True)
class AllCells(Bound):
    """p* by all cells of the arrangement.

    Attributes
    ----------
    tolerance : relative violation B/β − 1 of the dual constraints at which to stop.
    most_cells : refuse data with more activation patterns than this.
    few_cells : it suits up to so many.
    most_rounds : of cutting planes.
    most_new : so many new cuts a sample in one round, those that are violated most.
    tried : cells that tell how long the proof of all takes.
    planes : share of the time that the cutting planes have at least.
    """

    tolerance: float = 1e-8
    most_cells: int = 5000
    few_cells: int = 2000
    most_rounds: int = 300
    most_new: int = 20
    tried: int = 16
    planes: float = 0.6
    name: ClassVar[str] = "exact"
    intercepts: ClassVar[bool] = True
    final: ClassVar[bool] = True

    def suits(self, problem: Problem) -> bool:
        """Few cells."""
        return count_up_to(problem.X, self.few_cells) is not None

    def foretold(self, problem: Problem) -> float:
        """What the proof of all cells takes, judging by that of ``tried`` ones, each bounded twice."""
        return self._foretold(problem, _all_cells(problem.X))

    def _foretold(self, problem: Problem, dense: Bool[np.ndarray, "n P"]) -> float:
        chosen = np.unique(np.linspace(0, dense.shape[1] - 1, self.tried).astype(int))
        paths, begun = [path_to(dense, int(cell)) for cell in chosen], time.perf_counter()
        for cell, path in zip(chosen, paths, strict=True):
            leaf = Leaf(problem.X, problem.zero_dual_point, dense[:, cell], path)
            for _ in range(2):
                leaf.worst_gap(np.inf)
        return (time.perf_counter() - begun) * dense.shape[1] / len(chosen)

    def run(
        self, problem: Problem, start: Start, clock: Clock, device: str | torch.device = "cpu"
    ) -> Iterator[LowerBound]:
        """One bound, p* up to the tolerance.

        Raises
        ------
        ConfigError : too many cells.
        """
        started = time.perf_counter()
        if count_up_to(problem.X, self.most_cells) is None:
            raise ConfigError(
                f"These data may have more than {self.most_cells} activation patterns, which is the limit.",
                "Use the splitting bound, or allow more cells.",
            )
        dense = _all_cells(problem.X)
        seconds = self._foretold(problem, dense) if clock.left < np.inf else 0.0
        z = self._dual_point(problem, dense, clock.part(most=max(clock.left - seconds, self.planes * clock.left)))
        # where time ended before z was feasible, the largest violation is no gap that cuts could close
        most = float((_violated(problem.X, z, problem.beta, dense) @ z).max(initial=problem.beta))
        evidence = cell_evidence(problem.X, z, dense, most * (1 + 10 * self.tolerance), clock)
        yield prove(problem, evidence, method=self.name, started=started)

    def _dual_point(self, problem: Problem, dense: Bool[np.ndarray, "n P"], clock: Clock) -> Float[np.ndarray, " n"]:
        """Kelley's method: z is the best point that obeys the cuts aᵀz ≤ β found so far."""
        scaled, units = problem.scaled()
        z, cuts = scaled.zero_dual_point, np.zeros((0, problem.n))
        for _ in range(self.most_rounds):
            new = _violated(scaled.X, z, scaled.beta * (1 + self.tolerance), dense)
            if not len(new) or clock.over:
                break
            most = self.most_new * problem.n
            if len(new) > most:
                new = new[np.argpartition(-(new @ z), most)[:most]]
            active = cuts[cuts @ z > scaled.beta * (1 - 1e-2)] if len(cuts) > 20 * problem.n else cuts
            cuts = np.concatenate([active, new])
            z = best_under_cuts(scaled, cuts)
        return problem.settled(units.z * z)


def _all_cells(X: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, "n P"]:
    """The pattern of every cell; gates are of no use here."""
    return np.hstack([part.dense for part in iterate_patterns(X)])


def _violated(
    X: Float[np.ndarray, "n d"], z: Float[np.ndarray, " n"], limit: float, dense: Bool[np.ndarray, "n P"]
) -> Float[np.ndarray, "c n"]:
    """±(Xu)_+ of the unit neurons that maximise ±zᵀ(Xu)_+ over the cells where that exceeds ``limit``."""
    correlations, found = (dense * z[:, None]).T @ X, []
    for side in (1.0, -1.0):
        for i in np.flatnonzero(np.linalg.norm(correlations, axis=1) > limit):
            point = project(X, dense[:, i], side * correlations[i]).point
            norm = float(np.linalg.norm(point))
            if norm > limit:
                found.append(side * np.maximum(X @ (point / norm), 0.0))
    return np.array(found).reshape(-1, len(z))


# -- the proof -----------------------------------------------------------------------------------------------------

Path = tuple[tuple[int, int], ...]


def path_to(dense: Bool[np.ndarray, "n P"], cell: int) -> Path:
    """The cuts that lead to a cell in the tree of all of them."""
    inside, path = np.arange(dense.shape[1]), list[tuple[int, int]]()
    while len(inside) > 1:
        sample = _halving(dense[:, inside])
        path.append((sample, 1 if dense[sample, cell] else -1))
        inside = inside[dense[sample, inside] == dense[sample, cell]]
    return tuple(path)


def _halving(cells: Bool[np.ndarray, "n p"]) -> int:
    """The sample of which about half of the cells are on either side."""
    return int(np.abs(cells.mean(axis=1) - 0.5).argmin())


def cell_evidence(
    X: Float[np.ndarray, "n d"],
    z: Float[np.ndarray, " n"],
    dense: Bool[np.ndarray, "n P"],
    limit: float,
    clock: Clock | None = None,
) -> Evidence:
    """The tree that cuts u-space into the given cells (all of X's), and each leaf's multipliers for z and −z.

    A leaf whose bound exceeds ``limit`` only because of the gaps z_i²/4τ is cut further by the samples concerned, until
    the clock is over.
    """
    tree: list[list[int]] = [[-1, -1, -1]]
    todo: list[tuple[int, Bool[np.ndarray, "n p"], Path]] = [(0, dense, ())]
    regions: list[Region] = []
    while todo:
        node, cells, path = todo.pop()
        if cells.shape[1] == 1:
            leaf = Leaf(X, z, cells[:, 0], path)
            sample = None if clock is not None and clock.over else leaf.worst_gap(limit)
            if sample is None:
                tree[node] = [-1, len(regions), -1]
                regions.append(leaf.region)
                continue
        else:
            sample = _halving(cells)
        tree[node] = [sample, len(tree), len(tree) + 1]
        for sign in (1, -1):
            inside = cells[:, cells[sample] == (sign > 0)]
            if not inside.shape[1]:  # a face of the cell, where the sample is 0
                inside = cells.copy()
                # its duplicates are decided with it
                inside[(X[sample] == X).all(axis=1)] = sign > 0
                inside[(-X[sample] == X).all(axis=1)] = sign < 0
                inside[sample] = sign > 0
            todo.append((len(tree), inside, (*path, (sample, sign))))
            tree.append([-1, -1, -1])
    return Evidence(z, X, np.array(tree), tuple(regions))


class Leaf:
    """One cell or one of its faces: the cone's own bound ‖XᵀDz + Σ λσg‖, and the signs that the path implies."""

    def __init__(
        self, X: Float[np.ndarray, "n d"], z: Float[np.ndarray, " n"], pattern: Bool[np.ndarray, " n"], path: Path
    ) -> None:
        self.z, self.pattern = z, pattern
        self.cuts = np.array([sign * X[i] for i, sign in path]).reshape(-1, X.shape[1])
        nobody = (np.zeros(0, dtype=np.int64),)  # one empty group: products of 1 and the cuts
        self.geometry = Geometry.of(X, self.cuts, nobody)
        self.implied = np.zeros((len(self.cuts), len(X)))
        if len(self.cuts):
            for i in np.flatnonzero(self.geometry.free):
                self.implied[:, i] = nnls(self.cuts.T, X[i] if pattern[i] else -X[i], maxiter=1000)[0]
        self.region = Region(self.cuts, nobody, self._multipliers(z), self._multipliers(-z))

    def _multipliers(self, z: Float[np.ndarray, " n"]) -> Multipliers:
        """Samples with z_i > 0 off the path need τ; those with z_i < 0 have an exact bound, z_i x_iᵀu or 0."""
        f, n, free = 1 + len(self.cuts), len(z), self.geometry.free
        stiff = np.where(free & (z > 0), STIFFNESS * np.abs(z).max(), 0.0)
        w, c, r = np.zeros((f, n)), np.zeros((f, n)), np.zeros((f, f))
        w[1:] = stiff * self.implied
        c[1:, self.pattern] = w[1:, self.pattern]
        w[0] = np.where(stiff > 0, z, 0.0)
        c[0] = np.where(free & (z < 0) & self.pattern, -z, 0.0)
        if len(self.cuts):
            # λ of the cone: min ‖XᵀDz + Σ λ_k σ_k g_k‖
            r[0, 1:] = r[1:, 0] = 0.5 * nnls(self.cuts.T, -((self.pattern * z) @ self.geometry.X), maxiter=1000)[0]
        return Multipliers(w, c, stiff, (r,))

    def worst_gap(self, limit: float) -> int | None:
        """The sample off the path with the largest z_i on a side whose bound exceeds the limit; None without one."""
        for z, m in ((self.z, self.region.positive), (-self.z, self.region.negative)):
            gaps = np.where(m.nu > 0, z, 0.0)
            if gaps.any() and self.geometry.support_upper(z, m) > limit:
                return int(gaps.argmax())
        return None
