"""Files written so that a crash cannot tear them, and what is said where they cannot be written."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from reluopt.errors import CheckpointError

#: Where files of a run lie until all are written, see ``staging.py``.
STAGE = ".new"


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Write a file so that it holds either its old or its new content, whatever happens in between.

    A temporary file in the same folder is written and synced, then renamed over ``path``, and the folder is synced.
    What a process left that was killed while it wrote the same file is removed.
    """
    path = Path(path)
    _remove_orphans(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if os.name == "nt":  # there a folder cannot be opened, and needs no syncing
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_orphans(path: Path) -> None:
    """Remove the temporary files of ``path`` whose processes are gone; Windows cannot be asked without ending them."""
    if os.name == "nt":
        return
    prefix = f".{path.name}."
    for file in path.parent.iterdir():
        pid = file.name.removeprefix(prefix).removesuffix(".tmp")
        if file.name.startswith(prefix) and file.name.endswith(".tmp") and pid.isdecimal() and not _alive(int(pid)):
            with suppress(OSError):
                file.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        pass
    return True


def unwritable(path: Path, error: OSError) -> CheckpointError:
    """The error of a folder or file that cannot be written."""
    return CheckpointError(
        f"'{path}' cannot be written: {error.strerror or error}.",
        "Free space there, or allow writing, or name a folder elsewhere (--out).",
    )


def require_space(path: Path, need: int) -> None:
    """CheckpointError unless the disk of a folder, which need not be there yet, has ``need`` bytes left."""
    place = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < need:
        raise CheckpointError(
            f"The disk of '{path}' has {free / 1e6:.1f} MB left; this run needs about {need / 1e6:.1f} MB.",
            "Free space there, or put the folder on another disk.",
        )


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as far as they are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
