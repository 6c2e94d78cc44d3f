"""Exact resume: one safetensors file holds the weights, the optimizer, the clock and the randomness of a run.

Tensors are stored as they are; numbers (schedule, step sizes, settings) as JSON in the file's metadata, where Python
floats survive exactly. One file, written atomically: weights and clock cannot disagree. Nothing is pickled.

A checkpoint is taken at the start of an epoch, before its record is made and before its mini-batches are drawn; the
position of the sampler is therefore the state of its generator.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from reluopt.checkpoint_file import CHECKPOINT_FORMAT, damaged, read_checkpoint, weights_in
from reluopt.config import short
from reluopt.errors import CheckpointError, TrainingError
from reluopt.network import TwoLayerReLU
from reluopt.pooling import Pooling
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.training.quasi_newton import flattened, put_back
from reluopt.training.state import TrainState
from reluopt.writing import write_atomically

#: Settings that may differ on resume: they change neither the weights nor the metrics.
FREE_SETTINGS = {"checkpoint_every"}


def fingerprint(X: Tensor, y: Tensor, weights: Tensor | None = None, pooling: Pooling | None = None) -> str:
    """sha256 of the data as the trainer sees them: dtype, shape and bytes of X, y, weights and pooling, where given."""
    digest = hashlib.sha256()
    arrays = [part.cpu().numpy() for part in (X, y, weights) if part is not None]
    for array in (*arrays, *(() if pooling is None else pooling.arrays)):
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
        numbers[str(index)], parts = flattened(slots)
        tensors |= {f"optimizer.{index}.{name}": part for name, part in parts.items()}
    for prefix, callback in _named(state.callbacks):
        for key, array in callback.state().items():
            tensors[f"{prefix}{key}"] = torch.from_numpy(np.asarray(array))
    record = {
        "format": CHECKPOINT_FORMAT,
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
    if "optimizer" not in record:
        raise CheckpointError(
            f"'{path}' holds weights that no training made ({short(record['config'].get('made by', 'unknown'))}).",
            "Certify it, or train a new run.",
        )
    _require_same(path, state, data, record, tensors)
    try:
        _restore(state, tensors, record)
    except Exception as error:  # torch's classes raise what they like on records of another kind
        raise damaged(path, f"{type(error).__name__}: {short(error)}") from error
    state.resumed = True


def _restore(state: TrainState, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Bring the state's parts to the checkpoint's."""
    state.network.load_state_dict(_under("network.", tensors))
    state.sampler.set_state(tensors["sampler"])
    slots: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in record["optimizer"]["state"].items()}
    for key, tensor in _under("optimizer.", tensors).items():
        index, _, name = key.partition(".")
        put_back(slots[int(index)], name, tensor)
    groups = [{k: tuple(v) if k == "betas" else v for k, v in g.items()} for g in record["optimizer"]["param_groups"]]
    for then, now in zip(groups, state.optimizer.param_groups, strict=True):
        _require_alike(then, now | {"params": list(range(len(now["params"])))}, "optimizer")
        if len(then["params"]) != len(now["params"]):
            raise ValueError("the optimizer's parameters are others")
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    _require_alike(record["scheduler"], state.scheduler.state_dict(), "scheduler")
    state.scheduler.load_state_dict(record["scheduler"])
    for prefix, callback in _named(state.callbacks):
        callback.load_state({k: v.numpy() for k, v in _under(prefix, tensors).items()})
    state.epoch, state.stopped_because = record["epoch"], record["stopped_because"]


def _require_alike(then: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    """ValueError unless both records have the same names, and values of the same types under them."""
    if then.keys() != now.keys() or any(type(then[name]) is not type(now[name]) for name in now):
        raise ValueError(f"its record '{what}' is not of this release's kind")


def _named(callbacks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Each callback with the prefix of its arrays: its class, numbered from the second of one class on."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        name = type(callback).__name__
        seen[name] += 1
        yield f"callback.{name}{f'#{seen[name]}' if seen[name] > 1 else ''}.", callback


def require_as_trained(run: RunFolder, problem: Problem, config: Mapping[str, Any]) -> None:
    """Refuse a run folder whose settings are no longer those its network was trained with.

    Parameters
    ----------
    problem : the training problem as the folder's config.toml gives it now.
    config : its table [train]; empty for weights that no training made.

    Raises
    ------
    CheckpointError : names what differs, as it was and as it is.
    """
    tensors, record = read_checkpoint(run.latest_checkpoint)
    differences = []
    if record["beta"] != problem.beta:
        differences.append(f"β (was {short(record['beta'])}, now {short(problem.beta)})")
    then = record["config"]
    for key in sorted(config.keys() & then.keys() - FREE_SETTINGS):
        if config[key] != then[key]:
            differences.append(f"{key} (was {short(then[key])}, now {short(config[key])})")
    dtype = tensors["network.U"].dtype
    # without a fingerprint: an earlier release's record of weights that no training made
    if record["data"] and record["data"] != _data_of(problem, dtype):
        differences.append("the data (another sha256 of X, y and weights)")
    if differences:
        raise CheckpointError(
            f"'{run.config_file}' is not as the network was trained; these differ: {'; '.join(differences)}.",
            "Put the settings back, or train a new run with the other ones.",
        )


def _data_of(problem: Problem, dtype: torch.dtype) -> str:
    """The fingerprint of a problem's data in the precision of a network."""
    X, y, weights = (torch.as_tensor(part).to(dtype) for part in (problem.X, problem.targets, problem.weights))
    return fingerprint(X, y, weights if problem.is_weighted else None, problem.pooling)


def load_weights(run: RunFolder, which: str = "latest") -> tuple[Any, ...]:
    """(U, α), and c where there is an intercept, of a run's ``latest`` or ``initial`` network, as float64.

    Float32 runs come as they are, exactly.

    Raises
    ------
    CheckpointError : no such checkpoint, or a damaged one.
    """
    path = {"latest": run.latest_checkpoint, "initial": run.initial_checkpoint}[which]
    tensors, _ = read_checkpoint(path)
    return tuple(part.double().numpy() for part in weights_in(tensors))


def save_weights(run: RunFolder, which: str, network: TwoLayerReLU, problem: Problem, made_by: str) -> None:
    """Write weights that no training made, so that ``load_weights`` reads them; training cannot resume from them.

    ``which`` is ``latest`` or ``initial``, ``made_by`` the command (it is what a refused resume names).
    """
    path = {"latest": run.latest_checkpoint, "initial": run.initial_checkpoint}[which]
    tensors = {f"network.{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    data = _data_of(problem, network.U.dtype)
    record = {
        "format": CHECKPOINT_FORMAT,
        "epoch": 0,
        "beta": problem.beta,
        "config": {"made by": made_by},
        "data": data,
    }
    write_atomically(path, save(tensors, metadata={"reluopt": json.dumps(record, allow_nan=False)}))


def diverged(epoch: int) -> TrainingError:
    """The error of a loss that is no longer finite."""
    return TrainingError(
        f"The loss or the weights became infinite or NaN at epoch {epoch}.",
        "Lower learning_rate (for sgd, tenfold; the gradient is not divided by n), or use optimizer adam. "
        "Where there is a run folder, its last good checkpoint is kept.",
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _require_same(path: Path, state: TrainState, data: str, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """CheckpointError unless the checkpoint belongs to this problem, these settings and this network."""
    differences = []
    now, then = state.config.to_mapping(), record["config"]
    for key in sorted((now.keys() | then.keys()) - FREE_SETTINGS):
        if now.get(key) != then.get(key):
            differences.append(f"{key} (was {short(then.get(key))}, now {short(now.get(key))})")
    if record["beta"] != state.beta:
        differences.append(f"β (was {short(record['beta'])}, now {state.beta!r})")
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
