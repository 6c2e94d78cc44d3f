"""How a command ends: its exit code, and one message instead of a traceback.

Exit codes: 0 good; 1 the training failed, a proof was refused, rows of a sweep failed; 2 bad usage, bad input, or a
machine that cannot do it (a message, no traceback); 70 a bug in reluopt (with a traceback); 128 + the signal's number
if stopped: 130 by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from reluopt.errors import ReluoptError, TrainingError
from reluopt.interrupts import exit_code, handling, raise_interrupted

#: The exit code of a bug ("internal software error" of BSD's sysexits).
BUG = 70


class StoppableGroup(TyperGroup):
    """Commands that Ctrl-C, SIGTERM and SIGHUP stop with a message and the exit code that shells expect."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            with handling(raise_interrupted):
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            from reluopt.cli.output import tell

            tell(str(stop) or "Interrupted.")
            raise typer.Exit(exit_code(stop)) from stop
        except BrokenPipeError as error:  # the reader has gone: 'reluopt ... | head'
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from error


def end(app: Callable[[], Any]) -> None:
    """Run the application; turn what it raises into a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):  # where it is cp1252 or ascii, a replacement for β, not a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app()
    except Exception as error:
        code = _code(error)
        if code == BUG:
            traceback.print_exc()
        _say(*in_words(error))
        sys.exit(code)


def in_words(error: BaseException) -> tuple[str, str]:
    """What went wrong, and what to do about it, of anything that ends a command."""
    if isinstance(error, ReluoptError):
        return error.problem, error.remedy
    if isinstance(error, KeyboardInterrupt):
        if not str(error):
            return "Interrupted.", "Give the command again."
        what, _, then = str(error).partition("\n")  # the lines below say how to go on
        return what, then.strip().removeprefix("-> ") or "Go on from what is there."
    if isinstance(error, OSError):
        where = f" ('{error.filename}')" if error.filename else ""
        return f"{error.strerror or error}{where}.", "Check the path, its permissions and the space on its disk."
    if isinstance(error, MemoryError):
        return "The memory of this machine is too small for this.", "Take fewer samples (--subset) or neurons."
    return "This is a bug in reluopt.", "Please report it with the lines above and the command."


def _code(error: Exception) -> int:
    if isinstance(error, ReluoptError):
        return 1 if isinstance(error, TrainingError) else 2
    return 2 if isinstance(error, OSError | MemoryError) else BUG


def _say(problem: str, remedy: str) -> None:
    from reluopt.cli.output import show_error  # rich takes a moment to import, --version does not wait for it

    with suppress(OSError):  # standard error lies on the full disk, or is closed: the exit code still tells
        show_error(problem, remedy)
