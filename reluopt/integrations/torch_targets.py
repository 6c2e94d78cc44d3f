"""The targets of a model as its loss reads them, and whether its loss is that of the problem."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reluopt.errors import ConfigError
from reluopt.gate import as_finite
from reluopt.integrations.torch_losses import TorchLoss
from reluopt.problem import Problem

#: torch's loss must be that of the problem up to this, relatively: float64's rounding.
SAME = 1e-9


def targets_of(y: Any, out: Tensor, loss: Any) -> Tensor:
    """Y as the loss reads it: class numbers (n,) of the cross-entropy, else of the model's shape.

    Raises
    ------
    DataError : not numbers. ConfigError : another shape, which torch would stretch over all pairs.
    """
    values = as_finite(y, "y")
    targets = torch.from_numpy(values)
    if isinstance(loss, nn.CrossEntropyLoss) and targets.ndim == 1:
        return targets.long() if bool((targets == targets.round()).all()) else targets
    if targets.shape != out.shape:
        raise ConfigError(
            f"y has shape {tuple(targets.shape)}, and the model gives {tuple(out.shape)}.",
            "Give y as the loss reads it, of the model's shape: y[:, None] for outputs (n, 1). torch stretches other "
            "shapes over all pairs of samples, which is another objective.",
        )
    return targets


def require_same_loss(
    loss: nn.Module, targets: Tensor, problem: Problem, read: TorchLoss, outputs: list[Tensor]
) -> None:
    """torch's own loss must be c·Σℓ, at the model's outputs and at others."""
    for out in outputs:
        own = float(loss(out, targets))
        f = out.numpy().reshape(problem.targets.shape)
        ours = float(read.factor) * problem.loss_value(f)
        if not abs(own - ours) <= SAME * max(abs(own), abs(ours)):
            raise ConfigError(
                f"The loss gives {own:.10g}, and the problem of the certificate {ours:.10g}.",
                "Give one of torch's own losses, without ignored samples.",
            )
