"""MNIST-like folders: IDX files of images and labels, gzipped or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from reluopt.data.gate import MAX_BYTES, damaged, refuse_larger, require_file
from reluopt.data.origin import Origin
from reluopt.data.samples import Samples, pixel_names
from reluopt.data.settings import SPLITS
from reluopt.errors import DataError

UNSIGNED_BYTES = 0x08

#: Pixels of an image; each becomes a feature with a name.
MOST_PIXELS = 2**20


def read_idx_folder(folder: Path, split: str | None = None, max_bytes: int = MAX_BYTES) -> Samples:
    """The images and digits of an IDX folder such as MNIST's; pixels are scaled to [0, 1] by preprocessing.

    Parameters
    ----------
    folder : holds ``train-images-idx3-ubyte[.gz]`` and ``train-labels-idx1-ubyte[.gz]``, or ``t10k-…``.
    split : train or t10k; None takes train where it is there, else t10k.
    max_bytes : what a file may hold, unpacked.

    Raises
    ------
    DataError : files that are too large, that are missing, truncated, garbled, or do not belong together.
    """
    split = split or next((s for s in SPLITS if _find(folder, s, "images", 3)), None)
    images_path, labels_path = (
        _find(folder, split, what, axes) if split else None for what, axes in (("images", 3), ("labels", 1))
    )
    if images_path is None or labels_path is None:
        lacking = "images" if images_path is None else "labels"
        if (folder / "config.toml").is_file():
            raise DataError(
                f"The folder '{folder}' is a run, not data.",
                "Name the data it was trained on, or give it to a command that reads runs, such as certify or refine.",
            )
        raise DataError(
            f"The folder '{folder}' has no IDX file of {split or 'train or t10k'} {lacking}.",
            f"Put {split or 'train'}-images-idx3-ubyte and {split or 'train'}-labels-idx1-ubyte there, gzipped or not.",
        )
    images, labels = read_idx(images_path, 3, max_bytes), read_idx(labels_path, 1, max_bytes)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path.name} has {len(images)} images and {labels_path.name} has {len(labels)} labels.",
            "Give two files of the same split.",
        )
    n, height, width = images.shape
    if n < 2 or not 0 < height * width <= MOST_PIXELS:
        raise DataError(
            f"{images_path.name} has {n} images of {height}×{width} pixels.",
            f"Give at least two images of 1 to {MOST_PIXELS:,} pixels.",
        )
    image = (1, height, width)
    X = images.reshape(len(images), height * width)
    origin = Origin(f"{folder.resolve().name}/{split}", "image")
    y, names = labels.astype(np.float64), pixel_names(image)
    return Samples(X, y, names, origin, divisor=255.0, digit_labels=True, image=image)


def read_idx(path: Path, axes: int, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The uint8 array of an IDX file of unsigned bytes with the given number of axes.

    The format: two zero bytes, the type code 0x08, the number of axes, each length as a big-endian 32-bit
    integer, then exactly that many bytes. Never more than the header states is read, plus one byte.

    Raises
    ------
    DataError : a damaged gzip stream, another magic number, too few or too many bytes, or more than ``max_bytes``.
    """
    require_file(path, max_bytes)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            shape = _shape(file.read(4 + 4 * axes), axes, path.name)
            expected = math.prod(shape)
            refuse_larger(path.name, expected, max_bytes)
            content = file.read(expected + 1)
    except (EOFError, OSError, zlib.error, struct.error) as error:
        raise damaged(path, error) from None
    if len(content) != expected:
        truncated = len(content) < expected
        kind = "truncated" if truncated else "garbled (it has bytes left over)"
        raise DataError(
            f"{path.name} has {len(content) if truncated else 'more'} bytes of data where its header "
            f"{'×'.join(map(str, shape))} needs {expected}.",
            f"The file is {kind}: download it again.",
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _shape(header: bytes, axes: int, name: str) -> tuple[int, ...]:
    """The lengths that the header states."""
    magic = bytes([0, 0, UNSIGNED_BYTES, axes])
    if header[:4] != magic:
        raise DataError(
            f"{name} starts with the bytes {header[:4].hex(' ') or '(none)'},"
            f" and an IDX file of {axes} axes with {magic.hex(' ')}.",
            "Download the file again, and check that images and labels are not exchanged.",
        )
    if len(header) < 4 + 4 * axes:
        raise DataError(f"{name} ends within its header.", "The file is truncated: download it again.")
    return struct.unpack(f">{axes}I", header[4:])


def _find(folder: Path, split: str, what: str, axes: int) -> Path | None:
    """The file of a split; both ways of writing its name are in use, with a hyphen and with a dot."""
    names = (f"{split}-{what}{sign}idx{axes}-ubyte{gz}" for gz in ("", ".gz") for sign in ("-", "."))
    return next((folder / name for name in names if (folder / name).exists()), None)
