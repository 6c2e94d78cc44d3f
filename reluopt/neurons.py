"""Neurons as arrays: pure functions of U (m, d) and α (m,), for numpy arrays and torch tensors alike."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from reluopt.losses.protocol import Array, namespace

#: A neuron is active when its strength exceeds this fraction of the largest; others are training's leftovers.
ACTIVE_TOLERANCE = 1e-6


def relu(h: Array) -> Array:
    """(h)_+ elementwise."""
    return h * (h > 0)


def predict(X: Array, U: Array, alpha: Array) -> Array:
    """f = Σ_j (X u_j)_+ α_j, shape (n,)."""
    return relu(X @ U.T) @ alpha


def weight_decay(U: Array, alpha: Array, beta: float) -> Array:
    """(β/2) Σ_j (‖u_j‖² + α_j²)."""
    return 0.5 * beta * ((U * U).sum() + (alpha * alpha).sum())


def strength(U: Array, alpha: Array) -> Array:
    """‖u_j‖|α_j| of every neuron (m,): what weight decay amounts to once it is balanced."""
    return (U * U).sum(-1) ** 0.5 * abs(alpha)


def active(U: Array, alpha: Array, tolerance: float = ACTIVE_TOLERANCE) -> Array:
    """Mask (m,) of neurons with ‖u_j‖|α_j| > tolerance · the largest (none in a zero network)."""
    size = strength(U, alpha)
    return size > tolerance * size.max() if len(size) else size > 0


def balanced(U: Array, alpha: Array) -> tuple[Array, Array]:
    """(U, α) with every neuron scaled to ‖u_j‖ = |α_j|: f stays, L falls to L_bal. Zero neurons become exact zeros.

    u_j ← c u_j, α_j ← α_j/c with c = √(|α_j|/‖u_j‖), as a quotient of roots, because the quotient may overflow.
    """
    xp = namespace(U)
    norms, sizes = xp.linalg.norm(U, axis=1) if xp is np else U.norm(dim=1), abs(alpha)
    alive = (norms > 0) & (sizes > 0)
    one, zero = xp.ones_like(norms), xp.zeros_like(norms)
    # a factor that underflows makes a zero neuron
    c = xp.where(alive, sizes, one) ** 0.5 / xp.where(alive, norms, one) ** 0.5
    alive = alive & (c > 0)
    return xp.where(alive, c, zero)[:, None] * U, xp.where(alive, alpha / xp.where(alive, c, one), zero)


def merged(
    X: Float[np.ndarray, "n d"], U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
    """A balanced network in which the neurons of one activation pattern and one sign are a single neuron.

    On the data f stays; Σ‖u_j‖|α_j| does not rise (triangle inequality), so neither does L. Zero neurons are left out.
    """
    alive = strength(U, alpha) > 0
    U, alpha = U[alive], alpha[alive]
    keys = np.packbits(np.hstack([(X @ U.T >= 0).T, (alpha >= 0)[:, None]]), axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    blocks = np.zeros((len(first), U.shape[1]))
    np.add.at(blocks, group.ravel(), np.abs(alpha)[:, None] * U)
    root = np.sqrt(np.linalg.norm(blocks, axis=1))
    keep = root > 0
    return blocks[keep] / root[keep, None], np.where(alpha[first] >= 0, root, -root)[keep]


def patterns_of(X: Float[np.ndarray, "n d"], U: Float[np.ndarray, "m d"]) -> Bool[np.ndarray, "n m"]:
    """The activation patterns 1[Xu_j ≥ 0], one column a neuron."""
    return X @ U.T >= 0
