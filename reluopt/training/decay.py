"""Weight decay as a problem has it: which parameters of a network pay, what they pay, and the slopes of L."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem


@torch.no_grad()
def paid(network: TwoLayerReLU, problem: Problem) -> Tensor:
    """(β/2)·(squared weights), without biases that are free of it."""
    return problem.weight_decay(network.U, network.alpha, 0.0 if network.intercept is None else network.intercept)


@torch.no_grad()
def add_decay(network: TwoLayerReLU, problem: Problem) -> None:
    """Add β times what is decayed to the gradients, which are then those of L."""
    for weights, slope in _decayed(network, problem):
        slope.add_(weights, alpha=problem.beta)


@torch.no_grad()
def residual(network: TwoLayerReLU, problem: Problem) -> float:
    """‖∇L‖ from the gradients of the loss, which stay as they are."""
    kept = [(weights, weights.grad) for weights in network.parameters() if weights.grad is not None]
    for weights, slope in kept:
        weights.grad = slope.clone()
    add_decay(network, problem)
    norms = [float(weights.grad.norm()) for weights, _ in kept if weights.grad is not None]
    for weights, slope in kept:
        weights.grad = slope
    return math.hypot(*norms)


def _decayed(network: TwoLayerReLU, problem: Problem) -> Iterator[tuple[Tensor, Tensor]]:
    """What is decayed, with the place of its gradient."""
    for name, weights in network.named_parameters():
        if weights.grad is None or (name == "intercept" and problem.biases.output != "decayed"):
            continue
        if name == "U":
            yield problem.decayed(weights), problem.decayed(weights.grad)
        else:
            yield weights, weights.grad
