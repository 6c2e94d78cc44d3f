"""The command line without a process of its own: the same entry point, exit code and words, without seconds of imports.

What only a process shows (its start, signals, pipes) has tests that start one: ``process``.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from reluopt.cli.main import run

QUICK = ("--effort", "fast", "--time-budget", "0", "--gaussian-patterns", "0")
PLANTED = ("planted", "--n", "14", "--d", "2")
#: A line of each command, in a folder with {run} (a certified run of PLANTED), new.csv and grid.toml; it writes {out}.
LINES: dict[str, tuple[str, ...]] = {
    "train": ("train", *PLANTED, "--epochs", "3", "--width", "2", "--out", "{out}"),
    "certify": ("certify", "{run}", *QUICK),
    "verify": ("verify", "{run}"),
    "data": ("data", *PLANTED, "--save", "{out}"),
    "relax": ("relax", *PLANTED, "--patterns", "3", "--out", "{out}"),
    "solve": ("solve", *PLANTED, "--budget", "1", "--gap", "10", "--out", "{out}"),
    "refine": ("refine", "{run}", "--budget", "1", "--gap", "10", "--out", "{out}"),
    "path": ("path", *PLANTED, "--fractions", "0.5", "--budget", "1", "--gap", "10", "--out", "{out}"),
    "theory": ("theory", *PLANTED, "--patterns", "3", "--cones", "1", "--time-budget", "0"),
    "sweep": ("sweep", "grid.toml", "--workers", "1", "--out", "{out}"),
    "predict": ("predict", "{run}", "new.csv", "--out", "{out}"),
    "report": ("report", "{run}", "--out", "{out}"),
    "show": ("show", "{run}"),
    "doctor": ("doctor",),
}
GRID = """
[data]
dataset = "planted"
n = 14
d = 2
[train]
epochs = 2
width = 2
[sweep]
certify = false
[grid]
"train.seed" = [0]
"""
NEW = "x0,x1\n0.5,-1.0\n2.0,0.25\n"
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


def killed_when(there: Path, *arguments: object, cwd: Path) -> None:
    """Start a command in a process of its own and kill it as soon as there is a file; it must not have ended before."""
    command = [sys.executable, "-m", "reluopt", *map(str, arguments)]
    begun = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not there.exists() and begun.poll() is None:
            time.sleep(0.05)
        assert begun.returncode is None, "it ended by itself"
    finally:
        begun.kill()
        begun.wait()
