"""Settings as frozen dataclasses that check themselves; the command line and TOML files come from them.

A configuration class derives from :class:`Config` and declares each field with :func:`setting`, which
carries the help text, the limits and the choices. The same declaration makes the command-line option,
the line in ``config.toml`` and the error message.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from reluopt import plugins
from reluopt.errors import ConfigError

# not typing.Self: the tests check every function by itself, outside of its class
ConfigT = TypeVar("ConfigT", bound="Config")

#: Whole numbers beyond this are nobody's setting: torch, numpy and file formats count with 64 bits.
LARGEST_INTEGER = 2**63 - 1

#: Bytes of a configuration file; one that is larger is something else.
LARGEST_FILE = 2**24


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    repeat: bool = False,
    group: str | None = None,
) -> Any:
    """Declare a field: its default, its help text, what is allowed (``above``, ``below`` are strict limits).

    ``repeat`` is for a text that may be given several times: a list of texts is kept as one line of CSV, so that every
    setting stays a scalar. ``group`` : entry points whose names are allowed beside the choices.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "below": below,
        "repeat": repeat,
        "group": group,
    }
    return field(default=default, metadata=metadata)


def base_type(annotation: Any) -> type:
    """The plain type of ``T`` or ``T | None``."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return next(arg for arg in typing.get_args(annotation) if arg is not type(None))
    return annotation


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all settings: checked when made, convertible from and to plain mappings (TOML tables)."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):
            checked = _checked(f.name, getattr(self, f.name), hints[f.name], f.metadata)
            object.__setattr__(self, f.name, checked)

    @classmethod
    def from_mapping(cls: type[ConfigT], mapping: Mapping[str, Any], where: str = "the configuration") -> ConfigT:
        """Build from a TOML table; an unknown key is an error that lists the known ones."""
        known = [f.name for f in dataclasses.fields(cls)]
        for key in mapping:
            if key not in known:
                raise ConfigError(f"{where} has an unknown setting {short(key)}.", f"Use one of: {', '.join(known)}.")
        return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        """The settings as a plain mapping; TOML has no null, so unset ones are left out."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}

    def replace(self: ConfigT, **changes: Any) -> ConfigT:
        """A copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)


def as_line(values: Sequence[str]) -> str:
    """Several texts as one line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def read_toml_file(path: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises
    ------
    ConfigError : no such file, one that cannot be read or is far too large, or text that is not TOML.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"There is no file '{path}'.", "Check the path.")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read: {error.strerror or error}.", "Check the path.") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"'{path}' is larger than {LARGEST_FILE >> 20} MB.", "Give a TOML file with settings.")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError as error:  # brackets in brackets in brackets
        raise ConfigError(f"'{path}' is nested too deeply.", "Write settings as name = value.") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, numbers of thousands of digits
        raise ConfigError(f"'{path}' is not valid TOML: {short(error)}.", "Mend the line it names.") from error


def short(value: object) -> str:
    """A value for a message: as Python writes it, without control characters, cut to a line."""
    try:
        text = str(value) if isinstance(value, Exception) else repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or too deep
        text = f"a {type(value).__name__} too long to print"
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 100 else text[:80] + " ... " + text[-10:]


def _checked(name: str, value: Any, annotation: Any, limits: Mapping[str, Any]) -> Any:
    """The value if it is allowed (an int given for a float becomes a float); ConfigError if not."""
    optional = type(None) in typing.get_args(annotation)
    if value is None:
        if optional:
            return None
        raise ConfigError(f"'{name}' is not set.", f"Give '{name}' a value.")
    kind = base_type(annotation)
    if limits.get("repeat") and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return as_line(value) or None
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ConfigError(f"'{name}' is {short(value)}.", f"Give a number of at most {LARGEST_INTEGER}.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"'{name}' is {short(value)}, not of type {kind.__name__}.", f"Give a {kind.__name__}.")
    if kind is float and not math.isfinite(typing.cast(float, value)):
        raise ConfigError(f"'{name}' is {value}.", "Give a finite number.")
    return _within(name, value, limits)


def _within(name: str, value: Any, limits: Mapping[str, Any]) -> Any:
    choices, low, above, high, below = (limits.get(k) for k in ("choices", "minimum", "above", "maximum", "below"))
    if choices and value not in choices:
        group = limits.get("group")
        allowed = [*choices, *(plugins.announced(group) if group else ())]
        if value not in allowed:
            raise ConfigError(f"'{name}' is {short(value)}.", f"Choose one of: {', '.join(allowed)}.")
    if low is not None and value < low:
        raise ConfigError(f"'{name}' is {value}, below {low}.", f"Give at least {low}.")
    if above is not None and value <= above:
        raise ConfigError(f"'{name}' is {value}.", f"Give a number above {above}.")
    if high is not None and value > high:
        raise ConfigError(f"'{name}' is {value}, above {high}.", f"Give at most {high}.")
    if below is not None and value >= below:
        raise ConfigError(f"'{name}' is {value}.", f"Give a number below {below}.")
    return value
