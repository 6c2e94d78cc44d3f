"""From settings to a training problem: the data of a loss, their weights, β as a fraction of β_max."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reluopt.clock import Clock
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.losses import make_loss
from reluopt.pricing import SEARCH_SECONDS, beta_max_estimate
from reluopt.problem import Problem
from reluopt.training import TrainConfig


@dataclass(frozen=True)
class Prepared:
    """A data set and its training problem; ``beta_max`` is found by local search, a lower estimate of the true one."""

    data: Dataset
    problem: Problem
    beta_max: float


def for_loss(data: DataConfig, loss: str) -> DataConfig:
    """The settings of the data with labels that the loss can take: losses of classes ask for classes."""
    if make_loss(loss).classes and data.task is None and data.positive is None:
        return data.replace(task="classification")
    return data


def prepare(data: DataConfig, train: TrainConfig, load: Callable[[DataConfig], Dataset] = load_dataset) -> Prepared:
    """Load the data (by ``load``), make the problem of the loss and class weights, and resolve β.

    Raises
    ------
    DataError, ConfigError : data or settings that cannot be used.
    """
    loaded = load(data)
    unscaled = train.make_problem(loaded.X, loaded.y, 1.0)
    beta_max = beta_max_estimate(unscaled, clock=Clock(SEARCH_SECONDS))
    return Prepared(loaded, unscaled.with_beta(train.resolve_beta(beta_max)), beta_max)
