"""MNIST-like folders: IDX files of images and labels, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from reluopt.data.origin import Origin
from reluopt.data.samples import Samples
from reluopt.errors import DataError

SPLITS = ("train", "t10k")
UNSIGNED_BYTES = 0x08


def read_idx_folder(folder: Path, split: str | None = None) -> Samples:
    """The images and digits of an IDX folder such as MNIST's; pixels are scaled to [0, 1] by preprocessing.

    Parameters
    ----------
    folder : holds ``train-images-idx3-ubyte[.gz]`` and ``train-labels-idx1-ubyte[.gz]``, or ``t10k-…``.
    split : train or t10k; None takes train where it is there, else t10k.

    Raises
    ------
    DataError : files that are missing, truncated, garbled, or do not belong together.
    """
    split = split or next((s for s in SPLITS if _find(folder, s, "images", 3)), None)
    images_path, labels_path = (
        _find(folder, split, what, axes) if split else None for what, axes in (("images", 3), ("labels", 1))
    )
    if images_path is None or labels_path is None:
        lacking = "images" if images_path is None else "labels"
        raise DataError(
            f"The folder '{folder}' has no IDX file of {split or 'train or t10k'} {lacking}.",
            f"Put {split or 'train'}-images-idx3-ubyte and {split or 'train'}-labels-idx1-ubyte there, gzipped or not.",
        )
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path.name} has {len(images)} images and {labels_path.name} has {len(labels)} labels.",
            "Give two files of the same split.",
        )
    _, height, width = images.shape
    names = tuple(f"pixel_{i}_{j}" for i in range(height) for j in range(width))
    X = images.reshape(len(images), height * width)
    origin = Origin(f"{folder.resolve().name}/{split}", "image")
    return Samples(X, labels.astype(np.float64), names, origin, divisor=255.0, digit_labels=True)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The uint8 array of an IDX file of unsigned bytes with the given number of axes.

    The format: two zero bytes, the type code 0x08, the number of axes, each length as a big-endian 32-bit
    integer, then exactly that many bytes.

    Raises
    ------
    DataError : a damaged gzip stream, another magic number, too few or too many bytes.
    """
    content = _content(path)
    start = 4 + 4 * axes
    magic = bytes([0, 0, UNSIGNED_BYTES, axes])
    if content[:4] != magic:
        raise DataError(
            f"{path.name} starts with the bytes {content[:4].hex(' ') or '(none)'},"
            f" and an IDX file of {axes} axes with {magic.hex(' ')}.",
            "Download the file again, and check that images and labels are not exchanged.",
        )
    if len(content) < start:
        raise DataError(f"{path.name} ends within its header.", "The file is truncated: download it again.")
    shape = struct.unpack(f">{axes}I", content[4:start])
    size, expected = len(content) - start, math.prod(shape)
    if size != expected:
        kind = "truncated" if size < expected else "garbled (it has bytes left over)"
        raise DataError(
            f"{path.name} has {size} bytes of data where its header {'×'.join(map(str, shape))} needs {expected}.",
            f"The file is {kind}: download it again.",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _find(folder: Path, split: str, what: str, axes: int) -> Path | None:
    """The file of a split; both ways of writing its name are in use, with a hyphen and with a dot."""
    names = (f"{split}-{what}{sign}idx{axes}-ubyte{gz}" for gz in ("", ".gz") for sign in ("-", "."))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error, struct.error) as error:
        raise DataError(
            f"{path.name} cannot be unpacked ({error}).", "The gzip file is truncated or damaged: download it again."
        ) from None
