r"""torch's losses as those of the training problem: c·Σ_i ℓ(f_i, y_i), with c by name and reduction.

With torch's *coupled* ``weight_decay`` w (SGD, Adam) a model goes down c·Σℓ + (w/2)‖θ‖² = c·L with β = w/c. For
``MSELoss()``, the mean of (f − y)² = 2ℓ, c is 2/n: w = 2β/n.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from torch import nn

from reluopt.errors import ConfigError, DataError


@dataclass(frozen=True)
class TorchLoss:
    """c·Σℓ: ``spec`` names ℓ as ``make_loss`` reads it, ``factor`` is c; ``zero_one``: the targets are 0 and 1."""

    spec: str
    factor: Fraction
    zero_one: bool = False

    def targets(self, y: np.ndarray) -> np.ndarray:
        """The targets of the problem.

        Raises
        ------
        DataError : another target than 0 and 1 where these are asked for.
        """
        if self.zero_one and not np.isin(y, (0.0, 1.0)).all():
            raise DataError("The loss reads targets 0 and 1, and y has others.", "Give y as 0 and 1.")
        return 2.0 * y - 1.0 if self.zero_one else y


def read_loss(loss: Any, n: int, outputs: int) -> TorchLoss:
    """A loss of torch on n samples of a model with so many outputs.

    Raises
    ------
    ConfigError : a loss, or settings of it, that the training problem does not have.
    """
    if not isinstance(loss, nn.Module):
        raise ConfigError(f"The loss is a {type(loss).__name__}.", "Give a loss module of torch, such as nn.MSELoss().")
    reduction = getattr(loss, "reduction", None)
    if reduction not in ("mean", "sum"):
        raise ConfigError(f"The loss has reduction={reduction!r}.", "Give a loss with reduction 'mean' or 'sum'.")
    for name in ("weight", "pos_weight"):
        if getattr(loss, name, None) is not None:
            raise ConfigError(f"The loss has {name}, which certify_module does not read.", f"Give it without {name}.")
    if getattr(loss, "label_smoothing", 0.0):
        raise ConfigError("The loss smooths labels.", "Give it with label_smoothing=0.")
    rows = Fraction(1) if reduction == "sum" else Fraction(1, n)
    each = rows if reduction == "sum" else rows / outputs  # a mean over all entries of (n, C)
    match loss:
        case nn.MSELoss():
            return TorchLoss("squared", 2 * each)
        case nn.L1Loss():
            return TorchLoss("absolute", each)
        case nn.HuberLoss():
            return TorchLoss(f"huber:{loss.delta!r}", each)
        case nn.SmoothL1Loss() if loss.beta > 0:
            return TorchLoss(f"huber:{loss.beta!r}", each / Fraction(loss.beta))
        case nn.BCEWithLogitsLoss():
            return TorchLoss("logistic", each, zero_one=True)
        case nn.SoftMarginLoss():
            return TorchLoss("logistic", each)
        case nn.CrossEntropyLoss() if outputs > 1:
            return TorchLoss("cross_entropy", rows)
    raise ConfigError(
        f"{type(loss).__name__} is not a loss of the training problem.",
        "Give MSELoss, L1Loss, HuberLoss, SmoothL1Loss, BCEWithLogitsLoss, SoftMarginLoss or CrossEntropyLoss.",
    )
