"""The lock of a run folder: one process at a time writes, and another one is told which."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from reluopt.errors import CheckpointError
from reluopt.writing import remove_empty, unwritable, write_atomically


class FolderLock:
    """The lock of the folder ``path``, in its file ``.lock``; ``.holder.json`` says who has it.

    ``is_kept`` : called at the end, whether the folder has become what it was made for; if not, no lock file stays.
    """

    def __init__(self, path: Path, is_kept: Callable[[], bool]) -> None:
        self.path, self.is_kept = path, is_kept
        self.lock_file, self.holder_file = path / ".lock", path / ".holder.json"
        self._lock = filelock.FileLock(self.lock_file)
        self._made: list[Path] = []

    def make_folder(self) -> bool:
        """Make the folder, if nobody else has; whether it was made. It goes again with this object while it is empty.

        Raises
        ------
        OSError : it cannot be made.
        """
        missing = [parent for parent in self.path.absolute().parents if not parent.exists()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.path.mkdir()
        except FileExistsError:
            return False
        self._made = [self.path.absolute(), *missing]
        weakref.finalize(self, remove_empty, self._made)
        return True

    @contextmanager
    def held(self, doing: str = "") -> Iterator[None]:
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
        new = [p for p in (self.path, *self.path.absolute().parents) if not p.exists()] or self._made
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
                if not self.is_kept():
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
