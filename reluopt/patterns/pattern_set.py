"""Activation patterns D = diag(1[Xh ≥ 0]), bit-packed and deduplicated. THE activation rule lives here.

Conventions: X (n, d); gates (d, P), one column h per pattern; a dense pattern matrix is (n, P) bool,
one column per pattern; packed bits are (P, ⌈n/8⌉) uint8, one row per pattern, zero-padded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from reluopt.errors import DataError

#: A kink: |x_iᵀu| ≤ KINK_TOLERANCE · ‖x_i‖‖u‖. Relative, so that it does not change with units.
KINK_TOLERANCE = 1e-6


def activation_patterns(X: Float[np.ndarray, "n d"], gates: Float[np.ndarray, "d P"]) -> Bool[np.ndarray, "n P"]:
    """THE activation rule: entry (i, j) is 1[x_iᵀh_j ≥ 0] (a tie counts as active)."""
    return X @ gates >= 0


def kinks(
    X: Float[np.ndarray, "n d"], gates: Float[np.ndarray, "d P"], tolerance: float = KINK_TOLERANCE
) -> Bool[np.ndarray, "n P"]:
    """Entries where |x_iᵀh_j| ≤ tolerance·‖x_i‖‖h_j‖: there the pattern may take either side."""
    scale = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(gates, axis=0)[None, :]
    return np.abs(X @ gates) <= tolerance * scale


@dataclass(frozen=True, eq=False)
class PatternSet:
    """Distinct activation patterns of n samples, bit-packed, with the gates that made them.

    Attributes
    ----------
    bits : (P, ⌈n/8⌉) uint8, row i packs pattern i (``np.packbits`` order).
    n : number of samples.
    gates : (d, P) or None. ``1[X·gates ≥ 0]`` gives the patterns back where it is present.
    """

    bits: UInt8[np.ndarray, "P bytes"]
    n: int
    gates: Float[np.ndarray, "d P"] | None = None

    def __post_init__(self) -> None:
        if self.bits.ndim != 2 or self.bits.shape[1] != (self.n + 7) // 8:
            raise DataError(
                f"Packed patterns of {self.n} samples need {(self.n + 7) // 8} bytes each, got {self.bits.shape}.",
                "Build the set with PatternSet.from_gates or PatternSet.from_dense.",
            )
        if self.gates is not None and self.gates.shape[1] != len(self.bits):
            raise DataError(f"{len(self.bits)} patterns with {self.gates.shape[1]} gates.", "Give one gate a pattern.")

    @classmethod
    def from_gates(cls, X: Float[np.ndarray, "n d"], gates: Float[np.ndarray, "d P"]) -> PatternSet:
        """The distinct patterns of the given gates, in the order of first appearance."""
        return cls.from_dense(activation_patterns(X, gates), gates)

    @classmethod
    def from_dense(cls, dense: Bool[np.ndarray, "n P"], gates: Float[np.ndarray, "d P"] | None = None) -> PatternSet:
        """The distinct columns of a boolean (n, P) matrix, in the order of first appearance."""
        bits = np.packbits(dense.T, axis=1)
        keep = _first_appearances(bits)
        return cls(bits[keep], dense.shape[0], None if gates is None else np.ascontiguousarray(gates[:, keep]))

    @cached_property
    def dense(self) -> Bool[np.ndarray, "n P"]:
        """The patterns as an (n, P) boolean matrix (n·P bytes)."""
        return np.unpackbits(self.bits, axis=1, count=self.n).astype(bool).T

    @property
    def signs(self) -> Float[np.ndarray, "n P"]:
        """2D − I as (n, P) numbers ±1: the rows of the cone constraints (2D_i − I)Xu ≥ 0."""
        return np.where(self.dense, 1.0, -1.0)

    def __len__(self) -> int:
        return len(self.bits)

    def __iter__(self) -> Iterator[bytes]:
        """The patterns as hashable keys."""
        return (row.tobytes() for row in self.bits)

    def __contains__(self, key: bytes) -> bool:
        return key in self._positions

    @cached_property
    def _positions(self) -> dict[bytes, int]:
        return {key: i for i, key in enumerate(self)}

    def positions_of(self, other: PatternSet) -> Int[np.ndarray, " Q"]:
        """Index in this set of each pattern of ``other``; −1 where this set lacks it."""
        self._require_same_samples(other)
        return np.array([self._positions.get(key, -1) for key in other], dtype=np.int64)

    def select(self, index: Int[np.ndarray, " Q"] | Bool[np.ndarray, " P"]) -> PatternSet:
        """The patterns at the given positions (or where a boolean mask holds)."""
        return PatternSet(self.bits[index], self.n, None if self.gates is None else self.gates[:, index])

    def union(self, other: PatternSet) -> PatternSet:
        """The patterns of both, this set's first. Gates are kept where both sets have them."""
        new = other.select(self.positions_of(other) < 0)
        both = self.gates is not None and new.gates is not None
        gates = np.hstack([self.gates, new.gates]) if both else None  # type: ignore[list-item]
        return PatternSet(np.vstack([self.bits, new.bits]), self.n, gates)

    def _require_same_samples(self, other: PatternSet) -> None:
        if self.n != other.n:
            raise DataError(
                f"Pattern sets of {self.n} and {other.n} samples.", "Compare patterns over the same samples."
            )


def _first_appearances(bits: UInt8[np.ndarray, "P bytes"]) -> Int[np.ndarray, " Q"]:
    """Positions of the first copy of each distinct row, in order."""
    if bits.shape[1] == 0 or len(bits) == 0:
        return np.arange(min(len(bits), 1))
    rows = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1]))).ravel()
    return np.sort(np.unique(rows, return_index=True)[1])
