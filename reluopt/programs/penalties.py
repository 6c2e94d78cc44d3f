r"""What a convex program pays for its blocks: β Σ‖u_i‖ or (β/2) Σ‖u_i‖², and what that means for its dual.

A penalty is one class with the methods of :class:`Penalty`: the dual norm of every block at z must stay within
``radius``, and the dual objective loses ``dual_cost``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

Blocks = Float[np.ndarray, "k P d"]


class Penalty(ABC):
    """The regulariser of a program, convex and zero for zero blocks."""

    name: ClassVar[str]

    @abstractmethod
    def value(self, blocks: Blocks, beta: float) -> float:
        """What the blocks cost."""

    @abstractmethod
    def subgradient(self, blocks: Blocks, g: Blocks, beta: float) -> Blocks:
        """The smallest element of (subdifferential of the penalty) − g."""

    @abstractmethod
    def radius(self, beta: float) -> float:
        """What the dual norm of every block must stay within; ``inf`` where the dual has no constraint."""

    @abstractmethod
    def dual_cost(self, g: Blocks, beta: float) -> float:
        """What the dual objective loses at correlations g."""


class GroupNorm(Penalty):
    """β Σ‖u_i‖: the weight decay of balanced neurons. So many last entries of u as are ``free`` have no part in it."""

    name: ClassVar[str] = "group norm"

    def __init__(self, free: int = 0) -> None:
        self.free = free

    def decayed(self, blocks: Any) -> Any:
        """The entries (..., e) of blocks (..., d) that cost something."""
        return blocks[..., : blocks.shape[-1] - self.free]

    def value(self, blocks: Blocks, beta: float) -> float:
        """β Σ‖u_i‖."""
        return float(beta * np.linalg.norm(self.decayed(blocks), axis=-1).sum())

    def subgradient(self, blocks: Blocks, g: Blocks, beta: float) -> Blocks:
        """βu/‖u‖ − g; at a zero block −g shrunk by β."""
        charged, pulled = self.decayed(blocks), self.decayed(g)
        norms, sizes = np.linalg.norm(charged, axis=-1), np.linalg.norm(pulled, axis=-1)
        excess = np.maximum(1 - beta / np.where(sizes > 0, sizes, np.inf), 0.0)
        direction = charged / np.where(norms > 0, norms, 1.0)[..., None]
        slope = -g
        self.decayed(slope)[:] = np.where(
            (norms > 0)[..., None], beta * direction - pulled, -excess[..., None] * pulled
        )
        return slope

    def radius(self, beta: float) -> float:
        """β."""
        return beta

    def dual_cost(self, g: Blocks, beta: float) -> float:
        """Nothing: the dual has constraints instead."""
        return 0.0


class SquaredNorm(Penalty):
    """(β/2) Σ‖u_i‖²: the ridge penalty of KP Thm 3.4."""

    name: ClassVar[str] = "squared norm"

    def value(self, blocks: Blocks, beta: float) -> float:
        """(β/2) Σ‖u_i‖²."""
        return 0.5 * beta * float((blocks * blocks).sum())

    def subgradient(self, blocks: Blocks, g: Blocks, beta: float) -> Blocks:
        """βu − g."""
        return beta * blocks - g

    def radius(self, beta: float) -> float:
        """Infinite: the dual has no constraint."""
        return math.inf

    def dual_cost(self, g: Blocks, beta: float) -> float:
        """½β⁻¹ Σ‖g‖²."""
        return 0.5 * float((g * g).sum()) / beta
