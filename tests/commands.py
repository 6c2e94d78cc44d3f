"""The command line without a process of its own: the same entry point, exit code and words, without seconds of imports.

What only a process shows (its start, signals, pipes) has tests that start one: ``process``.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from reluopt.cli.main import run

WIDE = {"COLUMNS": "200"}


@dataclass(frozen=True)
class Done:
    """What a command printed, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def reluopt(*arguments: object, cwd: Path) -> Done:
    """Call the entry point of ``reluopt`` with these arguments in a folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    words = ["reluopt", *map(str, arguments)]
    with chdir(cwd), mock.patch.dict(os.environ, WIDE), mock.patch.object(sys, "argv", words):  # noqa: SIM117
        with redirect_stdout(out), redirect_stderr(err):
            try:
                run()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Done(code, out.getvalue(), err.getvalue())


def process(*arguments: object, cwd: Path) -> Done:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "reluopt", *map(str, arguments)]
    environment = {**os.environ, **WIDE, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return Done(done.returncode, done.stdout, done.stderr)
