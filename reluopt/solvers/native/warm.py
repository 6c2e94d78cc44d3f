"""Warm starts from elsewhere: blocks of another pattern set."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.patterns.pattern_set import PatternSet


def blocks_for(patterns: PatternSet, blocks: Float[np.ndarray, "k Q d"], of: PatternSet) -> Float[np.ndarray, "k P d"]:
    """``blocks`` of the pattern set ``of``, placed at the same patterns of ``patterns``; zero at the new ones.

    Blocks whose pattern the new set lacks are left out: as a warm start that is allowed.
    """
    position = patterns.positions_of(of)
    placed = np.zeros((blocks.shape[0], len(patterns), blocks.shape[2]))
    placed[:, position[position >= 0]] = blocks[:, position >= 0]
    return placed
