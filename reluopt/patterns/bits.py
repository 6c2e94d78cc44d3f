"""Bit-packed patterns, sample after sample: packing, comparing and counting them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

#: Rows a block of the pass over the preactivations: small enough for the cache, a multiple of 8.
ROWS_AT_A_TIME = 128


def pack_rows(
    H: Float[np.ndarray, "n m"],
    upper: Float[np.ndarray, " #m"],
    lower: Float[np.ndarray, " #m"],
    bits: UInt8[np.ndarray, "N bytes"],
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Pack the entries above ``upper`` into ``bits``; return the rows and columns of those between the limits."""
    n, m = H.shape
    padded = bits.shape[1] * 8
    above, inside = np.zeros((2, ROWS_AT_A_TIME, padded), bool)
    between = [np.empty(0, np.int64)]
    for start in range(0, n, ROWS_AT_A_TIME):
        h = H[start : start + ROWS_AT_A_TIME]
        rows = len(h)
        np.greater(h, upper, out=above[:rows, :m])
        np.greater_equal(h, lower, out=inside[:rows, :m])
        np.not_equal(above[:rows], inside[:rows], out=inside[:rows])
        if inside[:rows].any():
            between.append(start * padded + np.flatnonzero(inside[:rows]))  # far faster than a matrix's nonzero
        bits[start : start + rows] = np.packbits(above[:rows]).reshape(rows, -1)
    i, j = np.divmod(np.concatenate(between), padded)
    return i, j


def any_row(bits: UInt8[np.ndarray, "N bytes"], m: int) -> Bool[np.ndarray, " m"]:
    """For each of m packed columns: is a bit set in any row?"""
    words = bits.view(np.uint64)
    # eight rows as one long row first: the reduction likes long rows
    words = np.bitwise_or.reduce(words.reshape(len(words) // 8, -1), axis=0).reshape(8, -1)
    words = np.bitwise_or.reduce(words, axis=0)
    return np.unpackbits(words.view(np.uint8), count=m).astype(bool)


def by_neuron(bits: UInt8[np.ndarray, "N bytes"]) -> UInt8[np.ndarray, "M cols"]:
    """Transpose a packed bit matrix (8a, b bytes) into (8b, a bytes): bytes by copying, bits by three delta swaps.

    Source: Warren, Hacker's Delight, 7-3.
    """
    rows, columns = bits.shape[0] // 8, bits.shape[1]
    # one 64-bit word for each 8x8 block, its first row in the highest byte (the last one in memory, little-endian)
    words = np.ascontiguousarray(bits.reshape(rows, 8, columns).transpose(2, 0, 1)[:, :, ::-1]).view("<u8")[..., 0]
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        swap = (words ^ (words >> np.uint64(shift))) & np.uint64(mask)
        words = words ^ swap ^ (swap << np.uint64(shift))
    blocks = words.view(np.uint8).reshape(columns, rows, 8)[:, :, ::-1]
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(columns * 8, rows)


def distinct_columns(bits: UInt8[np.ndarray, "N bytes"], m: int) -> int:
    """The number of distinct patterns. Often some samples tell all neurons apart, and the others need no look."""
    count = 0
    for some in (bits[:1024], bits):
        rows = by_neuron(some)[:m]
        count = len(np.unique(rows.view(np.dtype((np.void, rows.shape[1])))))
        if count == m:
            break
    return count
