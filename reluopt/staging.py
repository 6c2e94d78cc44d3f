"""Several files that belong together take their places at once: whatever ends the process, all are old or all new."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reluopt.interrupts import handling, held_back
from reluopt.writing import STAGE


@contextmanager
def staged(folder: Path, then: Callable[[set[Path]], object] = lambda placed: None) -> Iterator[Path]:
    """Within it files are written into an empty folder inside of ``folder``; at its end they move to ``folder``.

    After an exception nothing moves. Ctrl-C and SIGTERM wait while the files move and while what is left over goes
    (milliseconds; only SIGKILL or a power cut can come in between). One process at a time may do this in a folder.

    Parameters
    ----------
    then : called with the places of all files when they have moved.
    """
    stage = folder / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    try:
        stage.mkdir()
        yield stage
        with held_back(f"Interrupted: what was being written to '{folder}' is there, whole."):
            then(_move(stage, folder))
            shutil.rmtree(stage, ignore_errors=True)
    except BaseException:
        with handling(lambda signum, frame: None):  # what ends this is on its way already
            shutil.rmtree(stage, ignore_errors=True)
        raise


def _move(stage: Path, folder: Path) -> set[Path]:
    """Move the files; those of the folder itself go last: what belongs to a configuration is there before it."""
    files = sorted((file for file in stage.rglob("*") if file.is_file()), key=lambda file: -len(file.parts))
    placed = set()
    for file in files:
        place = folder / file.relative_to(stage)
        place.parent.mkdir(exist_ok=True)
        file.replace(place)
        placed.add(place)
    return placed
