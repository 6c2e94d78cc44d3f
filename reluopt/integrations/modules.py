"""A model of one's own, certified in its own terms: its own objective, and a proved bound below it for every width.

The model must compute Linear, ReLU, Linear, whatever wraps them, and its training must go down a multiple
of L. Where it does not, there is no bound on it, and it is refused by name of what differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from reluopt.biases import Biases
from reluopt.certificate.config import CertifyConfig
from reluopt.errors import ConfigError
from reluopt.gate import as_matrix, given, is_data
from reluopt.integrations.asking import is_trained, outputs_of, require_plain
from reluopt.integrations.certified_module import CertifiedModule, certified
from reluopt.integrations.convolutions import certify_convolution, is_convolution
from reluopt.integrations.decays import read_decay
from reluopt.integrations.mlp import certify_mlp
from reluopt.integrations.torch_losses import read_loss
from reluopt.integrations.torch_targets import require_same_loss, targets_of
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem


def certify_module(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    weight_decay: Any = None,
    loss: Any = None,
    decayed_biases: bool = True,
    layers: tuple[str, str] | None = None,
    config: CertifyConfig | None = None,
) -> CertifiedModule:
    """Certify a model on the data it was trained on.

    The model is asked, in float64 and in training mode, at its own weights and at others, whether it is the two layers;
    it stays as it is.

    Parameters
    ----------
    model : computes Linear → ReLU → Linear, alone or wrapped (compiled, in another module), each layer with or without
        a bias; or a fitted scikit-learn MLPRegressor or MLPClassifier, for which y is as ``fit`` got it and its own
        alpha and loss are taken; or Sequential(Conv2d, ReLU, AdaptiveAvgPool2d(1), Flatten, Linear) with decayed biases
        in the convolution and none in the linear layer, for which X are images (n, channels, height, width).
    X, y : (n, d), or a data set in their place, and y as the loss reads it, of the shape of the model's outputs (class
        numbers (n,) for CrossEntropyLoss): the whole training data.
    weight_decay : of SGD or Adam (coupled), for all parameters; or the optimizer itself, whose parameter groups say
        what is decayed. AdamW's decay is another one.
    decayed_biases : whether ``weight_decay`` is that of the biases too.
    loss : MSELoss, L1Loss, HuberLoss, SmoothL1Loss, BCEWithLogitsLoss, SoftMarginLoss, CrossEntropyLoss.
    layers : names of the two linear layers within the model, where they are not its only ones.
    config : of the certificate.

    Raises
    ------
    ConfigError : a model or a loss whose training problem is not that of the certificate. DataError : data that cannot
        be used.
    """
    own = y is None and is_data(X)
    X, y, pooling = given(X, y)
    if pooling is not None:
        raise ConfigError("The data set has pooled patches.", "Give a convolution its images and targets.")
    if hasattr(model, "coefs_") and hasattr(model, "intercepts_"):
        if not (weight_decay is None and loss is None and decayed_biases and layers is None):
            raise ConfigError(
                "weight_decay, loss, decayed_biases or layers was given for a scikit-learn model, which has its own.",
                "Leave them out: certify_module(model, X, y).",
            )
        return certify_mlp(model, X, y, config)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"The model is a {type(model).__name__}.", "Give a torch module, or a fitted MLP.")
    if loss is None:
        raise ConfigError("The loss is missing.", "Give loss=, such as nn.MSELoss().")
    if layers is None and is_convolution(model):
        assert isinstance(model, nn.Sequential)
        return certify_convolution(model, X, y, weight_decay, loss, decayed_biases, config)
    first, second = _layers(model, layers)
    decay, decayed = read_decay(weight_decay, first, second, decayed_biases)
    features = as_matrix(X)
    require_plain(model, first, second)
    network, rows = _network(first, second, features)
    biases = Biases(
        output="none" if network.intercept is None else "decayed" if decayed.last else "free",
        first="free" if is_trained(first.bias) and not decayed.first else "none",
    )
    outputs = outputs_of(model, first, second, torch.from_numpy(features))
    read = read_loss(loss, len(features), second.out_features)
    if own and y.ndim == 1 and outputs[0].shape == (len(y), 1):
        y = y[:, None]
    targets = targets_of(y, outputs[0], loss)
    problem = Problem(rows, read.targets(targets.numpy()), read.spec, float(decay / read.factor), biases=biases)
    require_same_loss(loss, targets, problem, read, outputs)
    return certified(float(loss(outputs[0], targets)), decay, read.factor, problem, network, config)


def _layers(model: nn.Module, names: tuple[str, str] | None) -> tuple[nn.Linear, nn.Linear]:
    """The two linear layers: those that are named, or the only ones."""
    if names is not None:
        known = dict(model.named_modules())
        found = [known.get(name) for name in names]
    else:
        found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if len(found) != 2 or not all(isinstance(module, nn.Linear) for module in found):
        raise ConfigError(
            f"The model has {len(found)} linear layers to choose from{' by these names' if names else ''}.",
            "Name the two: layers=('first', 'second'), as model.named_modules() calls them.",
        )
    first, second = found
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    if second.in_features != first.out_features:
        raise ConfigError("The second layer does not take what the first one gives.", "Name the layers in their order.")
    return first, second


def _network(first: nn.Linear, second: nn.Linear, X: np.ndarray) -> tuple[TwoLayerReLU, np.ndarray]:
    """The network, in float64, and its rows: X, with ones behind where the first layer has a bias."""
    U, alpha = first.weight.detach().cpu().double(), second.weight.detach().cpu().double().T
    if first.bias is not None:
        U = torch.cat([U, first.bias.detach().cpu().double()[:, None]], dim=1)
        X = np.hstack([X, np.ones((len(X), 1))])
    c = second.bias.detach().cpu().double() if is_trained(second.bias) else None
    if U.shape[1] != X.shape[1]:
        raise ConfigError(f"The model takes {first.in_features} inputs, X has another number.", "Give its own X.")
    return from_weights(U.contiguous(), alpha[:, 0] if alpha.shape[1] == 1 else alpha.contiguous(), c), X
