"""Convolution, ReLU, average pooling and a linear layer of torch as a network on pooled patches, both ways."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from reluopt.errors import ConfigError
from reluopt.network import TwoLayerReLU
from reluopt.pooling import Pooling, patches
from reluopt.sequential import from_sequential

KINDS = (nn.Conv2d, nn.ReLU, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear)
_SHOWN = "Sequential(Conv2d, ReLU, AdaptiveAvgPool2d(1), Flatten, Linear)"


def from_convolution(
    model: nn.Sequential, images: Any, *, output_bias: Literal["refuse", "as_neuron"] = "refuse"
) -> tuple[TwoLayerReLU, Float[np.ndarray, "N d"], Pooling]:
    """(network, X, pooling) of ``Sequential(Conv2d, ReLU, AdaptiveAvgPool2d(1), Flatten, Linear(m, C, bias=False))``.

    The network on the patches X, averaged by the pooling, is the model on the images: Problem(X, y, ...,
    pooling=pooling). A convolution's bias is a column of ones behind the patches, which L decays like any weight; an
    output bias is outside of L, see :func:`~reluopt.sequential.from_sequential`.

    Parameters
    ----------
    images : (n, channels, height, width), or (n, height, width) for one channel.

    Raises
    ------
    ConfigError : another architecture: padding, dilation, groups, kernels that are not square, steps that differ, a
        pooling to more than one place; an output bias that is not zero. DataError : images that do not fit.
    """
    convolution, linear = _layers(model)
    rows, pooling = patches(images, convolution.kernel_size[0], convolution.stride[0])
    if rows.shape[1] != convolution.weight[0].numel():
        raise ConfigError(
            f"The convolution takes {convolution.in_channels} channels, the images have other ones.", "Use its images."
        )
    first = nn.Linear(rows.shape[1], convolution.out_channels, bias=convolution.bias is not None).to(linear.weight)
    with torch.no_grad():
        first.weight.copy_(convolution.weight.flatten(1))
        if convolution.bias is not None:
            first.bias.copy_(convolution.bias)
            rows = np.hstack([rows, np.ones((len(rows), 1))])
    network = from_sequential(nn.Sequential(first, nn.ReLU(), linear), output_bias=output_bias)
    return network, rows, pooling


def to_convolution(
    network: TwoLayerReLU, size: int, stride: int | None = None, *, channels: int = 1, bias_column: bool = False
) -> nn.Sequential:
    """``Sequential(Conv2d, ReLU, AdaptiveAvgPool2d(1), Flatten, Linear(m, C, bias=False))`` of a network on patches.

    Parameters
    ----------
    size, stride, channels : of the patches, as :func:`~reluopt.pooling.patches` made them (with averages).
    bias_column : the last column of the rows is all ones, and becomes the convolution's bias.

    Raises
    ------
    ConfigError : a network of another number of inputs.
    """
    sizes = (size, 1 if stride is None else stride, channels)
    if any(not isinstance(value, int | np.integer) or value < 1 for value in sizes):
        raise ConfigError(f"size, stride and channels are {(size, stride, channels)}.", "Give whole numbers from 1.")
    if network.d != channels * size * size + bias_column:
        raise ConfigError(
            f"The network takes {network.d} inputs; patches of size {size} with {channels} channels have "
            f"{channels * size * size + bias_column}.",
            "Give the size and the channels of its patches, and bias_column where they have a column of ones.",
        )
    first, _, linear = network.to_sequential(bias_column=bias_column)
    assert isinstance(first, nn.Linear)
    step = size if stride is None else stride
    convolution = nn.Conv2d(channels, network.width, size, step, bias=bias_column).to(first.weight)
    with torch.no_grad():
        convolution.weight.copy_(first.weight.view(network.width, channels, size, size))
        if convolution.bias is not None:
            convolution.bias.copy_(first.bias)
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def _layers(model: nn.Sequential) -> tuple[nn.Conv2d, nn.Linear]:
    """The convolution and the linear layer of a model that fits."""
    layers = list(model) if isinstance(model, nn.Sequential) else [model]
    if len(layers) != len(KINDS) or not all(map(isinstance, layers, KINDS)):
        raise ConfigError(f"The model is {[type(layer).__name__ for layer in layers]}.", f"Give {_SHOWN}.")
    convolution, _, pool, flatten, linear = layers
    assert isinstance(convolution, nn.Conv2d) and isinstance(linear, nn.Linear)
    assert isinstance(pool, nn.AdaptiveAvgPool2d)
    if (flatten.start_dim, flatten.end_dim, linear.in_features) != (1, -1, convolution.out_channels):
        raise ConfigError(
            f"The linear layer takes {linear.in_features} numbers behind {flatten}, and the convolution has "
            f"{convolution.out_channels} channels.",
            "Give Flatten(), and a linear layer of as many inputs as the convolution has channels.",
        )
    (high, wide), (down, across) = convolution.kernel_size, convolution.stride
    plain = convolution.padding in ((0, 0), "valid") and convolution.dilation == (1, 1) and convolution.groups == 1
    if not (plain and high == wide and down == across and pool.output_size in (1, (1, 1))):
        raise ConfigError(
            f"The convolution is {convolution}, the pooling {pool}.",
            "Give square kernels with one step for both directions, without padding, dilation or groups, and "
            "AdaptiveAvgPool2d(1).",
        )
    return convolution, linear
