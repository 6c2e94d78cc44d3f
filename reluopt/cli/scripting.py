"""``--json`` of every command: one object on standard output in the place of tables, as ``schemas.json`` describes it.

A command says its result once, by :func:`result`; the tables for people and the object for scripts come of the same
run. The object is {"command", "version", "result"}, or {"command", "version", "error": {"kind", "problem", "remedy"}},
or has both where something was found before the error (an interruption is one); exit codes are those without it.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import typer

import reluopt
from reluopt.cli.exit_codes import in_words
from reluopt.cli.output import console

_found: ContextVar[dict[str, Any] | None] = ContextVar("_found", default=None)


def command_result(record: Mapping[str, Any]) -> None:
    """What the command found, as plain values; said again it adds to what was said."""
    found = _found.get()
    if found is not None:
        found.update(record)


def with_json(name: str, command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with an option ``--json``."""
    own = inspect.signature(command, eval_str=True)
    option = Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else (described in docs/json.md).")
    ]

    @functools.wraps(command)
    def wrapped(*, as_json: bool = False, **arguments: Any) -> Any:
        return _as_json(name, command, arguments) if as_json else command(**arguments)

    extra = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.parameters.values()]
    wrapped.__signature__ = inspect.Signature([*parameters, extra])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*parameters, extra]}
    return wrapped


def _as_json(name: str, command: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Run it with a silent console, then print the object, however it ended."""
    found: dict[str, Any] = {}
    token, silent = _found.set(found), console.quiet
    console.quiet = True
    content: dict[str, Any] = {"command": name, "version": reluopt.__version__}
    try:
        return command(**arguments)
    except (typer.Exit, typer.Abort):  # the result says why the exit code is not 0
        raise
    except BaseException as error:
        problem, remedy = in_words(error)
        content["error"] = {"kind": type(error).__name__, "problem": problem, "remedy": remedy}
        raise
    finally:
        console.quiet = silent
        _found.reset(token)
        if found or "error" not in content:
            content["result"] = _plain(found)
        typer.echo(json.dumps(content, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    """Values that JSON has: what is not finite becomes null, paths become texts, numpy's numbers Python's."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
