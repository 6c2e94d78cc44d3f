"""Drift of the activation patterns in a training by Lightning (``lightning`` or ``pytorch_lightning``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reluopt.errors import ConfigError
from reluopt.gate import as_matrix
from reluopt.patterns.drift import Drift, DriftRecorder


def _base() -> type:
    """Lightning's ``Callback``; a plain class where neither package is there, for loops that call the hooks by hand."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return importlib.import_module(name).Callback
        except ModuleNotFoundError:
            continue
    return object


class DriftCallback(_base()):  # type: ignore[misc]  # known when it is imported
    """Logs ``patterns/...`` at the end of every training epoch, compared with the start of the training.

    The patterns are those of all samples ``X`` on the first layer, not of the batches that were seen. A checkpoint
    holds them, so a training that goes on compares with the same start.

    ::

        trainer = lightning.Trainer(callbacks=[DriftCallback(X, layer="model.0")])

    Parameters
    ----------
    X : (n, d) the samples, as the first layer takes them; numpy or torch.
    layer : its name within the LightningModule (as in ``named_modules``); its first ``Linear`` where it is not given.
    log : whether the numbers go to the module's own loggers; ``last`` has them either way.

    Raises
    ------
    DataError : samples that cannot be used. ConfigError : at the start of the training, no such ``Linear`` layer, or a
        checkpoint of other samples.
    """

    def __init__(self, X: Any, layer: str | None = None, *, log: bool = True) -> None:
        super().__init__()
        self.X = torch.from_numpy(as_matrix(X))
        self.layer, self.log = layer, log
        self.recorder: DriftRecorder | None = None
        self._stored: dict[str, Any] = {}

    @property
    def last(self) -> Drift | None:
        """The drift at the end of the last epoch; None before the training."""
        return None if self.recorder is None else self.recorder.last

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Remember the patterns of the start, or those of the checkpoint."""
        self._first(pl_module)
        samples = self._stored.pop("samples", len(self.X))
        if samples != len(self.X):
            raise ConfigError(
                f"The checkpoint has the patterns of {samples} samples, and X has {len(self.X)}.",
                "Give the X that the training began with.",
            )
        self.recorder = DriftRecorder(self.X)
        self.recorder.load_state(self._stored)
        if not self._stored:
            self._look(pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Compare, and log."""
        drift = self._look(pl_module)
        if self.log:
            log_dict: Any = pl_module.log_dict
            log_dict({tag: float(value) for tag, value in drift.scalars().items()})

    def state_dict(self) -> dict[str, Tensor]:
        """The patterns of the start and of the last epoch."""
        state = self._stored if self.recorder is None else self.recorder.state()
        found = {name: torch.from_numpy(np.array(part)) for name, part in state.items()}
        return found if self.recorder is None else {**found, "samples": torch.tensor(len(self.X))}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Compare with the patterns of a checkpoint from now on."""
        self._stored = {name: torch.as_tensor(part).numpy() for name, part in state_dict.items()}

    @torch.no_grad()
    def _look(self, module: nn.Module) -> Drift:
        """Record the layer as it is now; its weights, of any type and device, are taken as exact float64."""
        assert self.recorder is not None
        first = self._first(module)
        parts = [first.weight] if first.bias is None else [first.weight, first.bias[:, None]]
        U = torch.cat([part.detach().cpu().double() for part in parts], dim=1)
        d = self.X.shape[1]
        return self.recorder.update(self.X @ U[:, :d].T + U[:, d:].sum(dim=1), U)

    def _first(self, module: nn.Module) -> nn.Linear:
        linear = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
        name = next(iter(linear), None) if self.layer is None else self.layer
        if name not in linear:
            raise ConfigError(
                f"The module has no Linear layer {name!r}." if name else "The module has no Linear layer.",
                f"Name one of: {', '.join(linear)}." if linear else "Its first layer has to be a torch.nn.Linear.",
            )
        if linear[name].in_features != self.X.shape[1]:
            raise ConfigError(
                f"The layer {name!r} takes {linear[name].in_features} inputs, the samples have {self.X.shape[1]}.",
                "Give the samples as that layer takes them, or name another layer.",
            )
        return linear[name]
