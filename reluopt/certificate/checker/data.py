"""The data: an npz file of the command line, read within declared sizes, and how data and networks are known again."""

from __future__ import annotations

import hashlib
import math
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np

from .numbers import Array
from .refusal import CannotCheck, shown

MAX_BYTES = 2**32  # of all arrays together, unless the caller says otherwise


def read_data(path: Path, max_bytes: int = MAX_BYTES, pooled: bool = False) -> tuple[Array, Array, Array | None]:
    """X (n, d) ((N, d) if ``pooled``), y (n,) or (n, C) and weights (n,) or None, float64, from an npz file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CannotCheck(f"{shown(str(path))} is not a file")
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            wanted = [name for name in ("X.npy", "y.npy", "weights.npy") if name in members]
            if not {"X.npy", "y.npy"} <= set(wanted):
                raise CannotCheck(f"{shown(str(path))} has no arrays X and y")
            total = sum(members[name].file_size for name in wanted)
            if total > max_bytes:
                raise CannotCheck(f"{shown(str(path))} inflates to {total} bytes, and {max_bytes} are allowed")
            arrays = [_array(archive, members[name]) for name in wanted]
    except CannotCheck:
        raise
    except Exception as error:  # any failure to read the data means that nothing can be checked
        raise CannotCheck(f"{shown(str(path))} is not an npz file ({type(error).__name__})") from error
    X, y, *weights = arrays
    alike = pooled or y.shape[:1] == X.shape[:1]
    fits = X.ndim == 2 and 0 not in X.shape and y.ndim in (1, 2) and 0 not in y.shape and alike
    if not fits or any(part.shape != y.shape[:1] for part in weights):
        raise CannotCheck(f"X has shape {X.shape}, y and weights {[part.shape for part in (y, *weights)]}")
    if not all(np.isfinite(part).all() for part in arrays):
        raise CannotCheck(f"{shown(str(path))} has NaN or infinite entries")
    return X, y, weights[0] if weights else None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """One npy member of float64: its header is checked against its size before the numbers are read."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, kind = read[version](stream)
        if kind != np.dtype("<f8"):
            raise CannotCheck(f"{shown(info.filename)} has type {shown(str(kind))}, not float64")
        count = math.prod(shape)
        if 8 * count > info.file_size:
            raise CannotCheck(f"{shown(info.filename)} has fewer numbers than its header says")
        flat = np.frombuffer(stream.read(8 * count), dtype=np.float64)
    return np.ascontiguousarray(flat.reshape(shape, order="F" if fortran else "C"))


def fingerprint(first: Array, second: Array, *others: Array) -> str:
    """SHA-256 of the shape of X or U, and C if the next array is (·, C), as 64-bit integers, then all entries.

    All is little-endian, the entries are binary64, row after row.
    """
    sizes, arrays = (*first.shape, *second.shape[1:]), (first, second, *others)
    digest = hashlib.sha256(struct.pack(f"<{len(sizes)}Q", *sizes))
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f8").data)
    return digest.hexdigest()
