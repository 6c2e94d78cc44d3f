"""From settings to a training problem: the data of a loss, their weights, β as a fraction of β_max."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reluopt.beta_max import ASIDE_SECONDS, SEARCH_SECONDS, beta_max_estimate
from reluopt.clock import Clock
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.errors import ConfigError
from reluopt.losses import make_loss
from reluopt.problem import Problem
from reluopt.training import TrainConfig


@dataclass(frozen=True)
class Prepared:
    """A data set and its training problem; ``beta_max`` is found by local search, a lower estimate of the true one."""

    data: Dataset
    problem: Problem
    beta_max: float


def for_loss(data: DataConfig, loss: str) -> DataConfig:
    """The settings of the data with labels that the loss can take: losses of classes ask for classes.

    Raises
    ------
    ConfigError : the cross-entropy of one label against the rest, which has one output.
    """
    chosen = make_loss(loss)
    if chosen.couples and data.positive is not None:
        raise ConfigError(
            f"The {chosen.name} loss is for several classes, and --positive makes one of them against the rest.",
            "Leave 'positive' out, or choose the logistic loss.",
        )
    if chosen.couples and data.task in (None, "classification"):
        return data.replace(task="multiclass")
    if chosen.classes and data.task is None and data.positive is None:
        return data.replace(task="classification")
    return data


def for_training(data: DataConfig, train: TrainConfig) -> DataConfig:
    """The settings of the data for a loss, with the column of ones that free first-layer biases are the weights on.

    Raises
    ------
    ConfigError : see :func:`for_loss`.
    """
    data = for_loss(data, train.loss)
    return data.replace(bias=True) if train.first_bias is not None and data.bias is None else data


def prepare(
    data: DataConfig,
    train: TrainConfig,
    load: Callable[[DataConfig], Dataset] = load_dataset,
    one_output: str | None = None,
) -> Prepared:
    """Load the data (by ``load``), make the problem of the loss and class weights, and resolve β.

    Parameters
    ----------
    one_output : what is asked for, if it is there for one output only (with biases or without).

    Raises
    ------
    DataError, ConfigError : data or settings that cannot be used.
    """
    loaded = load(data)
    X, pooling = loaded.pooled
    unscaled = train.make_problem(X, loaded.y, 1.0, pooling=pooling)
    if one_output is not None:
        unscaled.require_one_output(one_output, biases=True)
    beta_max = beta_max_estimate(unscaled, clock=Clock(SEARCH_SECONDS if train.beta is None else ASIDE_SECONDS))
    return Prepared(loaded, unscaled.with_beta(train.resolve_beta(beta_max)), beta_max)
