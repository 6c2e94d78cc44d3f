"""How long work shows that it is alive: a bar on a terminal, a line in Jupyter, else a log line every few seconds.

All of it goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Seconds between two lines where there is no terminal, and between two pictures of Jupyter's bar.
LINE_EVERY, JUPYTER_EVERY = 5.0, 0.25


def stderr_console() -> Console:
    """A console on standard error that prints texts as they are: no markup, no emoji codes, no colouring of numbers."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


class Bar:
    """Progress of ``total`` steps. ``start``, any number of ``update``, ``stop``; not started it shows nothing."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what, self.total, self.done, self.text = what, total, done, ""
        self._rich: Progress | None = None
        self._jupyter: Any = None
        self._open = ExitStack()
        self._shown = self._started = time.monotonic()

    def start(self) -> None:
        """Show it; without a terminal nothing is shown before the first few seconds have passed."""
        console = stderr_console()
        if console.is_jupyter:
            from IPython.display import display

            self._jupyter = display(_plain(self._line()), display_id=True)
        elif console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            text = TextColumn("{task.description}", markup=False)
            self._rich = self._open.enter_context(Progress(text, *columns, console=console))
            self._task = self._rich.add_task(self.what, total=self.total, completed=self.done)
        else:
            self._open.enter_context(_lines(self._line))

    def update(self, done: int, text: str | None = None) -> None:
        """Move to ``done`` steps, with a word on how it goes."""
        self.done, self.text = done, self.text if text is None else text
        if self._rich is not None:
            self._rich.update(self._task, completed=done, description=f"{self.what} {self.text}".rstrip())
        elif self._jupyter is not None and time.monotonic() - self._shown > JUPYTER_EVERY:
            self._jupyter.update(_plain(self._line()))
            self._shown = time.monotonic()

    def stop(self) -> None:
        """Leave the last state where it is seen."""
        if self._jupyter is not None:
            self._jupyter.update(_plain(self._line()))
        self._open.close()

    def _line(self) -> str:
        filled = 20 * self.done // self.total if self.total else 20
        seconds = time.monotonic() - self._started
        picture = f"[{'#' * filled}{'.' * (20 - filled)}]"
        return f"{self.what} {picture} {self.done}/{self.total}, {seconds:.0f} s  {self.text}".rstrip()


def _plain(line: str) -> Any:
    """The line as Jupyter shows it, without ipywidgets."""
    from IPython.display import Pretty

    return Pretty(line)


@contextmanager
def working(what: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Within it the work ``what`` is seen to go on; it yields a function that takes the name of the present step.

    On a terminal a spinner, elsewhere a line every few seconds with the seconds passed, with ``quiet`` nothing.
    """
    console = stderr_console()
    if quiet:
        yield lambda step: None
    elif console.is_terminal:
        with console.status(f"{what} ...") as status:
            yield lambda step: status.update(f"{step} ...")
    else:
        step, started = [what], time.monotonic()
        with _lines(lambda: f"{step[0]} ... {time.monotonic() - started:.0f} s"):
            yield lambda name: step.__setitem__(0, name)


@contextmanager
def _lines(line: Callable[[], str]) -> Iterator[None]:
    """A thread that prints the present line every few seconds; short work prints nothing."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(LINE_EVERY):
            print(line(), file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
