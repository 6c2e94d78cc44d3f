"""A run that is made of finished parts, as `relax`, `solve` and `refine` leave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from reluopt.data.preparation import Preparation
from reluopt.runs import RunFolder
from reluopt.staging import staged
from reluopt.writing import unwritable


@contextmanager
def new_run(
    run: RunFolder,
    tables: Mapping[str, Mapping[str, Any]],
    *,
    overwrite: bool,
    preparation: Preparation | None = None,
) -> Iterator[RunFolder]:
    """Within it a run is written beside; at its end it takes its place, whole, and an earlier run goes.

    Only within ``run.locked()``. ``tables`` are those of its config.toml, ``preparation`` is that of its data.

    Raises
    ------
    CheckpointError : the folder holds a run (without ``overwrite``), or cannot be written; it is as it was then.
    """
    run.require_free(overwrite=overwrite)
    try:
        with staged(run.path, run.clear) as place:
            new = RunFolder(place)
            new.make(tables, preparation=preparation)
            yield new
    except OSError as error:
        raise unwritable(run.path, error) from error
