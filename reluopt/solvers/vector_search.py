"""The neurons behind ``VectorSolver``: descent over those of given patterns, and pricing of new ones."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize

from reluopt import neurons
from reluopt.clock import Clock
from reluopt.problem import Problem
from reluopt.programs.cone_faces import ConeFaces, UnitRows
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.mapping import in_slots
from reluopt.programs.matrices import split

#: Steps of L-BFGS in a round and the pairs it remembers; the most neurons that enter in a round.
STEPS, MEMORY, MOST_NEW = 100, 20, 64
#: Runs of L-BFGS in cones with their multipliers moved between them; the weight of a violated row, in units of β.
OUTER, STIFF = 6, 100.0
#: A price above β by no more than this share is none.
NO_PRICE = 1e-9
#: Steps of the power method in a cone.
POWER = 12
#: Neurons of less than this share of the largest strength are dropped after a descent.
NEGLIGIBLE = 1e-7
#: Smoothings of a loss with kinks, in natural units.
SMOOTHINGS = (0.1, 0.01, 0.001, 0.0001)


class VectorSearch:
    """Neurons U (k, d), A (k, C) of the patterns at ``index`` (k,), in the problem's natural units."""

    def __init__(self, program: ConvexProgram, clock: Clock) -> None:
        self.program, self.clock = program, clock
        self.exact, self.units = program.problem.scaled()
        self.smoothings = list(() if self.exact.loss.smooth else SMOOTHINGS)
        self.problem = self._smoothed()
        self.dense, self.cones = program.patterns.dense, program.has_cones
        if self.cones:
            self.rows = UnitRows(torch.from_numpy(self.exact.X))
            self.signs = torch.from_numpy(np.ascontiguousarray(program.patterns.signs.T))
        self.U, self.A = np.zeros((0, program.problem.d)), np.zeros((0, program.problem.outputs))
        self.index = np.zeros(0, dtype=np.int64)
        self.pushes, self.stiffness = np.zeros((program.problem.n, 0)), STIFF * self.exact.beta

    def _smoothed(self) -> Problem:
        if not self.smoothings:
            return self.exact
        loss = self.exact.loss.smoothed(self.smoothings[0])
        return Problem(self.exact.X, self.exact.targets, loss, self.exact.beta, self.exact.weights)

    def sharpen(self) -> bool:
        """Smooth the loss less; False where it is as sharp as it gets."""
        if len(self.smoothings) <= 1:
            return False
        self.smoothings.pop(0)
        self.problem = self._smoothed()
        return True

    def enter(self, U: Float[np.ndarray, "k d"], A: Float[np.ndarray, "k C"], index: Int[np.ndarray, " k"]) -> None:
        """Neurons in the program's units."""
        self.U, self.A = neurons.balanced(U / self.units.weight, A / self.units.weight)
        self.index, self.pushes = index, np.zeros((self.program.problem.n, len(index)))

    def blocks(self) -> np.ndarray:
        """The program's blocks, in its units."""
        U, A = self.U * self.units.weight, self.A * self.units.weight
        if self.cones:
            return in_slots(self.program, U, A, self.index)
        blocks = self.program.zero_blocks()
        np.add.at(blocks[0], self.index, U[:, :, None] * A[:, None, :])
        return blocks

    def z(self) -> Float[np.ndarray, "n C"]:
        """−κ∂ℓ/∂f in the program's units."""
        return self._slope(self.U) * self.units.z

    def _slope(self, U: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n C"]:
        return self.problem.dual_point(((self.exact.X @ U.T) * self.dense[:, self.index]) @ self.A)

    # -- descent -----------------------------------------------------------------------------------------------------

    def descend(self) -> None:
        """L-BFGS over the neurons; those that come to nothing are dropped."""
        if len(self.U) == 0:
            return
        for _ in range(OUTER if self.cones else 1):
            self._minimise()
            if self.cones:
                self.pushes = np.maximum(0.0, self.pushes - self.stiffness * self._margins(self.U))
        scale = np.sqrt(neurons.sizes(self.A) / np.maximum(np.linalg.norm(self.U, axis=1), 1e-300))
        self.U, self.A = neurons.balanced(self.U, self.A)
        self.pushes = self.pushes / np.maximum(scale, 1e-300)
        self._drop()

    def _margins(self, U: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n k"]:
        """(2D_k − I)Xu_k, which is ≥ 0 in the cones."""
        return (self.exact.X @ U.T) * np.where(self.dense[:, self.index], 1.0, -1.0)

    def _minimise(self) -> None:
        """One L-BFGS run on the loss, the weight decay, and in cones the augmented Lagrangian of their rows."""
        split_at, mask, beta = self.U.size, self.dense[:, self.index], self.problem.beta
        signs, X, problem = np.where(mask, 1.0, -1.0), self.exact.X, self.problem

        def objective(theta: Float[np.ndarray, " v"]) -> tuple[float, Float[np.ndarray, " v"]]:
            U, A = theta[:split_at].reshape(self.U.shape), theta[split_at:].reshape(self.A.shape)
            H = X @ U.T
            on = H * mask
            f = on @ A
            z = problem.dual_point(f)
            pull = (z @ A.T) * mask
            value = problem.loss_value(f) + 0.5 * beta * float(theta @ theta)
            if self.cones:
                push = np.maximum(self.pushes - self.stiffness * signs * H, 0.0)
                value += 0.5 / self.stiffness * float((push * push).sum())
                pull += push * signs
            return value, np.concatenate([-(pull.T @ X).ravel(), -(on.T @ z).ravel()]) + beta * theta

        def interrupt(intermediate_result: object) -> None:
            if self.clock.over:
                raise StopIteration

        start = np.concatenate([self.U.ravel(), self.A.ravel()])
        options = {"maxiter": STEPS, "maxfun": 2 * STEPS, "maxcor": MEMORY, "ftol": 1e-14, "gtol": 1e-11}
        theta = minimize(objective, start, jac=True, method="L-BFGS-B", callback=interrupt, options=options).x
        self.U, self.A = theta[:split_at].reshape(self.U.shape).copy(), theta[split_at:].reshape(self.A.shape)

    def _drop(self) -> None:
        keep = neurons.active(self.U, self.A, NEGLIGIBLE)
        self.U, self.A, self.index = self.U[keep], self.A[keep], self.index[keep]
        self.pushes = self.pushes[:, keep]

    def _faces(self, index: Int[np.ndarray, " k"]) -> ConeFaces:
        return ConeFaces(self.rows, self.signs, torch.from_numpy(index))

    # -- pricing -----------------------------------------------------------------------------------------------------

    def price(self) -> float:
        """Add the neurons of the dearest patterns, with little weight; the largest price found, in units of β."""
        z, beta = self._slope(self.U), self.problem.beta
        G = self.program.blocks.correlations(self.exact.X, self.program.patterns, z)[0]  # (P, d, C)
        left, values, _ = np.linalg.svd(G, full_matrices=False)
        dear, highest = np.flatnonzero(values[:, 0] > beta * (1 + NO_PRICE)), float(values[:, 0].max()) / beta
        if len(dear) == 0:
            return highest
        if self.cones:
            starts = np.concatenate([sign * left[dear, :, k] for k in range(min(2, left.shape[2])) for sign in (1, -1)])
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
        U, a, index, prices = U[order], a[order] / prices[order, None], index[order], prices[order]
        curvature = self.problem.loss.lipschitz * float(self.problem.weights.max())
        sizes = np.square((self.exact.X @ U.T) * self.dense[:, index]).sum(axis=0)
        root = np.sqrt((prices - beta) / (curvature * np.maximum(sizes, 1e-300) * len(U)))[:, None]
        self.U, self.A = np.vstack([self.U, root * U]), np.vstack([self.A, root * a])
        self.index = np.append(self.index, index)
        self.pushes = np.pad(self.pushes, ((0, 0), (0, len(index))))
        return highest

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
