"""L-BFGS in the trainer: torch's, with a strong Wolfe line search on L, one iteration an epoch.

Liu & Nocedal, Mathematical Programming 45 (1989). L has kinks, at which no line search may find a descent: then the
memory is forgotten, and where steepest descent goes no further either, training ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.training.config import LBFGS_MEMORY
from reluopt.training.decay import add_decay, paid

#: Evaluations of a line search at most.
SEARCH = 25
#: What torch keeps within an iteration only.
_PASSING = {"al"}


def lbfgs(network: TwoLayerReLU) -> torch.optim.LBFGS:
    """The optimizer; its closure must leave the whole gradient of L, with weight decay, in ``.grad``."""
    return torch.optim.LBFGS(
        network.parameters(), lr=1.0, max_iter=1, max_eval=1 + SEARCH, history_size=LBFGS_MEMORY, tolerance_grad=0.0,
        tolerance_change=0.0, line_search_fn="strong_wolfe",
    )  # fmt: skip


def at_end(optimizer: torch.optim.Optimizer, network: TwoLayerReLU, problem: Problem, loss: Tensor) -> bool:
    """Whether the last iteration was one of steepest descent and did not lower L; ``loss`` is Σκℓ as it is now."""
    return (
        isinstance(optimizer, torch.optim.LBFGS)
        and not _memory(optimizer).get("old_dirs")
        and _stuck(optimizer, network, problem, loss)
    )


def iterate(
    optimizer: torch.optim.LBFGS, network: TwoLayerReLU, problem: Problem, loss: Tensor, full_pass: Callable[[], Tensor]
) -> None:
    """One iteration; of steepest descent where the last one did not lower L.

    Parameters
    ----------
    loss : Σκℓ at the present weights, whose gradient is in ``.grad``.
    full_pass : the same, anew, at other weights.
    """
    if _stuck(optimizer, network, problem, loss):
        optimizer.state.clear()
    passed = [loss]

    def closure() -> Tensor:
        value = passed.pop() if passed else full_pass()
        with torch.no_grad():
            add_decay(network, problem)
            return value + paid(network, problem)

    optimizer.step(closure)


def _memory(optimizer: torch.optim.LBFGS) -> dict[str, Any]:
    return optimizer.state.get(optimizer.param_groups[0]["params"][0], {})


def _stuck(optimizer: torch.optim.LBFGS, network: TwoLayerReLU, problem: Problem, loss: Tensor) -> bool:
    """Whether the last iteration, if there was one, lowered L by no more than rounding."""
    before = _memory(optimizer).get("prev_loss")
    if before is None:
        return False
    now = float(loss) + float(paid(network, problem))
    return not before - now > 2 * torch.finfo(network.U.dtype).eps * abs(now)


def flattened(slots: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An optimizer's slots as numbers for JSON and tensors; of a list of tensors each has its place: NAME.0, NAME.1.

    The list itself stands, empty, among the numbers.
    """
    numbers: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for name, value in slots.items():
        if name in _PASSING:
            continue
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, list):
            numbers[name] = []
            tensors |= {f"{name}.{place}": part for place, part in enumerate(value)}
        else:
            numbers[name] = value
    return numbers, tensors


def put_back(slots: dict[str, Any], name: str, tensor: Tensor) -> None:
    """Undo :func:`flattened` for one tensor; those of one list come in any order."""
    name, _, place = name.partition(".")
    if not place:
        slots[name] = tensor
        return
    held = slots[name]
    held.extend([None] * (int(place) + 1 - len(held)))
    held[int(place)] = tensor
