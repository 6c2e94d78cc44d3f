r"""What biases that are not decayed make of a problem: which weights cost, and the best intercept of a fit."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.biases import Biases, decreasing_root
from reluopt.losses import Loss
from reluopt.losses.protocol import Array, each_sample, namespace
from reluopt.units import mean_square_unit

#: The step of the envelope of a loss with kinks where its dual point wants an intercept, in units of the targets.
SHARP = 1e-6
#: What a neuron in the place of a free intercept may cost, as a share of the loss that natural units have.
CONSTANT_COST = 1e-12
#: Of the intercepts of a loss that couples its outputs.
NEWTON_STEPS = 200


class BiasSide:
    """What depends on the biases of a problem; :class:`~reluopt.Problem` has it all."""

    X: Float[np.ndarray, "N d"]
    targets: Float[np.ndarray, "n ..."]
    loss: Loss
    beta: float
    weights: Float[np.ndarray, " n"]
    biases: Biases
    intercept_ratio: float

    @property
    def intercept_decay(self) -> float | None:
        """The factor of ½c² at the best networks: 0 where an intercept is free, None where there is none.

        Free first-layer biases bring a free one, whose cost goes to 0 with the output weight of a constant neuron.
        """
        if self.biases.zero_sum:
            return 0.0
        return self.intercept_ratio * self.beta if self.biases.intercept else None

    @property
    def intercept_cost(self) -> float:
        """The factor of ½c² in L for a network's own intercept c."""
        return self.intercept_ratio * self.beta if self.biases.output == "decayed" else 0.0

    def decayed(self, U: Array) -> Array:
        """The columns of U (m, d) that weight decay charges."""
        return U[:, :-1] if self.biases.first_free else U

    def strength(self, U: Array, alpha: Array) -> Array:
        """‖u_j‖‖α_j‖ of every neuron (m,), of the decayed weights."""
        return neurons.strength(self.decayed(U), alpha)

    def balanced(self, U: Array, alpha: Array) -> tuple[Array, Array]:
        """``neurons.balanced`` by the decayed weights; a neuron with none of them, a constant, stays as it is."""
        if not self.biases.first_free:
            return neurons.balanced(U, alpha)
        constant = (self.decayed(U) == 0).all(1)
        scaled, outer = neurons.balanced(U, alpha, self.decayed(U))
        xp = namespace(U)
        return xp.where(constant[:, None], U, scaled), xp.where(
            constant[:, None] if alpha.ndim == 2 else constant, alpha, outer
        )

    def merged(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."]) -> tuple[Any, Any]:
        """``neurons.merged`` by the decayed weights: the neurons of one pattern and sign are one."""
        return neurons.merged(self.X, U, alpha, int(self.biases.first_free))

    def weight_decay(self, U: Array, alpha: Array, intercept: Array | float = 0.0) -> Array:
        """(β/2)(Σ_j ‖u_j‖² + ‖α_j‖²) of the decayed weights, and what the intercept costs."""
        paid = neurons.weight_decay(self.decayed(U), alpha, self.beta)
        if not self.intercept_cost:
            return paid
        square: Any = intercept * intercept
        return paid + 0.5 * self.intercept_cost * (square.sum() if hasattr(square, "sum") else square)

    def with_intercept(
        self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], intercept: Float[np.ndarray, ...]
    ) -> tuple[Any, Any, Any]:
        """(U, α, c) of the network with this intercept, at no cost where first-layer biases are free.

        Where the network has no free intercept itself, a neuron without decayed inputs is one, of cost CONSTANT_COST.
        """
        c = np.asarray(intercept)
        if not self.biases.first_free or self.biases.output == "free" or not c.any():
            return U, alpha, c
        scale = mean_square_unit(self.targets) if not self.loss.classes else 1.0
        usual = self.loss.rescaled(scale)[1] * float(self.weights.sum())
        size, outer = float(np.linalg.norm(c)), math.sqrt(2.0 * CONSTANT_COST * usual / self.beta)
        constant = np.zeros((1, U.shape[1]))
        constant[0, -1] = size / outer
        return np.vstack([U, constant]), np.concatenate([alpha, c[None] * (outer / size)]), np.zeros(c.shape)

    def intercept_slope(self, z: Float[np.ndarray, "n ..."], intercept: Array | float) -> Float[np.ndarray, ...]:
        """∂L/∂c = −Σ_i z_i + decay·c of every output, z = −κ∂ℓ/∂f; 0 where the network has no intercept."""
        if not self.biases.intercept:
            return np.zeros(z.shape[1:])
        return np.asarray(self.intercept_cost * np.asarray(intercept) - z.sum(axis=0))

    def best_intercept(self, f: Float[np.ndarray, "n ..."], smoothing: float = 0.0) -> Float[np.ndarray, ...]:
        """argmin_c Σ κ ℓ(f + c, y) + ½·decay·c² of every output: 0 where there is no intercept.

        Losses with kinks are replaced by their envelopes of step ``smoothing``.
        """
        decay, loss = self.intercept_decay, self.loss.smoothed(smoothing or SHARP)
        c = np.zeros(f.shape[1:])
        if decay is None:
            return c
        kappa, size = each_sample(self.weights, f), 1.0 + float(np.abs(f).max()) + float(np.abs(self.targets).max())

        def slopes(c: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
            return np.asarray(-(kappa * loss.gradient(f + c, self.targets)).sum(axis=0) - decay * c)

        if not self.loss.couples:
            for k in np.ndindex(c.shape):

                def slope(value: float, k: tuple[int, ...] = k) -> float:
                    moved = c.copy()
                    moved[k] = value
                    return float(slopes(moved)[k])

                c[k] = decreasing_root(slope, 0.0, size)
            return c
        for _ in range(NEWTON_STEPS):
            p = self.targets + loss.gradient(f + c, self.targets)
            hessian = np.diag((kappa * p).sum(axis=0) + decay) - (kappa * p).T @ p
            step = np.linalg.lstsq(hessian, slopes(c), rcond=1e-13)[0]
            top = float(np.abs(step).max())
            c = c + step * min(1.0, 1.0 / top if top > 0 else 1.0)
            if top < 1e-14 * size:
                break
        return c

    @cached_property
    def constant(self) -> Float[np.ndarray, "n ..."]:
        """The best fit without neurons: 0, or the best intercept."""
        zero = np.zeros_like(self.targets)
        return zero + self.best_intercept(zero)
