"""The fingerprint of data: what a certificate knows them by."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
from jaxtyping import Float


def data_fingerprint(
    X: Float[np.ndarray, "N d"], y: Float[np.ndarray, "n ..."], weights: Any = None, pooling: Any = None
) -> str:
    """The sha256 of X and y as 64 hexadecimal digits; any change of one bit changes it.

    The hashed bytes, all little-endian, without gaps:

    1. n and d as two unsigned 64-bit integers (16 bytes); with several outputs their number C as a third one,
    2. X as IEEE 754 float64, row after row (8·n·d bytes),
    3. y as IEEE 754 float64, row after row (8·n·C bytes),
    4. the weights κ likewise, where they are not all 1.

    Of pooled rows X is (N, d), four integers N, d, C, n come first, and the pooling's sizes and rows as 64-bit integers
    and its weights as float64 come last.
    """
    sizes = (*X.shape, *y.shape[1:]) if pooling is None else (*X.shape, y[0].size, len(y))
    digest = hashlib.sha256(struct.pack(f"<{len(sizes)}Q", *sizes))
    for part in (X, y) if weights is None else (X, y, weights):
        digest.update(np.ascontiguousarray(part, dtype="<f8").data)
    for part in () if pooling is None else pooling.arrays:
        digest.update(np.ascontiguousarray(part, dtype="<f8" if part.dtype.kind == "f" else "<i8").data)
    return digest.hexdigest()
