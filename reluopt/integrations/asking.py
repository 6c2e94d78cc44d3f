"""What a torch model computes and trains: it is asked at its own weights and at others, and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from reluopt.errors import ConfigError

#: A model must agree with the two layers up to this, relatively to the sum of its neurons' sizes: float64's rounding.
SAME = 1e-9
#: Sizes that the largest Xu gets when other weights are asked: small and large ones, so that a cut (ReLU6) is seen.
SIZES = (1.0, 1e3)


def require_plain(model: nn.Module, first: nn.Linear | nn.Conv2d, second: nn.Linear) -> None:
    """Both layers must train their own weights, and nothing else may be trained; biases are trained or zero.

    Raises
    ------
    ConfigError : what is trained or decayed is not (U, α).
    """
    for place, layer in (("first", first), ("last", second)):
        names = {name for name, _ in layer.named_parameters()}
        if "weight" not in names or not names <= {"weight", "bias"}:
            raise ConfigError(
                f"The {place} layer's weight is made of {', '.join(sorted(names))}; these are decayed, not the weight.",
                "Certify a model of plain linear layers (no weight_norm, pruning or adapters).",
            )
        if not layer.weight.requires_grad or _is_frozen_bias(layer.bias):
            raise ConfigError(
                f"The {place} layer is frozen: torch neither trains nor decays it, so the objective is another one.",
                "Certify a model that trains both layers (requires_grad_(True) where it was frozen afterwards).",
            )
    if first.weight.data_ptr() == second.weight.data_ptr():
        raise ConfigError("The two layers share one weight, which is decayed once.", "Give each layer its own.")
    own = {id(p) for p in (*first.parameters(), *second.parameters())}
    more = [name for name, p in model.named_parameters() if id(p) not in own and p.requires_grad]
    if more:
        raise ConfigError(
            f"The model trains more than the two layers: {', '.join(more[:5])}.",
            "Certify a model of two linear layers; freeze what is in front of it and give its outputs as X.",
        )


def is_trained(bias: Tensor | None) -> bool:
    """Whether there is a bias that training moves."""
    return bias is not None and bias.requires_grad


def _is_frozen_bias(bias: Tensor | None) -> bool:
    return bias is not None and not bias.requires_grad and bool(bias.detach().any())


def outputs_of(
    model: nn.Module,
    first: nn.Linear | nn.Conv2d,
    second: nn.Linear,
    X: Tensor,
    rows: Tensor | None = None,
    pool: Callable[[Tensor], Tensor] = lambda hidden: hidden,
) -> list[Tensor]:
    """The model's outputs in float64 on X (n, d), at its own weights and then at others.

    A function that is the two layers at the model's own weights only (a leaky ReLU whose neurons are all active, one
    that is cut above 6) has another optimum; so weights of both signs, small and large, are asked as well.

    Parameters
    ----------
    rows, pool : of a convolution, whose X are images: their patches, and what makes activations of samples of those
        of patches.

    Raises
    ------
    ConfigError : it is not Linear, ReLU, Linear with these two layers on these samples.
    """
    found, rows = [], X if rows is None else rows
    for state in _states(first, second, rows):
        out = _answer(model, state, X)
        U, alpha = state[first], state[second]
        bias = U.get("bias", torch.zeros(1, dtype=torch.float64))
        hidden = pool(torch.relu(rows @ U["weight"].flatten(1).T + bias))
        c = alpha.get("bias", torch.zeros(1, dtype=torch.float64))
        f = hidden @ alpha["weight"].T + c
        size = float((hidden @ alpha["weight"].abs().T + c.abs()).max())
        if (
            out.numel() != f.numel()
            or len(out) != len(f)
            or not float((out.reshape(f.shape) - f).abs().max()) <= SAME * (size or 1.0)
        ):
            raise ConfigError(
                f"The model computes something else than {type(first).__name__}, ReLU, Linear with these two layers.",
                "Leave out dropout, normalisation, other activations and skips; or name the right layers.",
            )
        found.append(out)
    return found


def _states(first: nn.Linear | nn.Conv2d, second: nn.Linear, rows: Tensor) -> list[dict[nn.Module, Any]]:
    """The two layers' own parameters, and others, in float64, as {layer: {name: tensor}}."""
    own: dict[nn.Module, Any] = {
        layer: {name: p.detach().cpu().double() for name, p in layer.named_parameters()} for layer in (first, second)
    }
    if not is_trained(second.bias):
        own[second].pop("bias", None)  # it is zero, and stays
    states, generator = [own], torch.Generator().manual_seed(0)
    for size in SIZES:
        drawn = {
            layer: {name: torch.randn(p.shape, generator=generator, dtype=torch.float64) for name, p in part.items()}
            for layer, part in own.items()
        }
        largest = float((rows @ drawn[first]["weight"].flatten(1).T).abs().max()) or 1.0
        for sign in (size / largest, -size / largest):
            states.append({first: {name: sign * p for name, p in drawn[first].items()}, second: drawn[second]})
    return states


def _answer(model: nn.Module, state: dict[nn.Module, dict[str, Tensor]], X: Tensor) -> Tensor:
    """The model in training mode with these weights; its own weights, buffers and modes stay, and torch's generator."""
    place = {id(p): state[layer].get(name) for layer in state for name, p in layer.named_parameters()}
    tensors = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        given = place.get(id(tensor))
        kept = tensor.detach().cpu()
        tensors[name] = given if given is not None else kept.double() if kept.is_floating_point() else kept.clone()
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.compiler.set_stance("force_eager"):
            before = torch.get_rng_state()
            out = torch.func.functional_call(model.train(), tensors, (X,))
            drew = not torch.equal(before, torch.get_rng_state())
    except Exception as error:  # it is the user's code that runs here
        raise ConfigError(
            f"The model cannot be asked in float64 on X ({type(error).__name__}: {str(error).splitlines()[0][:120]}).",
            "Give X as it goes in, and leave casts such as x.float() out of the model.",
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    if drew:
        raise ConfigError("The model draws random numbers while it trains.", "Leave out dropout and noise.")
    if not isinstance(out, Tensor):
        raise ConfigError(
            f"The model gives a {type(out).__name__}, not one tensor of outputs.",
            "Wrap it in a module that gives the outputs which the loss reads.",
        )
    return out.double()
