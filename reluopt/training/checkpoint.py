"""Exact resume: one safetensors file holds the weights, the optimizer, the clock and the randomness of a run.

Tensors are stored as they are; numbers (schedule, step sizes, settings) as JSON in the file's metadata, where Python
floats survive exactly. One file, written atomically: weights and clock cannot disagree. Nothing is pickled.

A checkpoint is taken at the start of an epoch, before its record is made and before its mini-batches are drawn; the
position of the sampler is therefore the state of its generator.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reluopt.errors import CheckpointError, TrainingError
from reluopt.network import TwoLayerReLU
from reluopt.runs import RunFolder, write_atomically
from reluopt.training.state import TrainState

FORMAT = 1

#: Settings that may differ on resume: they change neither the weights nor the metrics.
FREE_SETTINGS = {"checkpoint_every"}


def fingerprint(X: Tensor, y: Tensor) -> str:
    """sha256 of the data as the trainer sees them: dtype, shape and bytes of X and y."""
    digest = hashlib.sha256()
    for array in (X.cpu().numpy(), y.cpu().numpy()):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save_checkpoint(path: Path, state: TrainState, data: str) -> None:
    """Write the state, atomically. ``data`` is the :func:`fingerprint`.

    Raises
    ------
    TrainingError : non-finite weights, which must not replace a good checkpoint.
    """
    tensors = {f"network.{k}": v for k, v in state.network.state_dict().items()}
    if not all(bool(torch.isfinite(v).all()) for v in tensors.values()):
        raise diverged(state.epoch)
    tensors["sampler"] = state.sampler.get_state()
    optimizer = state.optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for index, slots in optimizer["state"].items():
        numbers[str(index)] = {k: v for k, v in slots.items() if not isinstance(v, Tensor)}
        tensors |= {f"optimizer.{index}.{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
    for callback in state.callbacks:
        for key, array in callback.state().items():
            tensors[f"callback.{type(callback).__name__}.{key}"] = torch.from_numpy(array)
    record = {
        "format": FORMAT,
        "epoch": state.epoch,
        "stopped_because": state.stopped_because,
        "beta": state.beta,
        "config": state.config.to_mapping(),
        "data": data,
        "optimizer": {"state": numbers, "param_groups": optimizer["param_groups"]},
        "scheduler": state.scheduler.state_dict(),
    }
    # copies, because safetensors refuses tensors that share memory (a recorder at its first moment)
    contiguous = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    write_atomically(path, save(contiguous, metadata={"reluopt": json.dumps(record, allow_nan=False)}))


def load_checkpoint(path: Path, state: TrainState, data: str) -> None:
    """Bring ``state`` (made from the same settings and data) to where the checkpoint was taken.

    Raises
    ------
    CheckpointError : a damaged file, other settings, another β, other data, another network.
    """
    tensors, record = read_checkpoint(path)
    _require_same(path, state, data, record, tensors)
    state.network.load_state_dict(_under("network.", tensors))
    state.sampler.set_state(tensors["sampler"])
    slots: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in record["optimizer"]["state"].items()}
    for key, tensor in _under("optimizer.", tensors).items():
        index, name = key.split(".")
        slots[int(index)][name] = tensor
    groups = [{k: tuple(v) if k == "betas" else v for k, v in g.items()} for g in record["optimizer"]["param_groups"]]
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    state.scheduler.load_state_dict(record["scheduler"])
    for callback in state.callbacks:
        prefix = f"callback.{type(callback).__name__}."
        callback.load_state({k: v.numpy() for k, v in _under(prefix, tensors).items()})
    state.epoch, state.stopped_because = record["epoch"], record["stopped_because"]
    state.resumed = True


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON record of a checkpoint file.

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
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is damaged or not a checkpoint of reluopt ({error}).", "Train the run again."
        ) from error
    if record.get("format") != FORMAT:
        raise CheckpointError(
            f"'{path}' has format {record.get('format')}; this reluopt reads {FORMAT}.",
            "Use the reluopt that wrote it.",
        )
    return tensors, record


def load_weights(run: RunFolder, which: str = "latest") -> tuple[Float[np.ndarray, "m d"], Float[np.ndarray, " m"]]:
    """(U, α) of a run, ``latest`` or ``initial``, as float64 (exact also for float32 runs).

    Raises
    ------
    CheckpointError : no such checkpoint, or a damaged one.
    """
    path = {"latest": run.latest_checkpoint, "initial": run.initial_checkpoint}[which]
    tensors, _ = read_checkpoint(path)
    return tensors["network.U"].double().numpy(), tensors["network.alpha"].double().numpy()


def save_weights(run: RunFolder, which: str, network: TwoLayerReLU, beta: float, made_by: str) -> None:
    """Write weights that no training made, so that ``load_weights`` reads them; training cannot resume from them.

    ``which`` is ``latest`` or ``initial``, ``made_by`` the command (it is what a refused resume names).
    """
    path = {"latest": run.latest_checkpoint, "initial": run.initial_checkpoint}[which]
    tensors = {f"network.{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    record = {"format": FORMAT, "epoch": 0, "beta": beta, "config": {"made by": made_by}, "data": ""}
    write_atomically(path, save(tensors, metadata={"reluopt": json.dumps(record, allow_nan=False)}))


def diverged(epoch: int) -> TrainingError:
    """The error of a loss that is no longer finite."""
    return TrainingError(
        f"The loss or the weights became infinite or NaN at epoch {epoch}.",
        "Lower learning_rate (for sgd, tenfold; the gradient is not divided by n), or use optimizer adam. "
        "The last good checkpoint is kept.",
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _require_same(path: Path, state: TrainState, data: str, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """CheckpointError unless the checkpoint belongs to this problem, these settings and this network."""
    differences = []
    now, then = state.config.to_mapping(), record["config"]
    for key in sorted((now.keys() | then.keys()) - FREE_SETTINGS):
        if now.get(key) != then.get(key):
            differences.append(f"{key} (was {then.get(key)}, now {now.get(key)})")
    if record["beta"] != state.beta:
        differences.append(f"β (was {record['beta']!r}, now {state.beta!r})")
    if record["data"] != data:
        differences.append("the data (another sha256 of X and y)")
    shape, saved = tuple(state.network.U.shape), tuple(tensors["network.U"].shape)
    if shape != saved or state.network.U.dtype != tensors["network.U"].dtype:
        differences.append(f"the network (was {saved} in {tensors['network.U'].dtype}, now {shape})")
    if differences:
        raise CheckpointError(
            f"The checkpoint '{path}' belongs to another run; these differ: {'; '.join(differences)}.",
            "Resume with the settings and the data it was started with, or start a new run folder.",
        )
