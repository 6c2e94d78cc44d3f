"""A run folder: everything one training run leaves on disk, and how it is written so that a crash cannot tear it.

::

    RUN/config.toml                   tables [data], [train], [certify]
    RUN/metrics.jsonl                 one JSON object a record, keys as the TensorBoard tags
    RUN/checkpoints/initial.safetensors, latest.safetensors
    RUN/events.out.tfevents.*         TensorBoard
    RUN/certificate.json, certificate.safetensors (its proof), ladder.png
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from reluopt.errors import CheckpointError


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Write a file so that it holds either its old or its new content, whatever happens in between.

    A temporary file in the same folder is written and synced, then renamed over ``path``, and the folder is synced.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class RunFolder:
    """The layout of a run folder. Making the object touches no disk; see :meth:`create` and :meth:`open`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.toml"
        self.metrics_file = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.initial_checkpoint = self.checkpoints / "initial.safetensors"
        self.latest_checkpoint = self.checkpoints / "latest.safetensors"
        self.certificate_file = self.path / "certificate.json"
        self.proof_file = self.path / "certificate.safetensors"
        self.ladder_file = self.path / "ladder.png"

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
        if run.path.exists() and not run.path.is_dir():
            raise CheckpointError(f"'{run.path}' is a file.", "Name a folder for the run.")
        if run.config_file.exists():
            if not overwrite:
                raise CheckpointError(
                    f"The folder '{run.path}' already holds a run.", "Resume it, overwrite it, or name another folder."
                )
            run._clear()
        elif run.path.is_dir() and any(run.path.iterdir()):
            raise CheckpointError(
                f"The folder '{run.path}' is not empty and not a run.", "Name a new or empty folder for the run."
            )
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        write_atomically(run.config_file, tomli_w.dumps({k: dict(v) for k, v in (config or {}).items()}))
        return run

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
        run.checkpoints.mkdir(exist_ok=True)
        return run

    def _clear(self) -> None:
        """Remove an earlier run's files; config.toml goes last, so that a half-cleared folder is still a run."""
        files = [self.metrics_file, self.certificate_file, self.proof_file, self.ladder_file]
        files += [*self.checkpoints.glob("*.safetensors"), *self.path.glob("events.out.tfevents.*")]
        for file in [*files, self.config_file]:
            file.unlink(missing_ok=True)

    def config(self) -> dict[str, dict[str, Any]]:
        """The tables of ``config.toml``."""
        try:
            return tomllib.loads(self.config_file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(
                f"'{self.config_file}' is not valid TOML: {error}.", "Mend the line it names, or train a new run."
            ) from error

    # -- metrics -------------------------------------------------------------------------------------------------

    def append_metrics(self, record: Mapping[str, float]) -> None:
        """Add one line; it has left the process when this returns, so killing the process cannot lose it."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record)) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All records. A torn last line (the process was killed while it wrote) is left out.

        Raises
        ------
        CheckpointError : a broken line that is not the last one.
        """
        if not self.metrics_file.is_file():
            return []
        lines = self.metrics_file.read_bytes().split(b"\n")
        records = []
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is empty or torn
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise CheckpointError(
                    f"Line {number} of '{self.metrics_file}' is not JSON.", "Delete that line, or train a new run."
                ) from error
        return records

    def keep_metrics_before(self, epoch: int) -> None:
        """Drop the records at or past ``epoch``, and a torn last line."""
        kept = [record for record in self.metrics() if record["epoch"] < epoch]
        write_atomically(self.metrics_file, "".join(json.dumps(record) + "\n" for record in kept))

    def remove_leftovers(self) -> None:
        """Remove temporary files of writes that were killed. Only the process that trains in the folder may call it."""
        for folder in (self.path, self.checkpoints):
            for file in folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)
