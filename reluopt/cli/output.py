"""How the commands print: texts as they are (a path may hold ``[...]``), results to stdout, all else to stderr."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from reluopt.printing import quoted
from reluopt.progress import stderr_console

#: Markup is off everywhere: what stands in brackets is the user's. Styles go through :func:`styled`.
console = Console(markup=False, emoji=False, highlight=False)


def styled(*parts: str | tuple[str, str]) -> Text:
    """A line of texts and (text, style) pairs."""
    return Text.assemble(*parts)


def next_steps(*steps: tuple[str, str]) -> None:
    """Name the next commands, one a line, unwrapped so that they can be copied."""
    for what, command in steps:
        console.print(styled(f"  {what}: ", (command, "bold")), soft_wrap=True)


def show_error(problem: str, remedy: str) -> None:
    """An error on standard error: what was wrong, what to do."""
    errors = stderr_console()
    errors.print(styled(("error: ", "bold red"), problem), soft_wrap=True)
    errors.print(styled(("  -> ", "bold"), remedy), soft_wrap=True)


def tell(text: str) -> None:
    """A line on standard error that is no result: an interruption, a warning."""
    stderr_console().print(text, soft_wrap=True)


__all__ = ["console", "next_steps", "quoted", "show_error", "styled", "tell"]
