"""Faults for tests and for ``python tests/faults.py COUNT``: runs stopped, killed or out of disk at random moments.

Each round trains a small network in a process of its own, stops it once or more by SIGINT, SIGTERM, SIGKILL or a disk
that is full (writes beyond a limit fail), resumes it, and compares every byte of its metrics and weights with a run
that nothing disturbed. Prints one line a round; exit code 1 if anything was lost.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from reluopt.runs import RunFolder
from reluopt.training.checkpoint import load_weights

SETTINGS = {
    "data": 'dataset = "planted"\nn = 30\nd = 3\n',
    "train": "epochs = 1500\nwidth = 8\nrecord_every = 1\ncheckpoint_every = 50\nseed = 3\n",
}
FAULTS = ("SIGINT", "SIGTERM", "SIGKILL", "disk full")
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -signal.SIGKILL, "disk full": 2}

#: A command whose writes into the run fail with ENOSPC from one on; argv: the number of that write, the command.
FULL_DISK = """
import errno, os, sys
import reluopt.runs as runs
left = [int(sys.argv.pop(1))]
def full():
    left[0] -= 1
    if left[0] < 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
line, sync = runs._line, os.fsync
runs._line = lambda record: (full(), line(record))[1]
os.fsync = lambda descriptor: (full(), sync(descriptor))[1]
from reluopt.cli.main import run
run()
"""


def config(folder: Path) -> Path:
    """The configuration file of the rounds."""
    file = folder / "settings.toml"
    file.write_text("".join(f"[{name}]\n{text}" for name, text in SETTINGS.items()))
    return file


def start(arguments: list[str], folder: Path, full_after: int | None = None) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "reluopt"]
    if full_after is not None:
        command = [sys.executable, "-c", FULL_DISK, str(full_after)]
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *arguments], cwd=folder, env=environment, **pipes)


def lines(run: Path) -> int:
    """Lines of the run's metrics by now."""
    file = run / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def command(run: Path) -> list[str]:
    """Resume the run, or start it where it has not begun."""
    if (run / "config.toml").is_file():
        return ["train", "--resume", str(run)]
    return ["train", "--config", "settings.toml", "--out", str(run)]


def disturb(fault: str, moments: random.Random, folder: Path, run: Path) -> tuple[int, str]:
    """Start or resume the run, let the fault happen at a random moment; the exit code and what was said."""
    process = start(command(run), folder, moments.randrange(5, 700) if fault == "disk full" else None)
    if fault != "disk full":
        goal, limit = lines(run) + moments.randrange(0, 300), time.monotonic() + 120
        while process.poll() is None and lines(run) <= goal and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.02))
        process.send_signal(getattr(signal, fault))
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def finish(folder: Path, run: Path) -> tuple[int, str]:
    """Bring the run to its end."""
    process = start(command(run), folder)
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def same(one: Path, other: Path) -> bool:
    """Whether two runs have the same metrics and the same weights, bit for bit."""
    if (one / "metrics.jsonl").read_bytes() != (other / "metrics.jsonl").read_bytes():
        return False
    pairs = zip(load_weights(RunFolder.open(one)), load_weights(RunFolder.open(other)), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def undisturbed(folder: Path) -> Path:
    """The run that nothing disturbs."""
    process = start(["train", "--config", "settings.toml", "--out", "whole"], folder)
    process.communicate(timeout=300)
    assert process.returncode == 0
    return folder / "whole"


def one_round(number: int, folder: Path, whole: Path, times: int = 2) -> tuple[list[str], str | None]:
    """Disturb a run ``times`` times and finish it: the faults that happened, and what went wrong (or None)."""
    moments, run = random.Random(number), folder / f"run {number} [x]"
    happened = []
    for _ in range(times):
        fault = moments.choice(FAULTS)
        code, said = disturb(fault, moments, folder, run)
        happened.append(f"{fault}:{code}")
        if code not in (0, CODES[fault]) or "Traceback" in said:
            return happened, f"exit code {code}: {said}"
    code, said = finish(folder, run)
    if code != 0:
        return happened, f"resume ended with {code}: {said}"
    return happened, None if same(run, whole) else "metrics or weights differ"


def main(count: int) -> int:
    """``count`` rounds; the number of rounds in which something was lost."""
    faults: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config(folder)
        whole, lost = undisturbed(folder), 0
        for number in range(count):
            happened, wrong = one_round(number, folder, whole)
            faults.update(happened)
            lost += wrong is not None
            print(f"round {number}: {', '.join(happened)}: {wrong or 'nothing lost'}", flush=True)
    print(f"{count} rounds, {lost} with a loss; faults and exit codes: {dict(sorted(faults.items()))}")
    return lost


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])) > 0)
