"""What a file must be before it is read: a real file, not empty, and no larger (unpacked) than is allowed."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import zlib
from pathlib import Path

from reluopt.errors import DataError

#: Bytes of unpacked content that are read unless the user allows more.
MAX_BYTES = 2**29

#: The first bytes of a gzip file.
GZIP = b"\x1f\x8b"


def require_file(path: Path, max_bytes: int = MAX_BYTES) -> Path:
    """The path, if there is a regular file of 1 to ``max_bytes`` bytes that may be read; nothing is opened.

    A pipe, a device, or a file that the kernel makes up when it is read (size 0) has no size to check and is refused.

    Raises
    ------
    DataError : no such file, something else than a file, an empty or too large one, or one that may not be read.
    """
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        what = "does not exist" if missing else f"cannot be looked at ({error})"
        raise DataError(f"The file {str(path)!r} {what}.", f"Check the path (seen from {_here()}).") from None
    if stat.S_ISDIR(facts.st_mode):
        raise DataError(f"The file '{path}' is a folder.", "Give the file itself, or a folder of IDX files.")
    if not stat.S_ISREG(facts.st_mode):
        raise DataError(
            f"'{path}' is no regular file (a pipe or a device).", "Write the data to a file first: its size is checked."
        )
    if facts.st_size == 0:
        raise DataError(f"The file '{path}' is empty: it has 0 bytes.", "Download or write it again.")
    if not os.access(path, os.R_OK):
        raise DataError(f"The file '{path}' may not be read by you.", f"Change its permissions: chmod u+r '{path}'.")
    refuse_larger(path.name, facts.st_size, max_bytes)
    return path


def refuse_larger(name: str, size: int, max_bytes: int) -> None:
    """Refuse data whose declared size is over the cap.

    Raises
    ------
    DataError : ``size`` is above ``max_bytes``.
    """
    if size > max_bytes:
        raise DataError(
            f"{name} holds {_bytes(size)}, and at most {_bytes(max_bytes)} are read.",
            f"Give a smaller file, or allow it with --max-bytes {size} (max_bytes in TOML and Python).",
        )


def unpacked(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a file, unpacked where its name ends in ``.gz``.

    No more than the cap is unpacked: what a gzip file states as its size may be something else that stands at its end.

    Raises
    ------
    DataError : see :func:`require_file`; a damaged gzip file.
    """
    require_file(path, max_bytes)
    try:
        if path.suffix.lower() != ".gz":
            with path.open("rb") as file:
                content = file.read(max_bytes + 1)
        else:
            _require_gzip(path)
            with gzip.open(path) as packed:
                content = packed.read(max_bytes + 1)
    except (EOFError, OSError, zlib.error, struct.error) as error:
        raise damaged(path, error) from None
    if len(content) > max_bytes and path.suffix.lower() == ".gz":
        refuse_larger(path.name, max(len(content), stated_size(path)), max_bytes)
    refuse_larger(path.name, len(content), max_bytes)
    return content


def _require_gzip(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if start != GZIP:
        raise DataError(
            f"{path.name} is not packed by gzip, as its name says.", "Take .gz off its name if it is text, or pack it."
        )


def stated_size(path: Path) -> int:
    """The unpacked size by a gzip file's last four bytes (modulo 2^32)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4))
        tail = file.read(4)
    return struct.unpack("<I", tail)[0] if len(tail) == 4 else 0


def damaged(path: Path, error: Exception) -> DataError:
    """The error for a file that cannot be read or unpacked."""
    if path.suffix.lower() == ".gz":
        remedy = "The gzip file is truncated or damaged, or more stands behind its end: download or pack it again."
        return DataError(f"{path.name} cannot be unpacked ({error}).", remedy)
    return DataError(f"{path.name} cannot be read ({error}).", "Copy the file again, and give that copy.")


def _bytes(size: int) -> str:
    return f"{size:,} bytes" if size < 10**6 else f"{size / 10**6:,.0f} MB"


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "a folder that is gone"
