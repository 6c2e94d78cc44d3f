"""What the active-set method of ``cone_batch`` is made of: the faces of a batch of cones, and batched products.

Written once for numpy arrays and torch tensors alike (only what both share): on the CPU it runs on numpy, whose
calls cost a third of torch's and dominate on small problems; elsewhere on torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Array = Any  # numpy.ndarray or torch.Tensor


@dataclass(frozen=True)
class Precision:
    """Powers of the machine epsilon ε; in float64 about the values in brackets.

    violation : a unit row x is violated when xᵀp < −violation ‖p‖ (1e-12).
    dependent : unit rows nearer than this to the span of the active ones depend on them (4e-10).
    drift : a pseudo-inverse that leaves residuals above this times the point is worn out (1e-9).
    vanished : a projection shorter than this times the point is zero (1e-13).
    noise : what rounding leaves of xᵀp, times the point (1e-15).
    """

    violation: float
    dependent: float
    drift: float
    vanished: float
    noise: float

    @classmethod
    def of(cls, eps: float) -> Precision:
        """For the machine epsilon of a dtype."""
        return cls(eps**0.76, eps**0.6, eps**0.58, eps**0.83, 4 * eps)


@dataclass(eq=False)
class FaceState:
    """The faces of c cones: their rows, the transpose B of the rows' pseudo-inverse, and λ ≥ 0. All (c, r, …)."""

    rows: Array
    active: Array
    weights: Array
    B: Array


def first_free(active: torch.Tensor) -> torch.Tensor:
    """The first slot of each face that is not in use."""
    return (~active).to(torch.int8).argmax(dim=1)


def eye_like(A: Array) -> Array:
    """The identity (r, r) for faces A (c, r, d)."""
    r = A.shape[1]
    return np.eye(r) if isinstance(A, np.ndarray) else torch.eye(r, dtype=A.dtype, device=A.device)


def norms(vectors: Array) -> Array:
    """‖v‖ for each row."""
    return (vectors * vectors).sum(axis=1) ** 0.5


def times(matrix: Array, vector: Array) -> Array:
    """Mv for each of a batch: (c, r, d), (c, d) -> (c, r)."""
    return (matrix @ vector[:, :, None])[:, :, 0]


def combine(matrix: Array, weights: Array) -> Array:
    """Mᵀw for each of a batch: (c, r, d), (c, r) -> (c, d)."""
    return (weights[:, None, :] @ matrix)[:, 0, :]


def subtract_outer(matrix: Array, left: Array, right: Array) -> None:
    """M ← M − l rᵀ for each of a batch, in place and without an array for l rᵀ."""
    M, left, right = (torch.as_tensor(a) for a in (matrix, left, right))
    M.baddbmm_(left[:, :, None], right[:, None, :], alpha=-1.0)
