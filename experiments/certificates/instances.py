"""The instances of the tables: reference files, whole data sets, the same with other losses, generated ones, MNIST."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from slopes import fresh, known

from reluopt.data import DataConfig, load_dataset
from reluopt.losses import make_loss
from reluopt.problem import Problem
from reluopt.search.pricing import beta_max_estimate
from reluopt.training import TrainConfig

#: β and the best objective known (by column generation with local pricing) of the whole data sets.
WHOLE = {
    "breast_cancer_b0.1": (87.626, 103.209),
    "breast_cancer_b0.01": (8.7626, 38.895),
    "diabetes_b0.1": (31.8771, 129.848),
    "diabetes_b0.01": (3.18771, 85.351),
    "digits_b0.1": (127.766, 327.509),
    "digits_b0.01": (12.7766, 82.394),
}
#: With other losses: data set, loss, β (0.1 or 0.01 of β_max, by pricing). Labels of classes are the signs of y.
LOSSES = {
    "breast_cancer_logistic_b0.1": ("breast_cancer", "logistic", 43.812982),
    "breast_cancer_logistic_b0.01": ("breast_cancer", "logistic", 4.3812982),
    "digits_logistic_b0.1": ("digits", "logistic", 63.883198),
    "digits_logistic_b0.01": ("digits", "logistic", 6.3883198),
    "breast_cancer_hinge_b0.1": ("breast_cancer", "hinge", 87.625964),
    "breast_cancer_huber_b0.1": ("breast_cancer", "huber:1.0", 87.625964),
    "breast_cancer_quantile_b0.1": ("breast_cancer", "quantile:0.7", 62.101424),
    "diabetes_huber_b0.1": ("diabetes", "huber:1.0", 23.865089),
    "diabetes_quantile_b0.1": ("diabetes", "quantile:0.7", 18.561275),
}
#: Adam's on MNIST, where the default number takes half an hour.
MNIST_EPOCHS = 3000
#: And with other losses.
LOSS_EPOCHS = 3000


@dataclass(frozen=True)
class Instance:
    """One problem, the best objective known for it, how long Adam trains on it, whether nothing was chosen on it."""

    name: str
    X: np.ndarray
    y: np.ndarray
    beta: float
    best_known: float
    epochs: int = TrainConfig.epochs
    loss: str = "squared"
    fresh: bool = False

    @property
    def problem(self) -> Problem:
        """As the bounds take it."""
        return Problem(self.X, self.y, self.loss, self.beta)


def instances(reference: Path, mnist: Path | None) -> Iterator[Instance]:
    """The reference folder's instances, then the whole data sets, or MNIST alone."""
    if mnist is not None:
        data = load_dataset(DataConfig(dataset=str(mnist), scaling="centre", bias=False))
        beta = 0.1 * beta_max_estimate(data.X, data.y)
        yield Instance(
            f"mnist_{data.n}x{data.d}_b0.1", data.X, data.y, beta, 0.5 * float(data.y @ data.y), MNIST_EPOCHS
        )
        return
    for name, values in json.loads((reference / "values.json").read_text()).items():
        file = np.load(reference / f"{name}.npz")
        yield Instance(name, file["X"], file["y"], float(file["beta"]), values["best_known"])
    for name, (beta, best) in WHOLE.items():
        data = load_dataset(DataConfig(dataset=name.rsplit("_", 1)[0]))
        yield Instance(name, data.X, data.y, beta, best)
    for name, (dataset, spec, beta) in LOSSES.items():
        data, loss = load_dataset(DataConfig(dataset=dataset)), make_loss(spec)
        y = np.where(data.y > 0, 1.0, -1.0) if loss.classes else data.y
        zero = Problem(data.X, y, loss, beta).zero_value
        yield Instance(name, data.X, y, beta, zero, LOSS_EPOCHS, spec)
    for name, problem in known(reference):
        if name.startswith(("noise_100", "diabetes_60x11_b0.01")):
            yield _made(name, problem)
    for name, problem in fresh():
        yield _made(name, problem, fresh=True)


def _made(name: str, problem: Problem, *, fresh: bool = False) -> Instance:
    """An instance of slopes.py, of which no network is known yet."""
    loss = problem.loss.name
    return Instance(name, problem.X, problem.y, problem.beta, problem.zero_value, LOSS_EPOCHS, loss, fresh)
