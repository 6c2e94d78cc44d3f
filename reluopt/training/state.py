"""Everything a training run consists of at one moment: the problem, the network, the optimizer, the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from reluopt.errors import ConfigError, DataError
from reluopt.losses import make_loss
from reluopt.machine import require_memory
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.training.config import TrainConfig
from reluopt.training.quasi_newton import lbfgs


@dataclass(eq=False)
class TrainState:
    """What the loop moves and what callbacks see. ``epoch`` counts the epochs that the weights have behind them.

    ``X`` (n, d), or (N, d) of pooled rows, ``y`` (n,) or (n, C), and ``weights`` (n,) (None where all are 1) are the
    problem's, on the network's device and in its precision.

    ``interrupted`` is the number of the signal that asked to stop, 0 as long as none did.
    """

    network: TwoLayerReLU
    problem: Problem
    X: Tensor
    y: Tensor
    weights: Tensor | None
    config: TrainConfig
    run: RunFolder | None
    optimizer: Optimizer
    scheduler: lr_scheduler.LRScheduler
    sampler: torch.Generator
    epoch: int = 0
    resumed: bool = False
    stopped_because: str | None = None
    interrupted: int = 0
    callbacks: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def beta(self) -> float:
        """The weight decay β."""
        return self.problem.beta

    def stop(self, reason: str) -> None:
        """Ask the loop to end at the present epoch, after its record."""
        self.stopped_because = self.stopped_because or reason

    @property
    def learning_rate(self) -> float:
        """The step size of the present epoch."""
        return float(self.optimizer.param_groups[0]["lr"])


def begin(network: TwoLayerReLU, problem: Problem, config: TrainConfig, run: RunFolder | None) -> TrainState:
    """The state at epoch 0; the data are brought to the network's dtype and device.

    Raises
    ------
    DataError : data of another dimension than the network's.
    ConfigError : a batch larger than the data, a configuration that contradicts the problem or the network.
    """
    if problem.d != network.d:
        raise DataError(
            f"The network takes {network.d} inputs, X has {problem.d} columns.",
            "Give a network for these data; a bias is a column of ones in X.",
        )
    if problem.outputs != network.outputs:
        raise DataError(
            f"The network has {network.outputs} outputs, the targets have {problem.outputs}.",
            f"Give a network for these targets: config.make_network(d, outputs={problem.outputs}).",
        )
    X, y = (torch.from_numpy(array).to(network.U) for array in (problem.X, problem.targets))
    if not bool(torch.isfinite(X).all() and torch.isfinite(y).all()):
        raise DataError(
            f"The data hold numbers that are infinite in {str(network.U.dtype).removeprefix('torch.')}.",
            "Train in float64, or standardise the data.",
        )
    weights = torch.from_numpy(problem.weights).to(network.U) if problem.is_weighted else None
    if config.batch_size is not None:
        problem.require_unpooled("Training in mini-batches")
    if config.batch_size is not None and config.batch_size > len(X):
        raise ConfigError(
            f"'batch_size' is {config.batch_size}, but there are {len(X)} samples.", "Leave it out for full batches."
        )
    # preactivations, outputs of the ReLU, and their gradients
    require_memory(4 * (config.batch_size or len(X)) * network.width * network.U.element_size(), "A training step")
    if problem.biases.intercept != (network.intercept is not None):
        raise ConfigError(
            f"The problem has {'an' if problem.biases.intercept else 'no'} intercept, and the network has "
            f"{'none' if problem.biases.intercept else 'one'}.",
            "Give a network for this problem: TwoLayerReLU(..., intercept=True) has one.",
        )
    config = _as_it_is(network, problem, config)
    optimizer = make_optimizer(network, problem, config)
    # a stream of its own: the seed itself drew the weights
    sampler = torch.Generator().manual_seed(config.seed + 2**62)
    schedule = make_schedule(optimizer, config)
    return TrainState(network, problem, X, y, weights, config, run, optimizer, schedule, sampler)


def _as_it_is(network: TwoLayerReLU, problem: Problem, config: TrainConfig) -> TrainConfig:
    """The configuration with the problem's loss and the network's own width, dtype and device.

    Checkpoints and TensorBoard tell these.

    A setting that was left at its default follows; one that was given must agree.
    """
    own = {
        "width": network.width,
        "dtype": str(network.U.dtype).removeprefix("torch."),
        "device": str(network.U.device),
        "beta": problem.beta if config.beta is not None else None,
        "loss": problem.loss.spec,
        "output_bias": problem.biases.output if problem.biases.intercept else None,
        "first_bias": problem.biases.first if problem.biases.first_free else None,
    }
    changes = {name: value for name, value in own.items() if getattr(config, name) != value}
    if make_loss(config.loss) == problem.loss:
        changes.pop("loss", None)  # another spelling of the same
    if torch.device(config.device) == network.U.device or config.device == network.U.device.type:
        changes.pop("device", None)
    for name, value in changes.items():
        if getattr(config, name) != TrainConfig.__dataclass_fields__[name].default:
            raise ConfigError(
                f"The configuration says {name} = {getattr(config, name)}; the trainer was given {value}.",
                f"Leave '{name}' out of the configuration, or make both agree.",
            )
    if config.class_weight is not None and not np.array_equal(problem.weights, problem.class_balanced().weights):
        raise ConfigError(
            f"The configuration says class_weight = {config.class_weight}; the problem has other sample weights.",
            "Leave 'class_weight' out of the configuration, or give problem.class_balanced().",
        )
    return config.replace(**changes) if changes else config


def make_optimizer(network: TwoLayerReLU, problem: Problem, config: TrainConfig) -> Optimizer:
    """SGD, Adam or L-BFGS with coupled weight decay β on both layers: the gradient it sees is ∇L.

    Where some columns of U are free of decay the loop adds that of the others itself (``add_decay_of_columns``).

    Raises
    ------
    ConfigError : "solve", which moves no network of a given width.
    """
    if config.optimizer == "solve":
        raise ConfigError(
            "optimizer = solve finds the number of neurons itself; the trainer moves a network of a given width.",
            "Call reluopt.refine(problem), or reluopt train --optimizer solve.",
        )
    if config.optimizer == "lbfgs":
        return lbfgs(network)
    decays = {"U": 0.0 if problem.biases.first_free else problem.beta, "alpha": problem.beta}
    decays["intercept"] = problem.beta if problem.biases.output == "decayed" else 0.0
    named = list(network.named_parameters())
    groups = [
        {"params": [part for name, part in named if decays[name] == decay], "weight_decay": decay}
        for decay in sorted({decays[name] for name, _ in named}, reverse=True)
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    # fused: half the overhead a step, which is most of a step on small data
    return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)


@torch.no_grad()
def add_decay_of_columns(state: TrainState) -> None:
    """Add βU to the gradient of the decayed columns, where free first-layer biases share U with them."""
    grad = state.network.U.grad
    if state.problem.biases.first_free and grad is not None:
        grad[:, :-1].add_(state.network.U[:, :-1], alpha=state.beta)


def make_schedule(optimizer: Optimizer, config: TrainConfig) -> lr_scheduler.LRScheduler:
    """Torch's schedule from ``learning_rate`` to ``final_learning_rate`` over the epochs, one step an epoch."""
    epochs, ratio = max(1, config.epochs), config.final_learning_rate / config.learning_rate
    match "constant" if config.optimizer == "lbfgs" else config.schedule:
        case "exponential":
            return lr_scheduler.ExponentialLR(optimizer, gamma=ratio ** (1 / epochs))
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=config.final_learning_rate)
        case "linear":
            return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=ratio, total_iters=epochs)
        case "step":
            size = config.step_size or max(1, epochs // 10)
            drops = max(1, (epochs - 1) // size)
            return lr_scheduler.StepLR(optimizer, step_size=size, gamma=ratio ** (1 / drops))
        case _:
            return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
