"""The one vocabulary of TensorBoard's HParams: the settings and outcomes that runs and rows of sweeps show alike.

TensorBoard takes the columns of a whole folder from the first description that it finds in it. So every session
describes all settings and the same outcomes; a sweep beside single runs leaves no row of either blank. Settings have
the names of a sweep's grid (``train.width``), outcomes those of the scalars (``train/objective``).
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from reluopt import printing
from reluopt.config import Config, base_type
from reluopt.data import DataConfig
from reluopt.rigor import rounding
from reluopt.training.config import TrainConfig

#: Outcomes by their tags, with the column's title. TensorBoard shows the first five unless it is told otherwise.
METRICS = {
    "train/objective": "L(θ)",
    "certificate/lower_bound": "proved: p* ≥",
    "certificate/proved_within_percent": "proved within, %",
    "certificate/own_patterns_within_percent": "own patterns within, %",
    "train/stationarity_residual": "‖∇L‖",
    "patterns/preserved_from_init": "patterns preserved",
    "patterns/distinct": "patterns",
}

#: What is shown first of a run, where no grid says what differs.
FIRST = ("data.dataset", "beta", "train.width", "train.epochs", "train.seed")

_TYPES = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}


def summaries(settings: Mapping[str, Any], first: Iterable[str] = FIRST) -> list[Summary]:
    """A session's description, settings and end.

    Parameters
    ----------
    settings : values by name; unset ones (None) are left out.
    first : the settings whose columns stand first, such as the keys of a grid.
    """
    plain = (bool, int, float, str)
    given = {k: v if isinstance(v, plain) else str(v) for k, v in settings.items() if v is not None}
    _, start, end = hparams_summaries(given, dict.fromkeys(METRICS, 0.0))
    return [_description(given, set(first)), start, end]


def certificate_scalars(objective: float, lower_bound: float | None, own_below: float) -> dict[str, float]:
    """The outcomes of a certificate, each rounded to its side in TensorBoard's float32; what is unknown is left out.

    Parameters
    ----------
    objective : L(θ) or an upper bound of it. ``lower_bound`` : on p*. ``own_below`` : on p̃(S(θ)).
    """
    values: dict[str, float] = {}
    if lower_bound is not None and math.isfinite(lower_bound):
        values["certificate/lower_bound"] = rounding.float32_below(lower_bound)
        values["certificate/proved_within_percent"] = _percent(printing.excess(objective, lower_bound))
    if math.isfinite(own_below) and 0 < objective < math.inf:
        own = max(1 - Fraction(own_below) / Fraction(objective), Fraction(0))
        values["certificate/own_patterns_within_percent"] = _percent(own)
    return {tag: value for tag, value in values.items() if math.isfinite(value)}


def _percent(share: Fraction | float) -> float:
    """A share in per cent, rounded up."""
    if not isinstance(share, Fraction):
        return math.inf
    return rounding.float32_above(rounding.round_up(100 * max(share, Fraction(0))))


def _description(given: Mapping[str, Any], first: set[str]) -> Summary:
    kinds = _known_settings() | {name: type(value) for name, value in given.items()}
    infos = [
        api_pb2.HParamInfo(name=name, type=_TYPES.get(kind, api_pb2.DATA_TYPE_FLOAT64), differs=name in first)
        for name, kind in kinds.items()
    ]
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title) for tag, title in METRICS.items()
    ]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    content = plugin_data_pb2.HParamsPluginData(experiment=experiment, version=metadata.PLUGIN_DATA_VERSION)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString())
    return Summary(value=[Summary.Value(tag=metadata.EXPERIMENT_TAG, metadata=SummaryMetadata(plugin_data=plugin))])


def _known_settings() -> dict[str, type]:
    """Every setting of data and training with the type of its values, and what a run knows of its problem."""
    tables: dict[str, type[Config]] = {"data": DataConfig, "train": TrainConfig}
    known = {
        f"{table}.{field.name}": base_type(typing.get_type_hints(cls)[field.name])
        for table, cls in tables.items()
        for field in dataclasses.fields(cls)
    }
    return known | {"n": int, "d": int, "beta": float}
