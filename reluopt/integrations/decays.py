"""Which parameters a training decays, and by how much: from a number, or from an optimizer's parameter groups."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from reluopt.errors import ConfigError
from reluopt.gate import as_beta
from reluopt.integrations.asking import is_trained

#: Optimizers of torch whose ``weight_decay`` is added to the gradient, unless their ``decoupled_weight_decay`` is set.
COUPLED = ("SGD", "Adam", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop")


@dataclass(frozen=True)
class DecayedBiases:
    """Whether the bias of each layer is decayed (True where there is none)."""

    first: bool
    last: bool


def read_decay(
    weight_decay: Any, first: nn.Linear | nn.Conv2d, second: nn.Linear, decayed_biases: bool
) -> tuple[Fraction, DecayedBiases]:
    """The weight decay of both weights, and whether the biases have it too.

    Raises
    ------
    ConfigError : not positive; decoupled, or of an optimizer that is not known; other numbers for the two weights, or
        for a bias one that is neither 0 nor theirs; an optimizer that lacks a parameter.
    """
    if not isinstance(weight_decay, torch.optim.Optimizer):
        return _positive(weight_decay), DecayedBiases(decayed_biases, decayed_biases)
    if not decayed_biases:
        raise ConfigError(
            "decayed_biases was given beside an optimizer, whose groups say what is decayed.", "Leave it out."
        )
    found = [_of(weight_decay, layer.weight) for layer in (first, second)]
    if found[0] and type(weight_decay) not in [getattr(torch.optim, name) for name in COUPLED]:
        raise ConfigError(
            f"Whether the weight decay of {type(weight_decay).__name__} is that of an objective is not known.",
            f"Train with one of torch's {', '.join(COUPLED)}; or give the number, if it is added to the gradient.",
        )
    if any(group.get("maximize") for group in weight_decay.param_groups):
        raise ConfigError("The optimizer maximizes the loss.", "Train with maximize=False.")
    if found[0] != found[1]:
        raise ConfigError(
            f"The two layers' weights have weight_decay {found[0]} and {found[1]}.", "Train both with one number."
        )
    own = []
    for layer in (first, second):
        bias = layer.bias
        decay = _of(weight_decay, bias) if bias is not None and is_trained(bias) else found[0]
        if decay not in (0.0, found[0]):
            raise ConfigError(
                f"A bias has weight_decay {decay}, and the weights have {found[0]}.",
                "Decay biases like weights, or not at all.",
            )
        own.append(decay != 0.0)
    return _positive(found[0]), DecayedBiases(*own)


def _of(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> float:
    """The weight decay of one parameter."""
    for group in optimizer.param_groups:
        if any(parameter is other for other in group["params"]):
            decay = float(group.get("weight_decay", 0.0))
            if decay and (group.get("decoupled_weight_decay") or isinstance(optimizer, torch.optim.AdamW)):
                raise ConfigError(
                    f"{type(optimizer).__name__} decouples weight decay from the gradient: another objective.",
                    "Train with SGD or Adam, whose weight_decay is coupled.",
                )
            return decay
    raise ConfigError("The optimizer lacks a parameter of the two layers.", "Give the one that trained the model.")


def _positive(weight_decay: Any) -> Fraction:
    try:
        return Fraction(as_beta(weight_decay))
    except ConfigError:
        raise ConfigError(
            f"weight_decay = {weight_decay!r}.", "Give the positive weight_decay of the optimizer (SGD or Adam)."
        ) from None
