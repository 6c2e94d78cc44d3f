"""Checkpoint files as they lie on disk: tensors and a JSON record, with all that any reader relies on checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reluopt.config import LARGEST_INTEGER, short
from reluopt.errors import CheckpointError

CHECKPOINT_FORMAT = 1
#: The network's parameters; the last one is there where f has an intercept.
NETWORK = ("network.U", "network.alpha", "network.intercept")


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON record of a checkpoint file, with everything that any reader of it relies on checked.

    Raises
    ------
    CheckpointError : missing, damaged, or not a checkpoint of reluopt.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint '{path}'.", "Train first, or check the run folder.")
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["reluopt"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, ValueError, OSError, RecursionError, RuntimeError, TypeError) as error:
        raise damaged(path, short(error)) from error
    if not isinstance(record, dict) or record.get("format") != CHECKPOINT_FORMAT:
        found = record.get("format") if isinstance(record, dict) else record
        raise CheckpointError(
            f"'{path}' has format {short(found)}; this reluopt reads {CHECKPOINT_FORMAT}.",
            "Use the reluopt that wrote it.",
        )
    if wrong := _wrong(tensors, record):
        raise damaged(path, wrong)
    return tensors, record


def _wrong(tensors: dict[str, Tensor], record: dict[str, Any]) -> str | None:
    """What is missing or of another kind in a checkpoint, or None."""
    kinds: dict[str, tuple[type, ...]] = {"epoch": (int,), "beta": (int, float), "config": (dict,), "data": (str,)}
    if "optimizer" in record:
        kinds |= {"optimizer": (dict,), "scheduler": (dict,), "stopped_because": (str, NoneType)}
    for name, kind in kinds.items():
        if not isinstance(record.get(name), kind) or isinstance(record.get(name), bool):
            return f"its record '{name}' is {short(record.get(name, 'missing'))}"
    if not 0 <= record["epoch"] <= LARGEST_INTEGER:
        return f"its record 'epoch' is {short(record['epoch'])}"
    if not 0 < record["beta"] <= sys.float_info.max:
        return f"its record 'beta' is {short(record['beta'])}"
    U, alpha = tensors.get("network.U"), tensors.get("network.alpha")
    if U is None or alpha is None:
        return "it holds no network"
    if (
        U.ndim != 2
        or alpha.ndim not in (1, 2)
        or alpha.shape[:1] != U.shape[:1]
        or U.dtype != alpha.dtype
        or 0 in (U.numel(), alpha.numel())
    ):
        return f"its network has shapes {tuple(U.shape)} and {tuple(alpha.shape)}"
    if U.dtype not in (torch.float32, torch.float64):
        return f"its network is of type {U.dtype}"
    c = tensors.get("network.intercept")
    if c is not None and (c.shape != alpha.shape[1:] or c.dtype != U.dtype):
        return f"its intercept has shape {tuple(c.shape)}"
    if not all(bool(torch.isfinite(part).all()) for part in weights_in(tensors)):
        return "its network has weights that are NaN or infinite"
    return None


def weights_in(tensors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """(U, α) of a checkpoint's tensors, and c behind them where the network has an intercept."""
    return tuple(tensors[name] for name in NETWORK if name in tensors)


def damaged(path: Path, why: str) -> CheckpointError:
    """The error of a file that is not as reluopt writes it."""
    return CheckpointError(f"'{path}' is damaged or not a checkpoint of reluopt ({why}).", "Train the run again.")
