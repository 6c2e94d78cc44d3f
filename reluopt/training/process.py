"""What training changes in its process while it runs, and puts back: the handling of Ctrl-C."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reluopt.training.state import TrainState

logger = logging.getLogger(__name__)


@contextmanager
def finish_epoch_on_ctrl_c(state: TrainState) -> Iterator[None]:
    """Within it the first Ctrl-C lets the epoch end; only where there is a run folder to save to."""
    if state.run is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: Any) -> None:
        if state.interrupted:
            raise KeyboardInterrupt
        state.interrupted = True
        logger.warning("Interrupted: this epoch ends first. Press Ctrl-C again to stop at once.")

    earlier = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
