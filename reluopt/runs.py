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

import json
import math
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import tomli_w

from reluopt.checkpoint_file import read_checkpoint
from reluopt.config import read_toml_file
from reluopt.data.preparation import Preparation
from reluopt.errors import CheckpointError, ConfigError
from reluopt.losses import make_loss
from reluopt.model import Model
from reluopt.network import from_weights

#: Where files of a run lie until all are written, see ``staging.py``.
STAGE = ".new"


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Write a file so that it holds either its old or its new content, whatever happens in between.

    A temporary file in the same folder is written and synced, then renamed over ``path``, and the folder is synced.
    What a process left that was killed while it wrote the same file is removed.
    """
    path = Path(path)
    _remove_orphans(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if os.name == "nt":  # there a folder cannot be opened, and needs no syncing
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_orphans(path: Path) -> None:
    """Remove the temporary files of ``path`` whose processes are gone; Windows cannot be asked without ending them."""
    if os.name == "nt":
        return
    prefix = f".{path.name}."
    for file in path.parent.iterdir():
        pid = file.name.removeprefix(prefix).removesuffix(".tmp")
        if file.name.startswith(prefix) and file.name.endswith(".tmp") and pid.isdecimal() and not _alive(int(pid)):
            with suppress(OSError):
                file.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        pass
    return True


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
        self.lock_file = self.path / ".lock"
        self.holder_file = self.path / ".holder.json"
        self._lock = filelock.FileLock(self.lock_file)

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
        text = tomli_w.dumps({k: dict(v) for k, v in (config or {}).items()})
        if self.config_file.exists():
            self.clear()
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if preparation is not None:
                content = json.dumps(preparation.to_mapping(), ensure_ascii=False, allow_nan=False)
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
                    "Resume it (--resume), overwrite it (--replace), or name another folder.",
                )
        elif self.path.is_dir() and any(file not in self._leftovers() for file in self.path.iterdir()):
            raise CheckpointError(
                f"The folder '{self.path}' is not empty and not a run.", "Name a new or empty folder for the run."
            )
        self.require_space(need)

    def require_space(self, need: int) -> None:
        """CheckpointError unless the folder's disk has ``need`` bytes left."""
        place = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.is_dir())
        free = shutil.disk_usage(place).free
        if free < need:
            raise CheckpointError(
                f"The disk of '{self.path}' has {free / 1e6:.1f} MB left; this run needs about {need / 1e6:.1f} MB.",
                "Free space there, or name a folder on another disk.",
            )

    @contextmanager
    def locked(self, doing: str = "") -> Iterator[None]:
        """Within it no other process writes into the folder, which is made if it is missing.

        The lock goes with the process, however that ends. May be nested. If no run has come into being in the end,
        the folders that were made for it go again.

        Parameters
        ----------
        doing : what another process is told about this one (default its command line).

        Raises
        ------
        CheckpointError : another process works in the folder (it is named), or the folder cannot be written.
        """
        new = [] if self.path.exists() else [p for p in (self.path, *self.path.absolute().parents) if not p.exists()]
        outermost = not self._lock.is_locked
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise self._in_use() from error
        except OSError as error:
            remove_empty(new)
            raise unwritable(self.path, error) from error
        try:
            if outermost:
                self._sign(doing)
            yield
        finally:
            if outermost:
                self.holder_file.unlink(missing_ok=True)
                if not self.config_file.exists():
                    self.lock_file.unlink(missing_ok=True)
            self._lock.release()
            remove_empty(new)

    def _sign(self, doing: str) -> None:
        """Say who holds the lock. Only for messages: a disk that is full must not forbid to work."""
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": doing or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        }
        with suppress(OSError):
            write_atomically(self.holder_file, json.dumps(holder))

    def _in_use(self) -> CheckpointError:
        try:
            who = json.loads(self.holder_file.read_text(encoding="utf-8"))
            text = f"process {who['pid']} on {who['host']} since {who['since']}: {who['command']!r}"
        except (OSError, ValueError, KeyError, TypeError):  # it is just beginning or ending
            text = "another process"
        return CheckpointError(
            f"The run '{self.path}' is in use by {text}.",
            "Wait until that ends, or stop it. Meanwhile the run may be read (verify, tensorboard).",
        )

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
        made = {self.lock_file, self.holder_file, self.preparation_file, self.path / STAGE, *self.path.glob(".*.tmp")}
        held = self.checkpoints.is_dir() and any(self.checkpoints.glob("[!.]*"))
        return made if held else made | {self.checkpoints}

    def clear(self, but: set[Path] | None = None) -> None:
        """Remove an earlier run's files ``but`` some; config.toml goes last: a half-cleared folder is still a run."""
        files = [self.preparation_file, self.metrics_file, self.certificate_file, self.proof_file, self.ladder_file]
        files += [self.trace_file, self.gap_file]
        files += [*self.checkpoints.glob("*.safetensors"), *self.path.glob("events.out.tfevents.*")]
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
        network = from_weights(tensors["network.U"].double(), tensors["network.alpha"].double())
        loss = self.config().get("train", {}).get("loss", "squared")
        preparation = self.preparation()
        if len(preparation.feature_names) != network.d:
            raise CheckpointError(
                f"'{self.preparation_file}' makes {len(preparation.feature_names)} features, and the network takes "
                f"{network.d}.", "Put back what training wrote there, or train a new run.",
            )  # fmt: skip
        return Model(network, preparation, make_loss(loss))

    def preparation(self) -> Preparation:
        """How the run's data were prepared.

        Raises
        ------
        CheckpointError : an earlier release's run, which has none, or a file that is not as reluopt wrote it.
        """
        if not self.preparation_file.is_file():
            raise CheckpointError(
                f"'{self.path}' has no preparation.json: it is of an earlier release.", "Train the run again."
            )
        try:
            return Preparation.from_mapping(json.loads(self.preparation_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                f"'{self.preparation_file}' is not as reluopt writes it ({type(error).__name__}).",
                "Put back what training wrote there, or train a new run.",
            ) from error

    # -- metrics -------------------------------------------------------------------------------------------------

    def append_metrics(self, record: Mapping[str, float]) -> None:
        """Add one line; it has left the process when this returns, so killing the process cannot lose it.

        A line that cannot be written as a whole (the disk is full) is taken back.
        """
        rest = memoryview(_line(record))
        with self.metrics_file.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                with suppress(OSError):
                    file.truncate(before)
                raise

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
                if not isinstance(records[-1], dict) or not isinstance(records[-1].get("epoch"), int):
                    raise ValueError("no record")
            except (ValueError, RecursionError) as error:
                raise CheckpointError(
                    f"Line {number} of '{self.metrics_file}' is not a record in JSON.",
                    "Delete that line, or train a new run.",
                ) from error
        return records

    def keep_metrics_before(self, epoch: int) -> None:
        """Drop the records at or past ``epoch``, and a torn last line."""
        kept = [record for record in self.metrics() if record["epoch"] < epoch]
        write_atomically(self.metrics_file, b"".join(_line(record) for record in kept))

    def remove_leftovers(self) -> None:
        """Remove temporary files of writes that were killed. Only the process that trains in the folder may call it."""
        for folder in (self.path, self.checkpoints):
            for file in folder.glob(".*.tmp"):
                file.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> CheckpointError:
    """The error of a folder or file that cannot be written."""
    return CheckpointError(
        f"'{path}' cannot be written: {error.strerror or error}.",
        "Free space there, or allow writing, or name a folder elsewhere (--out).",
    )


def _line(record: Mapping[str, Any]) -> bytes:
    """One record as strict JSON: a number that is not finite becomes null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return (json.dumps(plain, allow_nan=False) + "\n").encode()


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as far as they are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
