"""``python tests/letter.py``: the README, the tutorial and the first page, followed to the letter in an empty folder.

Every ``reluopt`` command of their blocks is given in its order, in a process of its own, beside a made-up ``table.csv``
and ``new.csv``; blocks of TOML that begin with ``# name.toml`` become that file; blocks of Python are run as scripts.
Commands of other programs (make, pip, tensorboard) are left out. Prints a line for each with its exit code and seconds;
exit code 1 if any failed. It takes some minutes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/index.md", "docs/tutorial.md")


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of every fenced block."""
    yield from re.findall(
        r"^```(bash|python|toml)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def steps(language: str, text: str, folder: Path) -> Iterator[tuple[str, list[str] | str]]:
    """What a reader does with a block: (what is shown of it, the command)."""
    if language == "toml":
        name = re.match(r"# (\S+\.toml)\n", text)
        if name:
            (folder / name[1]).write_text(text, encoding="utf-8")
    elif language == "python":
        yield text.splitlines()[0] + " …", [sys.executable, "-c", text]
    else:
        for line in text.splitlines():
            command = line.partition("#")[0].strip()
            if command.startswith("reluopt ") and "ray" not in command:
                yield command, shlex.join([sys.executable, "-m"]) + " " + command  # by a shell: it expands runs/*


def table(folder: Path) -> None:
    """A stranger's data: a category, an index column, a price; new rows without it."""
    rng = np.random.default_rng(0)
    size, town, noise = rng.uniform(20, 200, 90), rng.choice(["Oslo", "Bergen", "Tromsø"], 90), rng.normal(size=90)
    price = np.maximum(size, 90) * np.where(town == "Oslo", 3, 2) + 10 * noise
    lines = [f"{i},{s:.1f},{t},{p:.2f}" for i, (s, t, p) in enumerate(zip(size, town, price, strict=True))]
    (folder / "table.csv").write_text("\n".join(["id,size,town,price", *lines[:70], ""]), encoding="utf-8")
    new = [line.rpartition(",")[0] for line in lines[70:]]
    (folder / "new.csv").write_text("\n".join(["id,size,town", *new, ""]), encoding="utf-8")


def follow(page: Path, folder: Path) -> int:
    """Do what a page says; the number of steps that failed."""
    failed = 0
    table(folder)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for language, text in blocks(page):
        for shown, command in steps(language, text, folder):
            started = time.perf_counter()
            done = subprocess.run(
                command, shell=isinstance(command, str), cwd=folder, env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip
            print(f"{done.returncode:>3}  {time.perf_counter() - started:6.1f} s  {shown}", flush=True)
            if done.returncode:
                failed += 1
                print(done.stdout[-1500:] + done.stderr[-3000:], flush=True)
    return failed


def main() -> None:
    failed = 0
    for name in sys.argv[1:] or PAGES:
        print(name)
        with tempfile.TemporaryDirectory() as folder:
            failed += follow(ROOT / name, Path(folder))
    print(f"{failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
