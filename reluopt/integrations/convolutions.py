"""``Sequential(Conv2d, ReLU, AdaptiveAvgPool2d(1), Flatten, Linear)`` certified in its own terms, on pooled patches."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from reluopt.certificate.config import CertifyConfig
from reluopt.convolution import KINDS, from_convolution
from reluopt.errors import ConfigError
from reluopt.gate import as_finite
from reluopt.integrations.asking import is_trained, outputs_of, require_plain
from reluopt.integrations.certified_module import CertifiedModule, certified
from reluopt.integrations.decays import read_decay
from reluopt.integrations.torch_losses import read_loss
from reluopt.integrations.torch_targets import require_same_loss, targets_of
from reluopt.problem import Problem


def is_convolution(model: nn.Module) -> bool:
    """Whether the model is of this architecture."""
    return isinstance(model, nn.Sequential) and len(model) == len(KINDS) and all(map(isinstance, model, KINDS))


def certify_convolution(
    model: nn.Sequential,
    images: Any,
    y: Any,
    weight_decay: Any,
    loss: Any,
    decayed_biases: bool,
    config: CertifyConfig | None,
) -> CertifiedModule:
    """Certify the model on its images (n, channels, height, width), or (n, height, width).

    The convolution's bias must be decayed like its weights (a column of ones behind the patches), and the linear layer
    has none.

    Raises
    ------
    ConfigError : another convolution or pooling, other trained parameters, biases of other kinds, a loss that is not
        the problem's. DataError : images or targets that cannot be used.
    """
    given = as_finite(images, "images")
    images = given[:, None] if given.ndim == 3 else given
    convolution, linear = model[0], model[-1]
    assert isinstance(convolution, nn.Conv2d) and isinstance(linear, nn.Linear)
    decay, decayed = read_decay(weight_decay, convolution, linear, decayed_biases)
    if is_trained(convolution.bias) and not decayed.first:
        raise ConfigError(
            "The convolution's bias is not decayed, and pooled rows have decayed biases only.",
            "Decay it too, or train with Conv2d(..., bias=False).",
        )
    if is_trained(linear.bias):
        raise ConfigError(
            "The linear layer has a bias, and problems on pooled rows have no intercept.",
            "Train with Linear(m, C, bias=False).",
        )
    require_plain(model, convolution, linear)
    network, rows, pooling = from_convolution(copy.deepcopy(model).cpu().double(), images)
    raw = torch.tensor(rows[:, : convolution.weight[0].numel()])
    outputs = outputs_of(model, convolution, linear, torch.from_numpy(images), raw, pooling.forward)
    read, targets = read_loss(loss, len(images), linear.out_features), targets_of(y, outputs[0], loss)
    beta = float(decay / read.factor)
    problem = Problem(rows, read.targets(targets.numpy()), read.spec, beta, pooling=pooling)
    require_same_loss(loss, targets, problem, read, outputs)
    average = Fraction(float(pooling.weights[0])) * int(pooling.sizes[0])  # 1/k is rounded, in all images alike
    return certified(float(loss(outputs[0], targets)), decay, read.factor, problem, network, config, average)
