"""The neurons behind ``VectorSolver``: descent over those of given patterns, and pricing of new ones."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int

from reluopt import neurons
from reluopt.bias_pricing import STRETCH
from reluopt.clock import Clock
from reluopt.natural import NaturalUnits
from reluopt.programs.cone_faces import ConeFaces, UnitRows
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.mapping import in_slots
from reluopt.programs.matrices import split
from reluopt.solvers.vector_descent import descended

#: The most neurons that enter in a round.
MOST_NEW = 64
#: Runs of L-BFGS in cones with their multipliers moved between them; the weight of a violated row, in units of β.
OUTER, STIFF = 6, 100.0
#: Where neurons stay outside of their cones by the first share of the preactivations, the rows get so many times
#: stiffer, so many times at most: the problem is not convex in (u, a), and they may swing from side to side.
SWINGS, STIFFER, OFTEN = 1e-3, 5.0, 3
#: A price above β by no more than this share is none.
NO_PRICE = 1e-9
#: Steps of the power method in a cone.
POWER = 12
#: Neurons of less than this share of the largest strength are dropped after a descent.
NEGLIGIBLE = 1e-7
#: Smoothings of a loss with kinks, in natural units.
SMOOTHINGS = (0.1, 0.01, 0.001, 0.0001)


class VectorSearch:
    """Neurons U (k, d), A (k, C) of the patterns at ``index`` (k,) and the intercept c, in the problem's natural units.

    A free first-layer bias is the last entry of u, beside the centred rows; pricing goes in rows in which it is
    ``STRETCH`` times as long, so that ‖u‖ is ‖v‖ but for 10⁻⁶.
    """

    def __init__(self, program: ConvexProgram, clock: Clock) -> None:
        self.program, self.clock, self.natural = program, clock, NaturalUnits(program.problem)
        self.exact, self.units = self.natural.problem, self.natural.units
        self.smoothings = list(() if self.exact.loss.smooth else SMOOTHINGS)
        self.free = self.natural.first_free
        self.problem = self.exact
        if self.smoothings:
            self._smooth()
        self.dense, self.cones = program.patterns.dense, program.has_cones
        #: What the last column of the rows of pricing is, in units of that of X.
        self.stretch = 1.0
        if self.free:
            reach = float(np.linalg.norm(self.exact.decayed(self.exact.X), axis=1).max()) or 1.0
            self.stretch = STRETCH * reach / float(self.exact.X[0, -1])
        self.X = self._long(self.exact.X)
        if self.cones:
            self.rows = UnitRows(torch.from_numpy(self.X))
            self.signs = torch.from_numpy(np.ascontiguousarray(program.patterns.signs.T))
        self.U, self.A = np.zeros((0, program.problem.d)), np.zeros((0, program.problem.outputs))
        self.c = np.zeros(program.problem.outputs)
        self.index = np.zeros(0, dtype=np.int64)
        self.pushes, self.stiffness = np.zeros((program.problem.n, 0)), STIFF * self.exact.beta
        self._swings, self._stiffened = False, 0

    def _smooth(self) -> None:
        self.problem = self.exact.with_loss(self.exact.loss.smoothed(self.smoothings[0]))

    def _long(self, rows: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k d"]:
        """The rows of pricing from those of X; and directions for those of X from pricing's."""
        return np.hstack([rows[:, :-1], self.stretch * rows[:, -1:]]) if self.free else rows

    def sharpen(self) -> bool:
        """Smooth the loss less; False where it is as sharp as it gets."""
        if len(self.smoothings) <= 1:
            return False
        self.smoothings.pop(0)
        self._smooth()
        return True

    def stiffen(self) -> bool:
        """Make the cones' rows stiffer where neurons swing around them; False where they do not, or it was enough."""
        if not self._swings or self._stiffened == OFTEN:
            return False
        self.stiffness, self._stiffened = STIFFER * self.stiffness, self._stiffened + 1
        return True

    def enter(self, U: Float[np.ndarray, "k d"], A: Float[np.ndarray, "k C"], index: Int[np.ndarray, " k"]) -> None:
        """Neurons in the program's units; those without decayed weights are part of the intercept."""
        U = self.natural.moved(U)
        alive = self.exact.strength(U, A) > 0
        U, A, self.index = U[alive] / self.units.weight, A[alive] / self.units.weight, index[alive]
        self.U, self.A = self.exact.balanced(U, A)
        self.pushes = np.zeros((self.program.problem.n, len(self.index)))
        self._settle()

    def blocks(self) -> np.ndarray:
        """The program's blocks, in its units; the intercept is the best one for them."""
        U, A = self.natural.moved_back(self.U * self.units.weight), self.A * self.units.weight
        if self.cones:
            return in_slots(self.program, U, A, self.index)
        blocks = self.program.zero_blocks()
        np.add.at(blocks[0], self.index, U[:, :, None] * A[:, None, :])
        return blocks

    def z(self) -> Float[np.ndarray, "n C"]:
        """−κ∂ℓ/∂f in the program's units."""
        return self._slope(self.U) * self.units.z

    def _slope(self, U: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n C"]:
        return self.problem.dual_point(self._fit(U) + self.c)

    def _fit(self, U: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n C"]:
        """Without the intercept."""
        return ((self.exact.X @ U.T) * self.dense[:, self.index]) @ self.A

    def _settle(self) -> None:
        """The best intercept; neurons that are active on all samples have a free bias at which one is at its kink."""
        if self.free:
            every = self.dense[:, self.index].all(axis=0)
            self.U[every] = self.natural.with_near_kinks(self.U[every])
        if self.exact.biases:
            self.c = self.exact.best_intercept(self._fit(self.U), self.smoothings[0] if self.smoothings else 0.0)

    # -- descent -----------------------------------------------------------------------------------------------------

    def descend(self) -> None:
        """L-BFGS over the neurons; those that come to nothing are dropped."""
        if len(self.U) == 0:
            return
        for _ in range(OUTER if self.cones else 1):
            self._minimise()
            if self.cones:
                margins = self._margins(self.U)
                self.pushes = np.maximum(0.0, self.pushes - self.stiffness * margins)
                self._swings = -float(margins.min(initial=0.0)) > SWINGS * float(np.abs(margins).max(initial=0.0))
        self._drop(self.exact.strength(self.U, self.A))
        scale = np.sqrt(neurons.sizes(self.A) / np.linalg.norm(self.exact.decayed(self.U), axis=1))
        self.U, self.A = self.exact.balanced(self.U, self.A)
        self.pushes = self.pushes / scale
        self._settle()

    def _margins(self, U: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n k"]:
        """(2D_k − I)Xu_k, which is ≥ 0 in the cones."""
        return (self.exact.X @ U.T) * np.where(self.dense[:, self.index], 1.0, -1.0)

    def _minimise(self) -> None:
        """One L-BFGS run on the loss, the weight decay, and in cones the augmented Lagrangian of their rows."""
        mask, pushes = self.dense[:, self.index], self.pushes if self.cones else None
        now = self.U, self.A, self.c
        self.U, self.A, self.c = descended(self.problem, now, mask, self.clock, pushes, self.stiffness)

    def _drop(self, strength: Float[np.ndarray, " k"]) -> None:
        keep = strength > NEGLIGIBLE * strength.max(initial=0.0)
        self.U, self.A, self.index = self.U[keep], self.A[keep], self.index[keep]
        self.pushes = self.pushes[:, keep]

    def _faces(self, index: Int[np.ndarray, " k"]) -> ConeFaces:
        return ConeFaces(self.rows, self.signs, torch.from_numpy(index))

    # -- pricing -----------------------------------------------------------------------------------------------------

    def price(self) -> float:
        """Add the neurons of the dearest patterns, with little weight; the largest price found, in units of β."""
        z, beta = self._slope(self.U), self.problem.beta
        G = self.program.blocks.correlations(self.X, self.program.patterns, z)[0]  # (P, d, C)
        left, values, _ = np.linalg.svd(G, full_matrices=False)
        dear, highest = np.flatnonzero(values[:, 0] > beta * (1 + NO_PRICE)), float(values[:, 0].max()) / beta
        if len(dear) == 0:
            return highest
        if self.cones:
            left = self._starts(G[dear], left[dear])
            starts = np.concatenate([sign * left[:, :, k] for k in range(min(2, left.shape[2])) for sign in (1, -1)])
            index = np.tile(dear, len(starts) // len(dear))
            U = self._power(G, starts, index)
        else:
            several = values[dear] > beta * (1 + NO_PRICE)
            which, k = np.nonzero(several)
            U, index = left[dear[which], :, k], dear[which]
        a = np.einsum("kd,kdc->kc", U, G[index])
        prices = np.linalg.norm(a, axis=1)
        highest = float(prices.max()) / beta
        order = _distinct(U, index, prices, beta * (1 + NO_PRICE))[:MOST_NEW]
        if len(order) == 0:
            return highest
        U, a, index, prices = self._long(U[order]), a[order] / prices[order, None], index[order], prices[order]
        curvature = self.problem.loss.lipschitz * float(self.problem.weights.max())
        sizes = np.square((self.exact.X @ U.T) * self.dense[:, index]).sum(axis=0)
        root = np.sqrt((prices - beta) / (curvature * np.maximum(sizes, 1e-300) * len(U)))[:, None]
        self.U, self.A = np.vstack([self.U, root * U]), np.vstack([self.A, root * a])
        self.index = np.append(self.index, index)
        self.pushes = np.pad(self.pushes, ((0, 0), (0, len(index))))
        return highest

    def _starts(self, G: Float[np.ndarray, "q d C"], left: Float[np.ndarray, "q d r"]) -> Float[np.ndarray, "q d k"]:
        """Singular vectors of zᵀDX; with a free bias, which outweighs all else there, those without it."""
        if not self.free:
            return left
        own = np.linalg.svd(G[:, :-1], full_matrices=False)[0]
        return np.concatenate([own, np.zeros((len(own), 1, own.shape[2]))], axis=1)

    def _power(
        self, G: Float[np.ndarray, "P d C"], U: Float[np.ndarray, "k d"], index: Int[np.ndarray, " k"]
    ) -> Float[np.ndarray, "k d"]:
        """u ← proj_K(GGᵀu), made unit vectors: each step raises ‖Gᵀu‖ within the cone."""
        faces, every = self._faces(index), torch.arange(len(U))
        project = partial(faces.project, cones=every, stop=lambda: self.clock.over)
        U = project(torch.from_numpy(np.ascontiguousarray(U)))[0].numpy()
        size = np.ones(len(U))
        for _ in range(POWER):
            U = _unit(U, size)
            a = np.einsum("kd,kdc->kc", U, G[index])
            pulled = np.einsum("kdc,kc->kd", G[index], a)
            U, size = project(torch.from_numpy(pulled))[0].numpy(), np.linalg.norm(pulled, axis=1)
        return _unit(U, size)


def _unit(U: Float[np.ndarray, "k d"], size: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k d"]:
    """Unit vectors; 0 where a projection has left nothing of a vector of this size but rounding."""
    norms = np.linalg.norm(U, axis=1)
    there = norms > 1e-9 * size
    return np.where(there[:, None], U / np.where(there, norms, 1.0)[:, None], 0.0)


def _distinct(
    U: Float[np.ndarray, "k d"], index: Int[np.ndarray, " k"], prices: Float[np.ndarray, " k"], least: float
) -> Int[np.ndarray, " j"]:
    """The dear ones by falling price, one of each pattern and direction."""
    order = np.argsort(-prices)
    order = order[prices[order] > least]
    keys = np.column_stack([index[order], np.rint(1e4 * U[order])])
    _, first = np.unique(keys, axis=0, return_index=True)
    return order[np.sort(first)]


def neurons_of(
    program: ConvexProgram, blocks: np.ndarray | None
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k C"], Int[np.ndarray, " k"]]:
    """The neurons of blocks; those of free matrices by their singular vectors."""
    d, C = program.problem.d, program.problem.outputs
    if blocks is None:
        return np.zeros((0, d)), np.zeros((0, C)), np.zeros(0, dtype=np.int64)
    if program.has_cones:
        U, A = split(blocks, C)
        slot, index = np.nonzero(U.any(axis=-1) & A.any(axis=-1))
        return U[slot, index], A[slot, index], index
    left, values, right = np.linalg.svd(blocks[0], full_matrices=False)
    index, k = np.nonzero(values > NEGLIGIBLE * values.max(initial=1e-300))
    root = np.sqrt(values[index, k])[:, None]
    return root * left[index, :, k], root * right[index, k], index
