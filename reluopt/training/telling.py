"""Callbacks are told of the training; what a full disk in one of them means."""

from __future__ import annotations

import logging
import shlex
from typing import Any

from reluopt.errors import CheckpointError
from reluopt.training.callbacks import Callback, SaveCheckpoints, WriteMetrics
from reluopt.training.state import TrainState

logger = logging.getLogger(__name__)


def tell(state: TrainState, event: str, *arguments: Any) -> None:
    """Tell every callback; the end is told to all, also where one of them fails."""
    failure: Exception | None = None
    for callback in state.callbacks:
        try:
            getattr(callback, event)(state, *arguments)
        except OSError as error:
            failure = failure or _of_the_disk(state, callback, error)
            if failure is not None and event != "on_end":
                raise failure from error
    if failure is not None:
        raise failure


def _of_the_disk(state: TrainState, callback: Callback, error: OSError) -> Exception | None:
    """What an OSError in a callback means: nothing, for one without which training can go on."""
    if callback.optional:
        what = type(callback).__name__
        logger.warning("%s cannot be written (%s); training goes on without it.", what, error.strerror or error)
        state.callbacks = tuple(other for other in state.callbacks if other is not callback)
        return None
    if state.run is None or not isinstance(callback, WriteMetrics | SaveCheckpoints):
        return error
    saved = state.run.latest_checkpoint.is_file()
    return CheckpointError(
        f"'{state.run.path}' cannot be written at epoch {state.epoch}: {error.strerror or error}.",
        "Free space there or allow writing; then go on from the last checkpoint: "
        f"reluopt train --resume {shlex.quote(str(state.run.path))}"
        if saved
        else "Free space there or allow writing, or name another folder (--out).",
    )
