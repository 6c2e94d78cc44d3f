"""The grid of `reluopt sweep`: a TOML file's tables and lists as points, every one checked before any work."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from reluopt.certificate.config import CertifyConfig
from reluopt.config import Config, setting
from reluopt.data import DataConfig, load_dataset
from reluopt.errors import ConfigError, ReluoptError
from reluopt.sweep.table import Row
from reluopt.training import TrainConfig
from reluopt.training.config import DEFAULT_BETA_FRACTION
from reluopt.workflows.preparation import for_training

TABLES: dict[str, type[Config]] = {"data": DataConfig, "train": TrainConfig, "certify": CertifyConfig}

_BETAS = {"beta", "beta_fraction"}


@dataclass(frozen=True, kw_only=True)
class SweepConfig(Config):
    """What a sweep does with each point."""

    certify: bool = setting(True, "Certify each network; otherwise it is only trained.")


def expand(content: Mapping[str, Mapping[str, Any]], where: str) -> tuple[list[str], list[Row]]:
    """The keys of the grid, and its points: all combinations of its lists, the last key moving fastest.

    A point has every setting of a run, also those that are the same everywhere, and the fingerprint of its data.

    Parameters
    ----------
    content : the tables data, train, certify, sweep and grid of a file.
    where : the file, for messages.

    Raises
    ------
    ConfigError, DataError : a key or value that is not allowed, data that cannot be had.
    """
    certifies = SweepConfig.from_mapping(content["sweep"], f"[sweep] of {where}").certify
    tables = {name: cls for name, cls in TABLES.items() if certifies or name != "certify"}
    grid = _lists(content["grid"], tables, where)
    if "dataset" not in content["data"] and "data.dataset" not in grid:
        raise ConfigError(
            f"{where} names no data set.",
            'Write dataset = "diabetes" under [data], or "data.dataset" = [...] in [grid].',
        )
    describe = functools.cache(_described)
    points = []
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        try:
            points.append(_point(content, chosen, tables, describe))
        except ReluoptError as error:
            at = ", ".join(f"{key} = {value!r}" for key, value in chosen.items())
            raise type(error)(f"{where}, at {at}: {error.problem}", error.remedy) from error
    return list(grid), points


def table_of(point: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The settings of one table in a point."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in point.items() if k.startswith(prefix) and v is not None}


def _lists(grid: Mapping[str, Any], tables: Mapping[str, type[Config]], where: str) -> dict[str, list[Any]]:
    """The lists of [grid] by their dotted keys; ``train.width`` without quotes is a table in a table."""
    lists: dict[str, Any] = {}
    for name, value in grid.items():
        nested = isinstance(value, Mapping) and "." not in name
        lists |= {f"{name}.{field}": v for field, v in value.items()} if nested else {name: value}
    if not lists:
        raise ConfigError(f"{where} has no [grid].", 'Add one, such as: [grid] and below it "train.width" = [10, 100]')
    for key, values in lists.items():
        table, _, field = key.partition(".")
        if table not in tables:
            allowed = ", ".join(f"{name}.…" for name in tables)
            hint = ", or write certify = true under [sweep]" if table == "certify" else ""
            raise ConfigError(f"[grid] of {where} has '{key}'.", f"Use keys that begin with one of: {allowed}{hint}.")
        if field not in (known := list(tables[table].__dataclass_fields__)):
            raise ConfigError(
                f"[grid] of {where} has the unknown setting '{key}'.", f"Use {table}. and one of: {', '.join(known)}."
            )
        if not isinstance(values, list) or not values:
            raise ConfigError(f"[grid] of {where}: '{key}' is {values!r}.", f'Write a list: "{key}" = [..., ...]')
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise ConfigError(f"[grid] of {where}: '{key}' has {twice[0]!r} twice.", "Leave one of them out.")
    return lists


def _point(
    content: Mapping[str, Mapping[str, Any]],
    chosen: Mapping[str, Any],
    tables: Mapping[str, type[Config]],
    describe: Callable[[DataConfig], tuple[str, int]],
) -> Row:
    """One point: the tables with the chosen values on top, completed and checked."""
    configs = {name: _settled(cls, content[name], table_of(chosen, name)) for name, cls in tables.items()}
    data, train = configs["data"], configs["train"]
    assert isinstance(data, DataConfig)
    assert isinstance(train, TrainConfig)
    configs["data"] = data = for_training(data, train)
    fingerprint, n = describe(data)
    train.torch_device()
    if train.batch_size is not None and train.batch_size > n:
        raise ConfigError(f"'batch_size' is {train.batch_size}, but there are {n} samples.", "Give at most that many.")
    point: Row = {f"{name}.{key}": v for name, config in configs.items() for key, v in config.to_mapping().items()}
    return {**point, "fingerprint": fingerprint}


def _settled(cls: type[Config], table: Mapping[str, Any], chosen: Mapping[str, Any]) -> Config:
    """A table's configuration with the chosen values on top; what a default depends on is written out."""
    # the two ways to give β exclude each other, so one in the grid replaces the other in the table
    merged = {k: v for k, v in table.items() if not (k in _BETAS and chosen.keys() & _BETAS)} | dict(chosen)
    if cls is CertifyConfig:
        merged = {"effort": "fast", **merged}
    elif cls is TrainConfig and not merged.keys() & _BETAS:
        merged["beta_fraction"] = DEFAULT_BETA_FRACTION  # so that a later grid over it finds these rows
    return cls.from_mapping(merged)


def _described(config: DataConfig) -> tuple[str, int]:
    data = load_dataset(config)
    return data.fingerprint, data.n
