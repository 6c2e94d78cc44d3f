"""``python tests/faults.py COUNT [FIRST]``: commands stopped, killed or out of disk at random; is anything lost?

Each round gives a command (train, certify, sweep, solve, data --save) in a folder of its own, lets SIGINT, SIGTERM,
SIGKILL or a full disk happen to it once or twice at a random moment, looks whether what was there is still whole, then
gives the command again until it ends by itself and compares what it left with what an undisturbed one leaves
(``fault_scenes.py``). A command that does not end in time, ends with another exit code than 0 or the fault's, or prints
a traceback is a loss too. Prints a line a round and a summary; exit code 1 if anything was lost. The round's number is
its seed: FIRST is where to begin.

The commands are forked from this process, which has imported everything, so that a round takes a second or two; every
``COLD``-th round starts new interpreters. A disk is filled for true, where this user may mount one (root); elsewhere
files may not grow beyond a limit, which fails in the same places with another error.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fault_scenes import SCENES, Scene

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ("SIGINT", "SIGTERM", "SIGKILL", "disk full")
#: One round of so many starts an interpreter for each command, as a user does.
COLD = 20
#: Seconds after which a command counts as one that hangs; MB of the disk that is filled.
PATIENCE, DISK = 180.0, 64


class Command:
    """A command of reluopt in a process group of its own, forked or in a new interpreter."""

    def __init__(self, arguments: list[str], folder: Path, cold: bool, limit: int | None = None) -> None:
        self.said, self.code = folder.parents[1] / "said", None  # not on the disk that is filled
        descriptor = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be(arguments, folder, cold, limit, descriptor)
        os.close(descriptor)

    @staticmethod
    def _be(arguments: list[str], folder: Path, cold: bool, limit: int | None, descriptor: int) -> None:
        """What the child does; it never returns."""
        code: object = 70
        try:
            os.setpgid(0, 0)
            os.chdir(folder)
            for stream in (1, 2):
                os.dup2(descriptor, stream)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            if cold:
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                os.execve(sys.executable, [sys.executable, "-m", "reluopt", *arguments], environment)
            faulthandler.enable()
            sys.argv = ["reluopt", *arguments]
            from reluopt.cli.main import run

            run()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)

    def ended(self) -> bool:
        """Whether it has ended; ``code`` is its exit code then, -N for signal N."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def send(self, signum: int) -> None:
        """Send a signal to the command alone, as a terminal's kill does."""
        if not self.ended():
            os.kill(self.pid, signum)

    def wait(self, until: float) -> bool:
        """Wait for its end, or for a moment of time.monotonic()."""
        while not self.ended() and time.monotonic() < until:
            time.sleep(0.002)
        return self.ended()

    def end(self) -> str:
        """Wait for its end and give what it said; one that hangs is killed and raises TimeoutError."""
        in_time = self.wait(time.monotonic() + PATIENCE)
        if not in_time:
            os.kill(self.pid, signal.SIGABRT)  # where it hangs is said by faulthandler
            self.wait(time.monotonic() + PATIENCE)
            raise TimeoutError(f"no end after {PATIENCE:.0f} s: {self.said.read_text(errors='replace')}")
        with suppress(ProcessLookupError):  # workers of a killed sweep
            os.killpg(self.pid, signal.SIGKILL)
        return self.said.read_text(errors="replace")


class Disk:
    """The disk of the rounds: filled at a moment, or else forbidding files to grow."""

    def __init__(self, place: Path, mounted: bool) -> None:
        self.place, self.mounted, self.filler = place, mounted, place / "filler"

    def fill(self, left: int) -> None:
        """Leave so many bytes."""
        room = os.statvfs(self.place)
        size = room.f_bavail * room.f_frsize - left
        if size > 0:
            with self.filler.open("wb") as file, suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, size)

    def free(self) -> None:
        """Give the room back."""
        self.filler.unlink(missing_ok=True)


@contextmanager
def a_disk() -> Iterator[Disk]:
    """A disk that can be filled, if one can be mounted; else a folder."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "reluopt-faults", str(place)]
        try:
            mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except OSError:  # no such command
            mounted = False
        try:
            yield Disk(place, mounted)
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", str(place)], check=True)


def allowed(fault: str | None) -> set[int]:
    """The exit codes a command may end with; a signal may also find Python not yet or no longer listening."""
    if fault is None:
        return {0}
    if fault == "disk full":
        return {0, 2}
    number = getattr(signal, fault)
    return {0, -number} if fault == "SIGKILL" else {0, -number, 128 + number}


def give(scene: Scene, folder: Path, disk: Disk, fault: str | None, moments: random.Random, cold: bool) -> int:
    """Give the scene's next command, let the fault happen; its exit code. AssertionError where something is lost."""
    span = scene.seconds + (4.0 if cold else 0.0)
    limit = int(moments.choice((0, 1, 4, 16, 64)) * 1024 * moments.random())
    full = fault == "disk full"
    command = Command(scene.command(folder), folder, cold, limit if full and not disk.mounted else None)
    command.wait(time.monotonic() + (moments.uniform(0, 1.1 * span) if fault else 0.0))
    if full and disk.mounted:
        disk.fill(limit)
    elif fault is not None and not full:
        command.send(getattr(signal, fault))
    try:
        said = command.end()
    finally:
        disk.free()
    assert command.code in allowed(fault), f"exit code {command.code}: {said}"
    assert "Traceback" not in said, said
    assert command.code != 2 or said.strip(), "exit code 2 without a word"
    scene.whole(folder)
    return command.code


def one_round(number: int, disk: Disk, happened: Counter[str]) -> str:
    """A round: what happened in it. AssertionError, TimeoutError where something was lost."""
    moments, scene = random.Random(number), SCENES[number % len(SCENES)]
    cold = number % COLD == COLD - 1
    folder = disk.place / f"round {number} [x]"
    scene.begin(folder)
    story = [f"{scene.name}{' (cold)' if cold else ''}"]
    try:
        for _ in range(moments.choice((1, 1, 2))):
            fault = moments.choice(FAULTS)
            story.append(fault)
            code = give(scene, folder, disk, fault, moments, cold)
            story[-1] += f" {code}"
            happened[f"{fault}: {code}"] += 1
        give(scene, folder, disk, None, moments, cold)
        scene.same(folder)
        left = [file.name for file in folder.rglob(".*.tmp")]
        assert not left, f"left behind: {left}"
    except Exception as lost:
        return f"{', '.join(story)}: LOST: {type(lost).__name__}: {lost}"
    scene.end(folder)
    return f"{', '.join(story)}: nothing lost"


def main(count: int, first: int) -> int:
    """``count`` rounds; the number of those in which something was lost."""
    happened: Counter[str] = Counter()
    lost = 0
    with a_disk() as disk:
        needed = {n % len(SCENES) for n in range(first, first + count)}
        for scene in [SCENES[n] for n in sorted(needed)]:
            started = time.monotonic()
            scene.prepare(disk.place / scene.name, lambda arguments, folder: Command(arguments, folder, False))
            print(f"{scene.name}, undisturbed: {time.monotonic() - started:.1f} s", flush=True)
        started = time.monotonic()
        for number in range(first, first + count):
            story = one_round(number, disk, happened)
            lost += "LOST" in story
            print(f"round {number}: {story}", flush=True)
        how = "a disk that was filled" if disk.mounted else "files that may not grow"
    seconds = time.monotonic() - started
    print(f"{count} rounds in {seconds:.0f} s ({how}): {lost} in which something was lost")
    print("faults and exit codes:", ", ".join(f"{what} x {times}" for what, times in sorted(happened.items())))
    return lost


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many rounds")
    parser.add_argument("first", type=int, nargs="?", default=0, help="the number of the first one")
    given = parser.parse_args()
    sys.exit(main(given.count, given.first) > 0)
