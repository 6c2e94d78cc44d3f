"""NPZ files: the arrays X and y; sizes are checked by what the file declares, before anything is unpacked."""

from __future__ import annotations

import logging
import math
import zipfile
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reluopt.data.arrays import as_features, as_samples
from reluopt.data.gate import MAX_BYTES, refuse_larger, require_file
from reluopt.data.samples import Samples, image_of, pixel_names
from reluopt.errors import DataError

#: An image has at most so many channels where they are its last axis: red, green, blue, opacity.
MOST_COLOURS = 4

logger = logging.getLogger(__name__)

_REMEDY = "Save it again with numpy.savez(path, X=X, y=y), X and y numeric."


def read_npz(path: Path, max_bytes: int = MAX_BYTES, *, images: bool = False) -> Samples:
    """The arrays ``X`` (n, d) and ``y`` (n,) of an NPZ file. Pickled objects are never loaded.

    images : X may also be (n, height, width) or (n, channels, height, width).

    Raises
    ------
    DataError : a missing, damaged or too large file, a missing array, or arrays that are not numbers.
    """
    X, y = _arrays(path, ("X", "y"), max_bytes)
    image = image_of(X)
    if image is None or not X.size:
        return as_samples(X, y, path.name)
    if not images:
        raise DataError(
            f"{path.name}: X has shape {X.shape}, as images have.",
            "Give --patches SIZE (patches of [data]) for a network on their patches, or save X.reshape(len(X), -1).",
        )
    if image[2] <= MOST_COLOURS < min(image[:2]):
        logger.warning(
            "%s: X is read as images of %d channels with %d×%d pixels. Where the channels are the last axis, save "
            "numpy.moveaxis(X, -1, 1).",
            path.name, *image,
        )  # fmt: skip
    return replace(as_samples(X.reshape(len(X), -1), y, path.name, pixel_names(image)), image=image)


def read_npz_features(
    path: Path, max_bytes: int = MAX_BYTES, *, images: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays ``X`` and, where it is there, ``y`` (n,) of an NPZ file; see :func:`read_npz`. Images stay images."""
    require_file(path, max_bytes)
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as packed:
        if "y.npy" not in packed.namelist():
            (X,) = _arrays(path, ("X",), max_bytes)
            return as_features(X, path.name)[0], None
    samples = read_npz(path, max_bytes, images=images)
    return samples.X if samples.image is None else samples.X.reshape(-1, *samples.image), samples.y


def _arrays(path: Path, keys: tuple[str, ...], max_bytes: int) -> list[np.ndarray]:
    require_file(path, max_bytes)
    try:
        with zipfile.ZipFile(path) as packed:
            return [_member(packed, key, path.name, max_bytes) for key in keys]
    except (
        OSError, ValueError, EOFError, TypeError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError,
        RuntimeError, MemoryError, SyntaxError, RecursionError,
    ) as error:  # fmt: skip
        raise DataError(
            f"{path.name} cannot be read as an NPZ file of plain arrays ({str(error)[:200]!r}).", _REMEDY
        ) from None


def _member(packed: zipfile.ZipFile, key: str, name: str, max_bytes: int) -> np.ndarray:
    """The array of a name, once its declared size fits its file and the cap."""
    names = packed.namelist()
    if f"{key}.npy" not in names:
        listed = ", ".join(repr(n.removesuffix(".npy"))[1:-1] for n in names[:10]) or "nothing"
        if key in names:
            raise DataError(f"{name}: '{key}' is no numpy array but raw bytes.", _REMEDY)
        raise DataError(f"{name} has no array '{key}'; it has: {listed}.", "Save it with numpy.savez(path, X=X, y=y).")
    stated = packed.getinfo(f"{key}.npy").file_size
    refuse_larger(f"{name}, the array {key},", stated, max_bytes)
    with packed.open(f"{key}.npy") as file:
        shape, fortran, dtype = _header(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or dtype.kind not in "biufcUS":
            raise ValueError(f"{key} has the type {dtype}")
        if file.tell() + size != stated:
            raise ValueError(f"{key} of shape {shape} has {stated - file.tell()} bytes where {size} are needed")
        content = file.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{key} ends early")
    flat = np.frombuffer(content, dtype=dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the NPY format")
