"""``Sequential(Conv2d, ReLU, AdaptiveAvgPool2d(1), Flatten, Linear)`` certified in its own terms, on pooled patches."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import nn

from reluopt.certificate.certify import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.convolution import KINDS, from_convolution
from reluopt.errors import ConfigError
from reluopt.integrations.asking import is_trained
from reluopt.integrations.certified import CertifiedModule
from reluopt.integrations.decays import read_decay
from reluopt.integrations.torch_losses import read_loss
from reluopt.integrations.torch_targets import require_same_loss, targets_of
from reluopt.problem import Problem
from reluopt.rigor.rounding import round_down


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
    ConfigError : another convolution or pooling, biases of other kinds, a loss that is not the problem's.
    """
    given = np.asarray(images.detach().cpu() if isinstance(images, torch.Tensor) else images, dtype=np.float64)
    images = given[:, None] if given.ndim == 3 else given
    convolution, linear = model[0], model[-1]
    assert isinstance(convolution, nn.Conv2d) and isinstance(linear, nn.Linear)
    decay, decayed = read_decay(weight_decay, convolution, linear, decayed_biases)
    if is_trained(convolution.bias) and not decayed.first:
        raise ConfigError(
            "The convolution's bias is not decayed, and pooled rows have decayed biases only.",
            "Decay it too, or train with Conv2d(..., bias=False).",
        )
    own = copy.deepcopy(model).cpu().double()
    network, rows, pooling = from_convolution(own, images)
    with torch.no_grad():
        out = own(torch.from_numpy(images))
    read, targets = read_loss(loss, len(images), linear.out_features), targets_of(y, out, loss)
    beta = float(decay / read.factor)
    problem = Problem(rows, read.targets(targets.numpy()), read.spec, beta, pooling=pooling)
    require_same_loss(loss, targets, problem, read, [out, 0.5 * out + 0.25])
    square = 2.0 * float(problem.with_beta(1.0).weight_decay(*network.weights()))
    objective = float(loss(out, targets)) + 0.5 * float(decay) * square
    certificate = certify(network, problem, config=config)
    # β is w/c, rounded; p*(β) is concave with p*(0) ≥ 0, so at a smaller β it is at most in proportion smaller
    lower = round_down(Fraction(certificate.lower_bound) * min(read.factor, decay / Fraction(problem.beta)))
    return CertifiedModule(objective, lower, certificate, problem, network, float(read.factor))
