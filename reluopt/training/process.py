"""What training changes in its process while it runs, and puts back: the handling of Ctrl-C and of SIGTERM."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reluopt.interrupts import Interrupted, handling
from reluopt.training.state import TrainState

logger = logging.getLogger(__name__)


@contextmanager
def finish_epoch_when_stopped(state: TrainState) -> Iterator[None]:
    """Within it the first Ctrl-C, SIGTERM or SIGHUP lets the epoch end, a second one stops at once.

    Only where there is a run folder to save to; otherwise nothing changes.
    """
    if state.run is None:
        yield
        return

    def handle(signum: int, frame: Any) -> None:
        if state.interrupted:
            raise Interrupted("Stopped at once; the last checkpoint is kept.", signum)
        state.interrupted = signum
        logger.warning("Interrupted: this epoch ends first. Press Ctrl-C again to stop at once.")

    with handling(handle):
        yield
