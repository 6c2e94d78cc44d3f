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
from reluopt.gate import as_matrix
from reluopt.integrations.torch_losses import read_loss
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.rigor.rounding import round_down

#: The model's own outputs and objective must be those of the two layers up to this, relatively: float32's rounding.
SAME = 1e-3


@dataclass(frozen=True, eq=False)
class CertifiedModule:
    """What is proved of a torch model.

    Attributes
    ----------
    own_objective : what its training goes down: loss(model(X), y) + (weight_decay/2)·‖all parameters‖², in float64.
    own_lower_bound : no model of this kind, of any width, has a smaller one (proved, rounded down; 0 where none is).
    certificate : of L = own objective/``factor``. ``problem``, ``network`` : what it speaks of.
    factor : c, where the own objective is c·L.
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
    weight_decay: float,
    loss: nn.Module,
    layers: tuple[str, str] | None = None,
    config: CertifyConfig | None = None,
) -> CertifiedModule:
    """Certify a model on the data it was trained on.

    Parameters
    ----------
    model : computes Linear → ReLU → Linear, alone or wrapped (compiled, in another module). The first layer may have a
        bias, decayed like all parameters, as torch's optimizers do; the last may not.
    X, y : (n, d), (n,) or (n, C): the whole training data, as they go into the model and the loss.
    weight_decay : of SGD or Adam (coupled), for all parameters. AdamW's decay is another one.
    loss : MSELoss, L1Loss, HuberLoss, SmoothL1Loss, BCEWithLogitsLoss, SoftMarginLoss, CrossEntropyLoss.
    layers : names of the two linear layers within the model, where they are not its only ones.
    config : of the certificate.

    Raises
    ------
    ConfigError : a model or a loss whose training problem is not that of the certificate.
    """
    _torch_only(model)
    first, second = _layers(model, layers)
    features = as_matrix(X)
    _require_no_more(model, first, second)
    network, rows = _network(first, second, features)
    _require_same_function(model, network, features, rows)
    read = read_loss(loss, len(features), second.out_features)
    targets = read.targets(np.asarray(torch.as_tensor(np.asarray(y)).double()))
    problem = Problem(rows, targets, read.spec, weight_decay / read.factor)
    own = _own_objective(network, rows, y, loss, weight_decay)
    level = problem.objective(*network.weights()) * read.factor
    if not abs(own - level) <= 1e-9 * max(1.0, abs(own)):
        raise ConfigError(
            f"The loss gives {own:.10g}, and the problem of the certificate {level:.10g}.",
            "Give y as the loss reads it: one target a sample, of the model's shape.",
        )
    certificate = certify(network, problem, config=config)
    lower = round_down(Fraction(certificate.lower_bound) * Fraction(read.factor))
    return CertifiedModule(own, lower, certificate, problem, network, read.factor)


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


def _require_no_more(model: nn.Module, first: nn.Linear, second: nn.Linear) -> None:
    """No parameter outside of the two layers, and no output bias: L has none."""
    own = {id(p) for p in (*first.parameters(), *second.parameters())}
    more = [name for name, p in model.named_parameters() if id(p) not in own and p.requires_grad]
    if more:
        raise ConfigError(
            f"The model trains more than the two layers: {', '.join(more[:5])}.",
            "Certify a model of two linear layers; freeze what is in front of it and give its outputs as X.",
        )
    if second.bias is not None and (second.bias.requires_grad or bool(second.bias.detach().any())):
        raise ConfigError(
            "The last layer has a bias, which L does not have: its training goes down another objective.",
            "Train with nn.Linear(m, C, bias=False), or centre y and leave the bias out.",
        )


def _network(first: nn.Linear, second: nn.Linear, X: np.ndarray) -> tuple[TwoLayerReLU, np.ndarray]:
    """The network, in float64, and its rows: X, with ones behind where the first layer has a bias."""
    U, alpha = first.weight.detach().cpu().double(), second.weight.detach().cpu().double().T
    if first.bias is not None:
        U = torch.cat([U, first.bias.detach().cpu().double()[:, None]], dim=1)
        X = np.hstack([X, np.ones((len(X), 1))])
    if U.shape[1] != X.shape[1]:
        raise ConfigError(f"The model takes {first.in_features} inputs, X has another number.", "Give its own X.")
    return from_weights(U.contiguous(), alpha[:, 0] if alpha.shape[1] == 1 else alpha.contiguous()), X


def _require_same_function(model: nn.Module, network: TwoLayerReLU, X: np.ndarray, rows: np.ndarray) -> None:
    """The model must be the two layers with a ReLU between, on these data."""
    weight = next(model.parameters())
    training = model.training
    try:
        with torch.no_grad():
            out = model.train()(torch.from_numpy(X).to(weight)).double().cpu().reshape(len(X), -1)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"The model does not take X ({type(error).__name__}).", "Give X as it goes in.") from error
    finally:
        model.train(training)
    f = network(torch.from_numpy(rows)).detach().reshape(len(X), -1)
    size = float(f.abs().max()) or 1.0
    if out.shape != f.shape or not float((out - f).abs().max()) <= SAME * size:
        raise ConfigError(
            "The model computes something else than Linear, ReLU, Linear with these two layers.",
            "Leave out dropout, normalisation, other activations and skips; or name the right layers.",
        )


def _own_objective(network: TwoLayerReLU, rows: np.ndarray, y: Any, loss: nn.Module, decay: float) -> float:
    """The loss of torch itself on the network's outputs in float64, and the decay of all parameters."""
    f: Tensor = network(torch.from_numpy(rows)).detach()
    targets = torch.as_tensor(np.asarray(y))
    whole = isinstance(loss, nn.CrossEntropyLoss) and targets.ndim == 1
    targets = targets.long() if whole else targets.double().reshape(f.shape)
    squares = sum(float((p.detach() ** 2).sum()) for p in (network.U, network.alpha))
    return float(loss(f, targets)) + 0.5 * decay * squares
