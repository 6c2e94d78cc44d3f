r"""The doubly nonnegative (DNN) relaxation: products of all samples' activations, over one region or several, by ADMM.

For every region r and sign let M = E[vvᵀ] be the second moments of v = (α, u, s), s = (Xu)_+, summed over its neurons:

.. math:: \min Σ_i κ_i ℓ(f_i, y_i) + (β/2) Σ_{r,±} tr_{(α,u)} M_r^±   s.t.  M ⪰ 0,  L M Lᵀ ≥ 0,  E[s_i p_i] = 0,

with f = Σ_r (S_r^+ − S_r^-), S = E[αs], p = s − Xu and L the forms of ``cells.py``: the doubly nonnegative relaxation
(Prakhya, Birdal & Yurtsever, ICLR 2025) in a smaller form of size 1 + d + n, cut by hyperplanes. ADMM alternates
between M ⪰ 0, the products W ≥ 0 and W = LMLᵀ; its scaled duals are the multipliers of the evidence: every iterate
gives a bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reluopt.bounds.cells import Cell, lowest_level, positive_part
from reluopt.bounds.dnn_fit import dual_root, with_intercept
from reluopt.bounds.evidence import Evidence, Multipliers, Region, restored
from reluopt.problem import Problem

#: ‖X‖ in the units of the search, and ADMM's over-relaxation: what converged fastest on the reference instances.
NORM = 3.0
RELAXATION = 1.6
#: Repairs δ that are tried, in units of β.
SHIFTS = 10.0 ** np.arange(-6.0, 1.0, 0.5)


@dataclass
class Block:
    """The iterates of one region and sign: M ⪰ 0 as Z, the products W ≥ 0, and the scaled duals of both."""

    Z: Float[np.ndarray, "N N"]
    W: Float[np.ndarray, "F F"]
    dual_Z: Float[np.ndarray, "N N"]
    dual_W: Float[np.ndarray, "F F"]

    @classmethod
    def zero(cls, cell: Cell) -> Block:
        """Nothing yet."""
        N, F = cell.core, cell.forms
        return cls(np.zeros((N, N)), np.zeros((F, F)), np.zeros((N, N)), np.zeros((F, F)))

    def half(self, cell: Cell, position: int, sign: int) -> Block:
        """The start for one half of a region that is cut by its paired sample at ``position``: half of the moments.

        The cut ±x_iᵀu takes the place of s_i where it is positive, of p_i where it is negative.
        """
        forms, m = np.arange(cell.forms), len(cell.paired)
        s, p = cell.first_s + position, cell.first_p + position
        rest = np.setdiff1d(forms[cell.first_s :], [s, p])
        forms = np.concatenate([forms[: cell.first_s], [s if sign > 0 else p], rest])
        core = np.delete(np.arange(cell.core), cell.core - m + position)
        W, Z = np.ix_(forms, forms), np.ix_(core, core)
        return Block(0.5 * self.Z[Z], 0.5 * self.W[W], self.dual_Z[Z].copy(), self.dual_W[W].copy())


class DnnSearch:
    """ADMM over the regions of a tree of cuts, in scaled units with ‖X‖ = NORM."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.scaled, self.units = problem.scaled(NORM)
        self.X, self.beta = self.scaled.X, self.scaled.beta
        self.penalty = 1.0
        self.z, self.c = self.scaled.zero_dual_point.copy(), float(self.scaled.constant[0])
        self.directions: list[Float[np.ndarray, " d"]] = []
        self.tree = [[-1, 0, -1]]
        self.leaves = [0]
        whole = Cell(self.X)
        self.cells, self.blocks = [whole], [(Block.zero(whole), Block.zero(whole))]

    def start_from(self, factors: Float[np.ndarray, "2 k e"], evidence: Evidence) -> None:
        """Start at the optimum of the moment bound: its factors (in the data's units) and its multipliers.

        σ_i, which stands for s_i among the factors, is at the end of its range that the sign of z_i asks for.
        """
        (cell,), (pair,), (region,) = self.cells, self.blocks, evidence.regions
        self.z = evidence.z / self.units.z
        own = factors / self.units.weight
        head, every = np.arange(1 + self.X.shape[1]), np.arange(len(self.z))
        for R, block, z, m in zip(own, pair, (self.z, -self.z), (region.positive, region.negative), strict=True):
            r0, G = R[:, :1], R[:, 1:] @ self.X.T
            a, length = (r0 * G).sum(axis=0), np.linalg.norm(G, axis=0)
            upper = 0.5 * (G + length * r0 / (np.linalg.norm(r0) or 1.0))
            V = np.hstack([R, np.where(z > 0, upper, np.where(a > 0, G, 0.0))])
            block.Z = V.T @ V
            block.W = np.maximum(cell.products(block.Z), 0.0)
            cell.set_zero_products(block.W)
            products = np.zeros((cell.forms, cell.forms))
            products[0, cell.on_s] = 0.5 * (m.w[0] - m.c[0]) / self.units.z
            products[0, cell.on_p] = 0.5 * m.c[0] / self.units.z
            products[cell.first_s + every, cell.first_p + every] = -0.5 * m.nu / self.units.nu
            block.dual_W = -products - products.T
            block.dual_Z = -cell.pulled_back(block.dual_W)
            block.dual_Z[head, head] -= 0.5 * self.beta
        # the scaled duals get the size of what they belong to
        sizes = [
            math.sqrt(sum(_squares(A) for A in parts)) for parts in zip(*((b.dual_Z, b.Z) for b in pair), strict=True)
        ]
        if sizes[0] > 0 and sizes[1] > 0:
            self.penalty = 1.0
            self.rebalance(sizes[0] / sizes[1])

    # -- one iteration -----------------------------------------------------------------------------------------------

    def sweep(self) -> float:
        """One iteration of ADMM. Returns the factor by which the penalty would balance the residuals."""
        steps = [(cell, block, *self._moments(cell, block)) for cell, pair in self._regions() for block in pair]
        heights = self._fit([(cell.active, W[0, cell.heights]) for cell, _, _, W in steps])
        primal = dual = size = dual_size = 1e-300
        for (cell, block, M, W), height in zip(steps, heights, strict=True):
            new_W, new_Z = np.maximum(W, 0.0), positive_part(M)
            cell.set_zero_products(new_W)
            new_W[0, cell.heights] = new_W[cell.heights, 0] = height[cell.active]
            dual += _squares(new_W - block.W) + _squares(new_Z - block.Z)
            new_dual_W, new_dual_Z = W - new_W, M - new_Z
            # what the duals moved by is the relaxed primal residual
            primal += _squares(new_dual_W - block.dual_W) + _squares(new_dual_Z - block.dual_Z)
            size += _squares(new_W) + _squares(new_Z)
            dual_size += _squares(new_dual_W) + _squares(new_dual_Z)
            block.W, block.Z, block.dual_W, block.dual_Z = new_W, new_Z, new_dual_W, new_dual_Z
        return float(np.clip((primal / size * dual_size / dual) ** 0.25, 0.5, 2.0))

    def _moments(self, cell: Cell, block: Block) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, "F F"]]:
        """The least squares step, relaxed, plus the duals: what is to be projected."""
        rhs = cell.pulled_back(block.W - block.dual_W) + block.Z - block.dual_Z
        head = np.arange(1 + self.X.shape[1])
        rhs[head, head] -= 0.5 * self.beta / self.penalty
        M = cell.least_squares(0.5 * (rhs + rhs.T))
        W = cell.products(M)
        return (
            RELAXATION * M + (1 - RELAXATION) * block.Z + block.dual_Z,
            RELAXATION * W + (1 - RELAXATION) * block.W + block.dual_W,
        )

    def _fit(self, wanted: list[tuple[np.ndarray, np.ndarray]]) -> Float[np.ndarray, "b n"]:
        """The S ≥ 0 that minimise Σκℓ(Σ ±S) + ρ‖S − wanted‖², 0 where a sample cannot be active; sets z = −κℓ'(Σ ±S).

        ``wanted`` has for each block the samples that can be active and their values.
        """
        S, step = np.full((len(wanted), len(self.z)), -np.inf), 0.5 / self.penalty
        for row, (active, values) in zip(S, wanted, strict=True):
            row[active] = values
        sign = np.tile([1.0, -1.0], len(self.cells))[:, None]
        if self.scaled.intercept_decay is None:
            self.z = dual_root(self.scaled, S, sign, step, self.z)
        else:
            self.z, self.c = with_intercept(self.scaled, S, sign, step, self.z, self.c)
        return np.maximum(S + sign * step * self.z, 0.0)

    def rebalance(self, factor: float) -> None:
        """Multiply the penalty; the scaled duals are divided by it."""
        self.penalty *= factor
        for block in (block for pair in self.blocks for block in pair):
            block.dual_W /= factor
            block.dual_Z /= factor

    # -- regions -----------------------------------------------------------------------------------------------------

    def split(self) -> None:
        """Cut the region and along the sample's hyperplane x_iᵀu = 0 where both s_i and p_i have the most mass."""
        masses = [_undecided(cell, pair[0]) + _undecided(cell, pair[1]) for cell, pair in self._regions()]
        r = int(np.argmax([mass.max(initial=0.0) for mass in masses]))
        position = int(masses[r].argmax())
        cell, pair, node = self.cells.pop(r), self.blocks.pop(r), self.leaves.pop(r)
        sample = int(cell.paired[position])
        self.tree[node] = [len(self.directions), len(self.tree), len(self.tree) + 1]
        self.directions.append(self.problem.X[sample])
        for sign in (1, -1):
            self.leaves.append(len(self.tree))
            self.tree.append([-1, -1, -1])
            self.cells.append(Cell(self.X, (*cell.decided, (sample, sign))))
            self.blocks.append((pair[0].half(cell, position, sign), pair[1].half(cell, position, sign)))

    def _regions(self) -> Iterator[tuple[Cell, tuple[Block, Block]]]:
        return zip(self.cells, self.blocks, strict=True)

    # -- the proof ---------------------------------------------------------------------------------------------------

    def evidence(self) -> tuple[float, Evidence]:
        """(value, evidence): what the duals of this iterate prove, not yet rounded, and their multipliers."""
        regions, worst, X = [], 0.0, self.problem.X
        z = self.problem.settled(self.units.z * self.z)
        small = z / self.units.z
        for cell, pair in self._regions():
            (positive, above), (negative, below) = (
                self._multipliers(cell, block, sign * small) for block, sign in zip(pair, (1, -1), strict=True)
            )
            cuts = np.array([sign * X[i] for i, sign in cell.decided]).reshape(-1, X.shape[1])
            own = (restored(positive, z, self.units), restored(negative, -z, self.units))
            regions.append(Region(cuts, (cell.paired,), *own))
            worst = max(worst, above, below)
        tree = np.array(self.tree)
        tree[self.leaves, 1] = np.arange(len(self.leaves))
        directions = np.array(self.directions).reshape(-1, X.shape[1])
        value = self.problem.estimated_value(z, 2 * self.units.z * self.units.x * worst)
        return value, Evidence(z, directions, tree, tuple(regions))

    def _multipliers(self, cell: Cell, block: Block, z: Float[np.ndarray, " n"]) -> tuple[Multipliers, float]:
        """The duals with their signs enforced and δ added; the level λ that they reach."""
        R = -self.penalty * block.dual_W
        every = np.arange(len(cell.paired))
        nu = -2.0 * R[cell.first_s + every, cell.first_p + every]
        cell.set_zero_products(R)
        R[0, cell.heights] -= 0.5 * z[cell.active]
        R[:, 0] = R[0]
        R = np.maximum(R, 0.0)
        C = cell.pulled_back(R) + cell.linear(z, nu)
        level, shift = lowest_level(0.5 * (C + C.T), cell.X, self.beta * SHIFTS)
        empty, all_nu = np.zeros((cell.first_s, len(z))), np.zeros(len(z))
        all_nu[cell.paired] = nu + shift
        return Multipliers(empty, empty, all_nu, (R,)), max(level, 0.0)


def _undecided(cell: Cell, block: Block) -> Float[np.ndarray, " m"]:
    """min(E[s_i²], E[p_i²]) of the paired samples."""
    diagonal = np.diagonal(block.W)
    return np.minimum(diagonal[cell.on_s], diagonal[cell.on_p])


def _squares(A: np.ndarray) -> float:
    return float(np.vdot(A, A))
