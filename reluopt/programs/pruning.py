r"""Pruning a network to few neurons without raising the objective (Carathéodory), and the width m* it measures.

On the data a balanced network is f = Σ p_j a_j with p_j = ‖u_j‖|α_j| ≥ 0 and a_j = ± (X u_j/‖u_j‖)_+ ∈ Rⁿ, and
L_bal = Σ κℓ + β Σ p_j for any loss. More than n vectors a_j are linearly dependent: Σ δ_j a_j = 0, and moving p along
±δ, whichever does not raise Σ p_j, until an entry is zero removes a neuron and changes no output on the data. So at
most n neurons remain, one fewer than Carathéodory's n + 1, because Σ p_j may fall. With free first-layer biases
‖u_j‖ is the norm of the decayed weights, and an intercept stays as it is. With C outputs p_j = ‖u_j‖‖α_j‖ and
a_j = (X u_j/‖u_j‖)_+ α_jᵀ/‖α_j‖ is a vector of nC numbers, so that at most nC neurons remain.
"""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.network import TwoLayerReLU, from_weights

log = logging.getLogger(__name__)

#: Columns count as dependent where a combination of norm one is at most this times the largest column.
DEPENDENT = 1e-12
#: And what is left of a neuron is nothing below this share of the largest one.
DUST = 1e-13


def caratheodory(X: Float[np.ndarray, "n d"], network: TwoLayerReLU, *, free: int = 0) -> TwoLayerReLU:
    """A balanced network of at most n neurons (nC of C outputs), the same outputs on X, no larger L, up to rounding.

    Neurons of one pattern and sign are merged first; dependent ones are then removed one by one. So many last weights
    of a neuron as are ``free`` are not decayed; neurons with no others are constants that cost nothing, and left out.
    """
    U, alpha, *intercept = network.weights()
    charged = X.shape[1] - free
    U, alpha = neurons.merged(X, *neurons.balanced(U, alpha, U[:, :charged]), free)
    if not len(U):
        return from_weights(np.zeros((1, X.shape[1])), np.zeros((1, *alpha.shape[1:])), *intercept)
    sizes, alpha = neurons.strength(U[:, :charged], alpha), alpha.reshape(len(U), -1)
    directions = U / np.linalg.norm(U[:, :charged], axis=1)[:, None]
    outer = alpha / np.linalg.norm(alpha, axis=1)[:, None]
    columns = (neurons.relu(X @ directions.T)[:, None] * outer.T).reshape(-1, len(U))
    target = columns @ sizes
    kept, weights = _independent_part(columns, sizes)
    there = weights > DUST * weights.max(initial=0.0)  # two neurons may reach zero at once, and rounding leave one
    kept, weights = kept[there], weights[there]
    weights = _settled(columns[:, kept], weights, target)
    root = np.sqrt(weights)[:, None]
    log.info("%d neurons pruned to %d", network.width, len(kept))
    return from_weights(directions[kept] * root, outer[kept] * root, *intercept)


def _independent_part(
    columns: Float[np.ndarray, "n m"], sizes: Float[np.ndarray, " m"]
) -> tuple[np.ndarray, Float[np.ndarray, " k"]]:
    """(indices, weights) of independent columns with Σ weights ≤ Σ sizes and the same combination.

    A window of n + 1 columns is always dependent; what a step leaves makes room for the next column.
    """
    n, m = columns.shape
    weights = sizes.copy()
    window = np.zeros(0, dtype=np.int64)
    following = 0
    while True:
        room = min(n + 1 - len(window), m - following)
        window = np.append(window, np.arange(following, following + room))
        following += room
        direction = _null_vector(columns[:, window])
        if direction is None:
            return window, weights[window]
        if direction.sum() > 0:
            direction = -direction
        falling = direction < 0
        steps = np.full(len(window), np.inf)
        steps[falling] = weights[window[falling]] / -direction[falling]
        out = int(steps.argmin())
        weights[window] = np.maximum(weights[window] + steps[out] * direction, 0.0)
        window = np.delete(window, out)


def _null_vector(columns: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " k"] | None:
    """A unit combination of the columns that vanishes; None where they are independent."""
    if columns.shape[1] == 0:
        return None
    sizes = np.linalg.norm(columns, axis=0)
    if not sizes.all():  # a neuron that is active nowhere
        return (sizes == 0).astype(np.float64) * -1.0
    # unit columns, so that small neurons do not look dependent
    wide = columns.shape[1] > columns.shape[0]
    _, values, rows = np.linalg.svd(columns / sizes, full_matrices=wide)
    if not wide and values[-1] > DEPENDENT * values[0]:
        return None
    direction = rows[-1] / sizes
    return direction / np.linalg.norm(direction)


def _settled(
    columns: Float[np.ndarray, "n k"], weights: Float[np.ndarray, " k"], target: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " k"]:
    """The weights with the rounding of many steps removed by least squares, where they stay nonnegative."""
    if len(weights) == 0:
        return weights
    corrected = weights + np.linalg.lstsq(columns, target - columns @ weights, rcond=None)[0]
    return corrected if (corrected >= 0).all() else weights
