"""The fingerprint of data: what a certificate knows them by."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
from jaxtyping import Float


def data_fingerprint(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n ..."], weights: Any = None) -> str:
    """The sha256 of X and y as 64 hexadecimal digits; any change of one bit changes it.

    The hashed bytes, all little-endian, without gaps:

    1. n and d as two unsigned 64-bit integers (16 bytes); with several outputs their number C as a third one,
    2. X as IEEE 754 float64, row after row (8·n·d bytes),
    3. y as IEEE 754 float64, row after row (8·n·C bytes),
    4. the weights κ likewise, where they are not all 1.
    """
    sizes = (*X.shape, *y.shape[1:])
    digest = hashlib.sha256(struct.pack(f"<{len(sizes)}Q", *sizes))
    for part in (X, y) if weights is None else (X, y, weights):
        digest.update(np.ascontiguousarray(part, dtype="<f8").data)
    return digest.hexdigest()
