"""What work asks of the machine: memory, and a device. torch is loaded only where a device is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reluopt.errors import ConfigError

if TYPE_CHECKING:
    import torch


def usable_device(name: str, dtype: str = "float64") -> torch.device:
    """The torch device of that name, if it can compute in that precision.

    Raises
    ------
    ConfigError : torch does not know it, this machine does not have it, or it has no such numbers; the message says how
        to get one.
    """
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"The device '{name}' cannot be used here.", _device_remedy(name)) from error
    try:
        torch.ones(1, dtype=getattr(torch, dtype), device=device).sum().item()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"The device '{name}' does not compute in {dtype}.", "Choose cpu, or cuda.") from error
    return device


def require_memory(need: int, what: str) -> None:
    """ConfigError if ``need`` bytes are more than the machine has at all (asking for them may end the process)."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > memory:
        raise ConfigError(
            f"{what} needs {need / 1e9:.3g} GB; this machine has {memory / 1e9:.3g} GB of memory.",
            "Choose a smaller width, fewer samples (--subset), or dtype float32.",
        )


def _device_remedy(device: str) -> str:
    """How to get a device that torch refused."""
    import torch

    if not device.startswith("cuda"):
        return "Choose cpu, or cuda."
    if torch.version.cuda is None:
        return (
            "This torch is a build without CUDA. Choose --device cpu, or install the CUDA build: the selector under "
            "'Get Started' on pytorch.org gives the line for your driver."
        )
    count = torch.cuda.device_count()
    if count:
        return f"This machine has: {', '.join(['cpu', *(f'cuda:{i}' for i in range(count))])}."
    return (
        "This torch can use CUDA, but finds no GPU. Run nvidia-smi: if it lists none, the driver or the GPU is missing "
        "(in a container: start it with --gpus all). Or choose --device cpu."
    )
