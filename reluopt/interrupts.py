"""Signals that ask a process to stop, as one kind of KeyboardInterrupt that remembers which signal it was.

Shells expect 128 + the signal's number as the exit code: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: What asks for an orderly stop. A closed terminal (SIGHUP) does not exist on every system.
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """A stop that was asked for: by ``signum``; the text says what is kept and how to go on."""

    def __init__(self, text: str = "", signum: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.signum = int(signum)


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 + the number of the signal that stopped the process."""
    return 128 + int(getattr(stop, "signum", signal.SIGINT))


@contextmanager
def handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Within it ``handler`` receives the stopping signals; the earlier handlers come back afterwards.

    Signals that are ignored (``nohup``, a shell's background job) stay ignored. Python allows handlers in the main
    thread only: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in STOPPING}
    changed = [number for number, before in earlier.items() if before not in (signal.SIG_IGN, None)]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, earlier[number])


def raise_interrupted(signum: int, frame: Any) -> None:
    """A handler that stops at once, by exception: ``finally`` and ``with`` still do their work."""
    raise Interrupted("", signum)


@contextmanager
def held_back(text: str = "") -> Iterator[None]:
    """Within it the stopping signals wait; the first that came is raised as Interrupted, with ``text``, at its end."""
    came: list[int] = []
    with handling(lambda signum, frame: came.append(signum)):
        yield
    if came:
        raise Interrupted(text, came[0])
