"""A run folder: everything one training run leaves on disk, and how it is written so that a crash cannot tear it.

::

    RUN/config.toml                   tables [data], [train], [certify]
    RUN/preparation.json              how raw samples become those of the training problem
    RUN/metrics.jsonl                 one JSON object a record, keys as the TensorBoard tags
    RUN/checkpoints/initial.safetensors, latest.safetensors
    RUN/events.out.tfevents.*         TensorBoard
    RUN/certificate.json, certificate.safetensors (its proof), ladder.png
    RUN/solve.jsonl, gap.png          how `reluopt solve` came to its network
    RUN/.lock, .holder.json           held by the process that writes, and who that is

One process at a time writes (:meth:`RunFolder.locked`); reading needs no lock and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import tomli_w

from reluopt import metrics_file
from reluopt.checkpoint_file import read_checkpoint, weights_in
from reluopt.config import read_toml_file, short
from reluopt.data.preparation import Preparation
from reluopt.errors import CheckpointError, ConfigError
from reluopt.folder_lock import FolderLock
from reluopt.losses import make_loss
from reluopt.model import Model
from reluopt.network import from_weights
from reluopt.writing import STAGE, remove_empty, require_space, write_atomically


class RunFolder:
    """The layout of a run folder. Making the object touches no disk; see :meth:`create` and :meth:`open`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.toml"
        self.preparation_file = self.path / "preparation.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.initial_checkpoint = self.checkpoints / "initial.safetensors"
        self.latest_checkpoint = self.checkpoints / "latest.safetensors"
        self.certificate_file = self.path / "certificate.json"
        self.proof_file = self.path / "certificate.safetensors"
        self.ladder_file = self.path / "ladder.png"
        self.trace_file = self.path / "solve.jsonl"
        self.gap_file = self.path / "gap.png"
        self.lock = FolderLock(self.path, self.config_file.exists)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(
        cls, path: Path | str, config: Mapping[str, Mapping[str, Any]] | None = None, *, overwrite: bool = False
    ) -> RunFolder:
        """Make a new run folder with its ``config.toml``. With ``overwrite`` an earlier run in it is removed first.

        Raises
        ------
        CheckpointError : the folder holds a run (without ``overwrite``), or files that are not a run's.
        """
        run = cls(path)
        run.require_free(overwrite=overwrite)
        with run.locked():
            run.make(config, overwrite=overwrite)
        return run

    def make(
        self,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        overwrite: bool = False,
        preparation: Preparation | None = None,
    ) -> None:
        """Make this folder a run, see :meth:`create`; only within :meth:`locked`.

        ``preparation`` : how the data were prepared, for :meth:`load_model`.
        """
        self.require_free(overwrite=overwrite)
        tables = {k: dict(v) for k, v in (config or {}).items()}
        content = ""
        if preparation is not None:
            content = json.dumps(preparation.to_mapping(), ensure_ascii=False, allow_nan=False)
            tables.setdefault("run", {})["preparation"] = _digest(json.loads(content))
        text = tomli_w.dumps(tables)
        if self.config_file.exists():
            self.clear()
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if content:
                write_atomically(self.preparation_file, content + "\n")
            write_atomically(self.config_file, text)
        except BaseException:
            self.preparation_file.unlink(missing_ok=True)
            remove_empty([self.checkpoints])
            raise

    def require_free(self, *, overwrite: bool = False, need: int = 0) -> None:
        """Refuse a folder in which no new run can be made, before anything is written.

        Parameters
        ----------
        overwrite : an earlier run in it may go.
        need : bytes that the run will take.

        Raises
        ------
        CheckpointError : it holds a run (without ``overwrite``) or other files, or has too little space.
        """
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"'{self.path}' is a file.", "Name a folder for the run.")
        if self.config_file.exists():
            if not overwrite:
                raise CheckpointError(
                    f"The folder '{self.path}' already holds a run.",
                    "Name another folder (--out), or overwrite it (--replace); train and solve go on with --resume.",
                )
        elif self.path.is_dir() and any(file not in self._leftovers() for file in self.path.iterdir()):
            raise CheckpointError(
                f"The folder '{self.path}' is not empty and not a run.", "Name a new or empty folder for the run."
            )
        require_space(self.path, need)

    def locked(self, doing: str = "") -> AbstractContextManager[None]:
        """Within it no other process writes into the folder, see :meth:`~reluopt.folder_lock.FolderLock.held`."""
        return self.lock.held(doing)

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """An existing run folder.

        Raises
        ------
        CheckpointError : no such folder, or a folder without ``config.toml``.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise CheckpointError(
                f"There is no run folder '{run.path}'.", "Check the path, or train a run there first."
            )
        if not run.config_file.is_file():
            raise CheckpointError(
                f"The folder '{run.path}' is not a run: it has no config.toml.",
                "Give the folder that training wrote (the one with config.toml and checkpoints).",
            )
        return run

    def _leftovers(self) -> set[Path]:
        """What a process may leave that was killed before there was a run."""
        made = {
            self.lock.lock_file,
            self.lock.holder_file,
            self.preparation_file,
            self.path / STAGE,
            *self.path.glob(".*.tmp"),
        }
        held = self.checkpoints.is_dir() and any(self.checkpoints.glob("[!.]*"))
        return made if held else made | {self.checkpoints}

    def clear(self, but: set[Path] | None = None) -> None:
        """Remove an earlier run's files ``but`` some; config.toml goes last: a half-cleared folder is still a run."""
        files = [self.preparation_file, self.metrics_file, self.certificate_file, self.proof_file, self.ladder_file]
        files += [self.trace_file, self.gap_file, *self.checkpoints.glob("*.safetensors")]
        files += self.path.glob("events.out.tfevents.*")
        for file in [*files, self.config_file]:
            if file not in (but or ()):
                file.unlink(missing_ok=True)

    def config(self) -> dict[str, dict[str, Any]]:
        """The tables of ``config.toml``.

        Raises
        ------
        CheckpointError : it cannot be read, is not TOML, or holds something else than tables.
        """
        try:
            tables = read_toml_file(self.config_file)
        except ConfigError as error:
            raise CheckpointError(error.problem, "Mend the line it names, or train a new run.") from error
        for name, value in tables.items():
            if not isinstance(value, dict):
                raise CheckpointError(f"'{self.config_file}' has '{name}' outside of a table.", "Delete that line.")
        return tables

    @property
    def steps_of_solve(self) -> int:
        """Lines of the trace that `reluopt solve` left: the steps of its TensorBoard entries."""
        return self.trace_file.read_bytes().count(b"\n") if self.trace_file.is_file() else 0

    def load_model(self) -> Model:
        """The trained network with its preparation: it takes raw samples, without the data of the training.

        Raises
        ------
        CheckpointError : no network yet, no stored preparation, or files that are not as reluopt wrote them.
        """
        tensors, _ = read_checkpoint(self.latest_checkpoint)
        network = from_weights(*(part.double() for part in weights_in(tensors)))
        loss = self.config().get("train", {}).get("loss", "squared")
        preparation = self.preparation()
        if preparation.width != network.d:
            raise CheckpointError(
                f"'{self.preparation_file}' makes {preparation.width} features, and the network takes "
                f"{network.d}.", "Put back what training wrote there, or train a new run.",
            )  # fmt: skip
        return Model(network, preparation, make_loss(loss))

    def preparation(self) -> Preparation:
        """How the run's data were prepared.

        Raises
        ------
        CheckpointError : an earlier release's run, which has none, or a file that is not as reluopt wrote it.
        """
        known = self.config().get("run", {}).get("preparation") if self.config_file.is_file() else None
        remedy = "Put back what training wrote there, or train a new run."
        if not self.preparation_file.is_file():
            if known is not None:
                raise CheckpointError(f"'{self.preparation_file}' is missing.", remedy)
            raise CheckpointError(
                f"'{self.path}' has no preparation.json: it is of an earlier release.", "Train the run again."
            )
        try:
            mapping = json.loads(self.preparation_file.read_text(encoding="utf-8"))
            found = Preparation.from_mapping(mapping)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                f"'{self.preparation_file}' is not as reluopt writes it ({type(error).__name__}: {short(error)}).",
                remedy,
            ) from error
        if known not in (None, _digest(mapping)):
            raise CheckpointError(
                f"'{self.preparation_file}' is not what training wrote (another sha256 than in config.toml).", remedy
            )
        return found

    def require_preparation(self) -> None:
        """Refuse a folder whose preparation cannot be used; runs of earlier releases have none.

        Raises
        ------
        CheckpointError : see :meth:`preparation`.
        """
        if self.preparation_file.exists() or "preparation" in self.config().get("run", {}):
            self.preparation()

    # -- metrics -------------------------------------------------------------------------------------------------

    def append_metrics(self, record: Mapping[str, float]) -> None:
        """Add one record, see :func:`reluopt.metrics_file.append`."""
        metrics_file.append(self.metrics_file, record)

    def metrics(self) -> list[dict[str, Any]]:
        """All records, see :func:`reluopt.metrics_file.records`."""
        return metrics_file.records(self.metrics_file)

    def keep_metrics_before(self, epoch: int) -> int:
        """Drop the records at or past ``epoch``, and a torn last line; how many are left."""
        return metrics_file.keep_before(self.metrics_file, epoch)

    def remove_leftovers(self) -> None:
        """Remove temporary files of writes that were killed. Only the process that trains in the folder may call it."""
        for folder in (self.path, self.checkpoints):
            for file in folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)


def _digest(mapping: Any) -> str:
    """The sha256 of a JSON value, however it is laid out in its file."""
    return hashlib.sha256(json.dumps(mapping, sort_keys=True).encode()).hexdigest()
