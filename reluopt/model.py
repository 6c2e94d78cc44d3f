"""A network with what its data were prepared by: from raw samples to numbers or labels as they stand in the data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import expit, softmax
from torch import nn

from reluopt import neurons
from reluopt.data.further import Further, read_further
from reluopt.data.preparation import Preparation
from reluopt.data.table import TableSettings
from reluopt.errors import ConfigError
from reluopt.losses import Loss
from reluopt.network import TwoLayerReLU


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of the rows of a file.

    Attributes
    ----------
    outputs : (k,) or (k, C) f(x_i), in the units of the training problem. ``values`` : numbers in the units of the
        data, of the same shape, or labels (k,).
    probabilities : (k,) of the label +1 with the logistic loss, (k, C) of all classes with cross-entropy, else None.
    score_name, score : accuracy or R² over the rows that have a target, None where none has.
    scored : how many these are.
    names : of several outputs, where they have names: classes, or target columns.
    """

    outputs: Float[np.ndarray, "k ..."]
    values: np.ndarray
    probabilities: Float[np.ndarray, "k ..."] | None
    score_name: str | None
    score: float | None
    scored: int
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network that takes raw samples.

    Attributes
    ----------
    network : takes the rows of the training problem's X (a bias is its last input).
    preparation : how raw samples become such rows, and targets those of the problem.
    loss : of the training problem.
    """

    network: TwoLayerReLU
    preparation: Preparation
    loss: Loss

    def outputs(self, X: Any) -> Float[np.ndarray, "k ..."]:
        """f of raw samples (a data frame with the data's columns, raw features (k, d_raw), or images)."""
        return self._f(self.preparation.transform(X))

    def predict(self, X: Any) -> np.ndarray:
        """Numbers in the units of the data, or labels, shape (k,), of raw samples."""
        return self._values(self.outputs(X))

    def predict_file(self, path: Path | str, settings: TableSettings | None = None) -> Predictions:
        """The predictions for each row of a file, and the score where the file has targets.

        Raises
        ------
        DataError : a file that cannot be read, or whose samples do not fit.
        """
        return self.predict_samples(read_further(path, self.preparation, settings))

    def predict_samples(self, samples: Further) -> Predictions:
        """The predictions for prepared samples."""
        f = self._f(samples.X)
        y = samples.y if samples.y is not None else np.full(f.shape, np.nan)
        known = np.isfinite(y) if y.ndim == 1 else np.isfinite(y).all(axis=1)
        name = score = None
        if known.any():
            name, score = self.loss.score(torch.from_numpy(f[known]), torch.from_numpy(y[known]))
        chances = {"logistic": expit, "cross_entropy": partial(softmax, axis=1)}.get(self.loss.name)
        probabilities = None if chances is None else chances(f)
        return Predictions(
            f, self._values(f), probabilities, name, score, int(known.sum()), self.preparation.output_names
        )

    def to_sequential(self) -> nn.Sequential:
        """``Sequential(Linear, ReLU, Linear)`` on the rows of X; a ones column becomes the first layer's bias.

        Raises
        ------
        ConfigError : a network on pooled patches.
        """
        if self.preparation.patching is not None:
            raise ConfigError(
                "The network takes patches of images, and is no Linear layer on them.",
                self.preparation.patching.how_in_torch,
            )
        return self.network.to_sequential(bias_column=self.preparation.features.bias)

    def save_onnx(self, path: Path | str) -> None:
        """Write :meth:`to_sequential` as ONNX: input ``X`` (k, d) in float32, output (k, 1), k free.

        Raises
        ------
        ConfigError : the packages that torch's exporter needs are not installed.
        """
        export_onnx(self.to_sequential(), path)

    def _f(self, X: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k ..."]:
        if self.preparation.patching is None:
            return neurons.predict(X, *self.network.weights())
        rows, pooling = self.preparation.patching.apply(X)
        return pooling.forward(neurons.predict(rows, *self.network.weights()))

    def _values(self, f: Float[np.ndarray, "k ..."]) -> np.ndarray:
        labels = self.preparation.target.labels
        if labels is None:
            return self.preparation.target.undo(f)
        if f.ndim == 2:
            return np.array([labels[str(k)] for k in range(f.shape[1])])[f.argmax(axis=1)]
        return np.where(f > 0, labels["+1"], labels["-1"])


def export_onnx(model: nn.Sequential, path: Path | str) -> None:
    """Write a sequential model in float32 as ONNX, with torch's exporter.

    Raises
    ------
    ConfigError : the packages that it needs are not installed.
    """
    first = model[0]
    assert isinstance(first, nn.Linear)
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs a package that is not installed: {error.name}.", "Install it: pip install 'reluopt[onnx]'"
        ) from error
    example = (torch.zeros(2, first.in_features),)
    try:
        torch.onnx.export(
            model.float().eval(), example, str(path), input_names=["X"], output_names=["f"],
            dynamic_shapes={"input": {0: torch.export.Dim("k")}}, dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be written ({error.strerror or error}).", "Name another place.") from error
