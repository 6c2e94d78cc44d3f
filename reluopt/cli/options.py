"""Command-line options made from the configuration dataclasses, and their merging with a TOML file.

Precedence: an option on the command line, then the TOML file, then the default. The help text, the limits and the
choices are those of the dataclass: there is one declaration of each setting.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import shlex
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from reluopt.config import Config, base_type, read_toml_file, short
from reluopt.errors import ConfigError

C = TypeVar("C", bound=Config)


def with_settings(**tables: type[Config]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of some configurations.

    ``@with_settings(data=DataConfig, train=TrainConfig)`` adds one option for each field; the command receives the
    options that were given as one argument ``given``: {"data": {...}, "train": {...}}. Fields named in the command's
    own signature (a positional DATASET, say) are left to it.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True)
        taken = set(own.parameters)
        fields = {
            f.name: table for table, cls in tables.items() for f in dataclasses.fields(cls) if f.name not in taken
        }

        @functools.wraps(command)
        def wrapped(**arguments: Any) -> Any:
            given: dict[str, dict[str, Any]] = {table: {} for table in tables}
            for name, table in fields.items():
                value = arguments.pop(name)
                if value is not None and value != []:
                    given[table][name] = value
            return command(**arguments, given=given)

        kept = [p for p in own.parameters.values() if p.name != "given"]
        options = [_option(cls, f, table) for table, cls in tables.items() for f in _own_fields(cls, taken)]
        wrapped.__signature__ = inspect.Signature([*kept, *options])  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in [*kept, *options]}
        return wrapped

    return decorate


def _own_fields(cls: type[Config], taken: set[str]) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(cls) if f.name not in taken]


def _option(cls: type[Config], f: dataclasses.Field[Any], table: str) -> inspect.Parameter:
    """One keyword parameter that typer reads as ``--name``; unset is None, so that TOML and defaults can speak."""
    kind = base_type(typing.get_type_hints(cls)[f.name])
    dashed = f.name.replace("_", "-")
    declaration = f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"
    help_text = f.metadata["help"]
    if choices := f.metadata.get("choices"):
        help_text += f" One of: {', '.join(choices)}."
    if f.default is not None:
        help_text += rf" \[default: {f.default}]"  # the real default is None: unset
    option = typer.Option(declaration, help=help_text, show_default=False, rich_help_panel=rf"Settings \[{table}]")
    several = f.metadata.get("repeat")
    annotation: Any = Annotated[list[kind] | None, option] if several else Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def as_options(given: Mapping[str, Any], leave: tuple[str, ...] = ()) -> list[str]:
    """The given settings as they are written on a command line, ready to be copied."""
    words = []
    for name, value in given.items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{dashed}" if value else f"--no-{dashed}")
        elif name not in leave:
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"--{dashed} {shlex.quote(str(v))}" for v in values]
    return words


def read_toml(path: Path | None, tables: Mapping[str, type[Config]]) -> dict[str, dict[str, Any]]:
    """The tables of a configuration file; no file gives empty tables.

    Raises
    ------
    ConfigError : no such file, not TOML, or a table reluopt does not know.
    """
    if path is None:
        return {table: {} for table in tables}
    content = read_toml_file(path)
    content.pop("run", None)  # what a run folder's config.toml records about the run; no setting
    for table, value in content.items():
        if table not in tables or not isinstance(value, dict):
            raise ConfigError(
                f"{path} has {short(table)}.", f"Use only the tables: {', '.join(f'[{t}]' for t in tables)}."
            )
    return {table: dict(content.get(table, {})) for table in tables}


def settle(cls: type[C], table: str, file: Mapping[str, Any], given: Mapping[str, Any], where: str) -> C:
    """The configuration from the file's table with the given options on top."""
    return cls.from_mapping({**file, **given}, f"[{table}] of {where}")
