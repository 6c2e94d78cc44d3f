"""Models of torch as networks: Sequential(Linear, ReLU, Linear), with what becomes of its biases."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from reluopt.converted_biases import ConvertedBiases
from reluopt.errors import ConfigError
from reluopt.network import TwoLayerReLU, from_weights


def from_sequential(
    model: nn.Sequential, *, output_bias: Literal["refuse", "as_neuron", "intercept"] = "refuse"
) -> TwoLayerReLU:
    """The network of ``nn.Sequential(Linear(d, m), ReLU(), Linear(m, C, bias=False))``.

    **A first-layer bias** becomes the last column of U: append a column of ones to X. L decays it like any weight, as
    torch does with ``weight_decay`` for all parameters. Where biases are left out of the decay the model's own
    objective is smaller than L, and no bound on L speaks of it; a certificate names both.

    **An output bias** c is outside of L without biases: Σ_j (Xu_j)_+ α_j has no constant. It costs its user (β/2)c² or
    nothing, so an optimum with it may be far below the one without. Unless it is zero it is refused; the intercept of a
    problem with :class:`~reluopt.Biases` is what it is.

    Parameters
    ----------
    output_bias : "refuse"; "intercept": the network has it as its intercept, for a problem with one; or "as_neuron":
        the outputs are kept by one more neuron on the ones column, which costs β‖c‖ in L. That network is a point of
        *another* problem than the model's, and its certificate says so.

    Raises
    ------
    ConfigError : another architecture, an output bias that is not zero, or one to be held by a
        neuron where the first layer has no bias (and the data no ones column).
    """
    if output_bias not in ("refuse", "as_neuron", "intercept"):
        raise ConfigError(f"output_bias = {output_bias!r}.", "Give 'refuse', 'intercept' or 'as_neuron'.")
    first, second = _layers(model)
    U, alpha = first.weight.detach(), second.weight.detach().T
    if first.bias is not None:
        U = torch.cat([U, first.bias.detach()[:, None]], dim=1)
    constant = torch.zeros_like(alpha[0]) if second.bias is None else second.bias.detach()
    size = abs(constant.item()) if len(constant) == 1 else float(constant.norm())
    if output_bias == "intercept":
        network = from_weights(U, alpha, constant)
        network.biases = ConvertedBiases(first=first.bias is not None)
        return network
    if size != 0.0:
        U, alpha = _with_constant(U, alpha, constant, size, output_bias, first.bias is not None)
    network = from_weights(U, alpha)
    network.biases = ConvertedBiases(
        first=first.bias is not None, output=size if len(constant) > 1 else constant.item()
    )
    return network


def _layers(model: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    """The two linear layers of a model that fits."""
    layers = list(model) if isinstance(model, nn.Sequential) else [model]
    fits = (
        len(layers) == 3
        and isinstance(layers[0], nn.Linear)
        and isinstance(layers[1], nn.ReLU)
        and isinstance(layers[2], nn.Linear)
    )
    if not fits:
        raise ConfigError(
            f"The model is {[type(layer).__name__ for layer in layers]}.", "Give Sequential(Linear, ReLU, Linear)."
        )
    first, second = layers[0], layers[2]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    return first, second


def _with_constant(
    U: Tensor, alpha: Tensor, constant: Tensor, size: float, output_bias: str, ones_column: bool
) -> tuple[Tensor, Tensor]:
    """The weights with one more neuron (0, …, 0, √‖c‖), c/√‖c‖, if that was asked for; ``size`` is ‖c‖."""
    shown = f"{constant.item():g}" if len(constant) == 1 else f"of norm {size:g}"
    if output_bias == "refuse":
        raise ConfigError(
            f"The model has an output bias ({shown}), which the objective L does not have: it costs the model "
            "(β/2)c² or nothing, and a network without it can only imitate it at β|c|, so no bound on L holds for "
            "this model's own objective.",
            "Convert with output_bias='intercept', for a problem with biases=Biases(...), or call certify_module; "
            f"or train with Linear(m, {len(constant)}, bias=False); or set the bias to zero and certify the targets "
            "y − c, which keeps c fixed; or convert with output_bias='as_neuron', and the certificate states the "
            "difference.",
        )
    if not ones_column:
        raise ConfigError(
            f"The model has an output bias ({shown}) but no bias in its first layer, so no column of ones.",
            "Set the output bias to zero and certify with the targets y − c, or give the first layer a bias.",
        )
    neuron = torch.zeros_like(U[:1])
    neuron[0, -1] = size**0.5
    return torch.cat([U, neuron]), torch.cat([alpha, (constant / size**0.5)[None]])
