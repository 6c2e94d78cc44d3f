"""Neurons as arrays: pure functions of U (m, d) and α, for numpy arrays and torch tensors alike.

α is (m,) with one output, and (m, C) with C > 1 of them: then ‖α_j‖ takes the place of |α_j|, and f is (n, C).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.losses.protocol import Array, namespace

#: A neuron is active when its strength exceeds this fraction of the largest; others are training's leftovers.
ACTIVE_TOLERANCE = 1e-6
#: Directions of output weights that differ by no more than rounding are one.
PARALLEL = 1e-13


def relu(h: Array) -> Array:
    """(h)_+ elementwise."""
    return h * (h > 0)


def predict(X: Array, U: Array, alpha: Array, intercept: Array | float = 0.0) -> Array:
    """f = Σ_j (X u_j)_+ α_j + c, shape (n,) or (n, C)."""
    return relu(X @ U.T) @ alpha + intercept


def back(z: Array, alpha: Array) -> Array:
    """z_iᵀα_j (n, m): how hard the dual point z = −∂ℓ/∂f pulls each activation up."""
    return z @ alpha.T if alpha.ndim == 2 else z[:, None] * alpha


def sizes(alpha: Array) -> Array:
    """‖α_j‖ of every neuron (m,)."""
    return abs(alpha) if alpha.ndim == 1 else (alpha * alpha).sum(-1) ** 0.5


def weight_decay(U: Array, alpha: Array, beta: float) -> Array:
    """(β/2) Σ_j (‖u_j‖² + ‖α_j‖²)."""
    return 0.5 * beta * ((U * U).sum() + (alpha * alpha).sum())


def strength(U: Array, alpha: Array) -> Array:
    """‖u_j‖‖α_j‖ of every neuron (m,): what weight decay amounts to once it is balanced."""
    return (U * U).sum(-1) ** 0.5 * sizes(alpha)


def active(U: Array, alpha: Array, tolerance: float = ACTIVE_TOLERANCE) -> Array:
    """Mask (m,) of neurons with ‖u_j‖‖α_j‖ > tolerance · the largest (none in a zero network)."""
    size = strength(U, alpha)
    return size > tolerance * size.max() if len(size) else size > 0


def balanced(U: Array, alpha: Array, decayed: Array | None = None) -> tuple[Array, Array]:
    """(U, α) with every neuron scaled to ‖u_j‖ = ‖α_j‖: f stays, L falls to L_bal. Zero neurons become exact zeros.

    u_j ← c u_j, α_j ← α_j/c with c = √(‖α_j‖/‖u_j‖), as a quotient of roots, because the quotient may overflow.
    ``decayed`` : the columns of U whose norms count, all of them unless given.
    """
    xp = namespace(U)
    norms, outer = (_norms(part) for part in (U if decayed is None else decayed, alpha))
    alive = (norms > 0) & (outer > 0)
    one, zero = xp.ones_like(norms), xp.zeros_like(norms)
    # a factor that underflows makes a zero neuron
    c = xp.where(alive, outer, one) ** 0.5 / xp.where(alive, norms, one) ** 0.5
    alive = alive & (c > 0)
    divisor, factor = xp.where(alive, c, one), xp.where(alive, c, zero)
    if alpha.ndim == 2:
        return factor[:, None] * U, xp.where(alive[:, None], alpha / divisor[:, None], 0.0 * alpha)
    return factor[:, None] * U, xp.where(alive, alpha / divisor, zero)


def _norms(rows: Array) -> Array:
    """The norms of rows, or the sizes of numbers."""
    if rows.ndim == 1:
        return abs(rows)
    return np.linalg.norm(rows, axis=1) if namespace(rows) is np else rows.norm(dim=1)


def merged(
    X: Float[np.ndarray, "n d"], U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], free: int = 0
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k ..."]]:
    """A balanced network in which the neurons of one activation pattern and one sign are a single neuron.

    With several outputs: of one pattern and one direction α_j/‖α_j‖ (to PARALLEL). On the data f stays; Σ‖u_j‖‖α_j‖
    does not rise (triangle inequality), so neither does L. Zero neurons are left out. So many last columns of U as
    are ``free`` of weight decay have no part in ‖u_j‖; neurons with nothing else are left out too.
    """
    decayed = U.shape[1] - free
    alive = strength(U[:, :decayed], alpha) > 0
    U, alpha = U[alive], alpha[alive]
    lengths, outputs = _norms(alpha), 1 if alpha.ndim == 1 else alpha.shape[1]
    directions = (alpha / (lengths if alpha.ndim == 1 else lengths[:, None])).reshape(len(U), outputs)
    words = np.rint(directions / PARALLEL).astype(np.int64).view(np.uint8).reshape(len(U), 8 * outputs)
    keys = np.hstack([np.packbits((X @ U.T >= 0).T, axis=1), words])
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    blocks = np.zeros((len(first), U.shape[1]))
    np.add.at(blocks, group.ravel(), lengths[:, None] * U)
    root = np.sqrt(np.linalg.norm(blocks[:, :decayed], axis=1))
    keep = root > 0
    outer = root[:, None] * directions[first]
    return blocks[keep] / root[keep, None], (outer[:, 0] if alpha.ndim == 1 else outer)[keep]
