"""A torch model, certified in its own terms: its own objective, and a proved bound below it for every width.

The model must compute Linear, ReLU, Linear, whatever wraps them, and its training must go down a multiple
of L. Where it does not, there is no bound on it, and it is refused by name of what differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reluopt.certificate.certificate import Certificate
from reluopt.certificate.certify import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.errors import ConfigError
from reluopt.gate import as_beta, as_matrix, as_numbers
from reluopt.integrations.asking import outputs_of, require_plain
from reluopt.integrations.torch_losses import TorchLoss, read_loss
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.rigor.rounding import round_down

#: torch's loss must be that of the problem up to this, relatively: float64's rounding.
SAME = 1e-9


@dataclass(frozen=True, eq=False)
class CertifiedModule:
    """What is proved of a torch model.

    Attributes
    ----------
    own_objective : what its training goes down: loss(model(X), y) + (weight_decay/2)·‖all parameters‖², in float64.
    own_lower_bound : no model of this kind, of any width, has a smaller one (proved, rounded down; 0 where none is).
    certificate : of L = own objective/``factor``. ``problem``, ``network`` : what it speaks of.
    factor : c, where the own objective is c·L (rounded to the nearest).
    """

    own_objective: float
    own_lower_bound: float
    certificate: Certificate
    problem: Problem
    network: TwoLayerReLU
    factor: float


def certify_module(
    model: Any,
    X: Any,
    y: Any,
    *,
    weight_decay: Any,
    loss: Any,
    layers: tuple[str, str] | None = None,
    config: CertifyConfig | None = None,
) -> CertifiedModule:
    """Certify a model on the data it was trained on.

    The model is asked, in float64 and in training mode, at its own weights and at others, whether it is the two layers;
    it stays as it is.

    Parameters
    ----------
    model : computes Linear → ReLU → Linear, alone or wrapped (compiled, in another module). The first layer may have a
        bias, decayed like all parameters, as torch's optimizers do; the last may not.
    X, y : (n, d), and y as the loss reads it, of the shape of the model's outputs (class numbers (n,) for
        CrossEntropyLoss): the whole training data.
    weight_decay : of SGD or Adam (coupled), for all parameters. AdamW's decay is another one.
    loss : MSELoss, L1Loss, HuberLoss, SmoothL1Loss, BCEWithLogitsLoss, SoftMarginLoss, CrossEntropyLoss.
    layers : names of the two linear layers within the model, where they are not its only ones.
    config : of the certificate.

    Raises
    ------
    ConfigError : a model or a loss whose training problem is not that of the certificate. DataError : data that cannot
        be used.
    """
    _torch_only(model)
    decay = _positive(weight_decay)
    first, second = _layers(model, layers)
    features = as_matrix(X)
    require_plain(model, first, second)
    network, rows = _network(first, second, features)
    outputs = outputs_of(model, first, second, torch.from_numpy(features))
    read = read_loss(loss, len(features), second.out_features)
    targets = _targets(y, outputs[0], loss)
    problem = Problem(rows, read.targets(targets.numpy()), read.spec, float(decay / read.factor))
    _require_same_loss(loss, targets, problem, read, outputs)
    squares = sum(float((p.detach().double() ** 2).sum()) for p in (network.U, network.alpha))
    own = float(loss(outputs[0], targets)) + 0.5 * float(decay) * squares
    certificate = certify(network, problem, config=config)
    # β is w/c, rounded; p*(β) is concave with p*(0) ≥ 0, so at a smaller β it is at most in proportion smaller
    share = min(read.factor, decay / Fraction(problem.beta))
    lower = round_down(Fraction(certificate.lower_bound) * share)
    return CertifiedModule(own, lower, certificate, problem, network, float(read.factor))


def _positive(weight_decay: Any) -> Fraction:
    try:
        return Fraction(as_beta(weight_decay))
    except ConfigError:
        raise ConfigError(
            f"weight_decay = {weight_decay!r}.", "Give the positive weight_decay of the optimizer (SGD or Adam)."
        ) from None


def _torch_only(model: Any) -> None:
    if hasattr(model, "coefs_") and hasattr(model, "intercepts_"):
        raise ConfigError(
            "scikit-learn's MLP has intercepts that it does not decay; the bounds on L say nothing of its objective.",
            "Use reluopt.ReLURegressor or ReLUClassifier with the same alpha.",
        )
    if not isinstance(model, nn.Module):
        raise ConfigError(f"The model is a {type(model).__name__}.", "Give a torch module.")


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
    if U.shape[1] != X.shape[1]:
        raise ConfigError(f"The model takes {first.in_features} inputs, X has another number.", "Give its own X.")
    return from_weights(U.contiguous(), alpha[:, 0] if alpha.shape[1] == 1 else alpha.contiguous()), X


def _targets(y: Any, out: Tensor, loss: Any) -> Tensor:
    """Y as the loss reads it: class numbers (n,) of the cross-entropy, else of the model's shape.

    Raises
    ------
    DataError : not numbers. ConfigError : another shape, which torch would stretch over all pairs.
    """
    values = as_numbers(y, "y")
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


def _require_same_loss(
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
