"""Make and check the lock: every package that gets installed, with its version, for each Python and platform.

``make lock`` runs ``python requirements/lock.py make`` (uv does the resolving; it needs a package index).
``python requirements/lock.py check dev`` compares the environment it runs in with ``dev.txt``: each installed
distribution must be in the lock at that version, and each locked one for this Python and platform must be installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "pyproject.toml"

#: What each file locks: reluopt with these extras, pip, and what builds reluopt. The first is resolved, the others
#: take their versions from it.
LOCKS = {
    "all": ("dev", "notebooks", "ray", "bench", "onnx", "docs"),
    "dev": ("dev",),
    "docs": ("docs",),
    "runtime": (),
}
LOWEST = "lowest"  #: the lower bounds of pyproject.toml, on the oldest Python

#: torch's CUDA build for Linux needs these, its CPU build none of them; so they only constrain.
CUDA = re.compile(r"(nvidia|cuda)-.*|triton")
CUDA_FILE = HERE / "cuda.txt"


def locked(name: str, environment: dict[str, str] | None = None) -> dict[str, Version]:
    """The packages that the lock ``name`` gives to an environment (this one by default), and their versions."""
    return _pins((HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines(), environment)


def _pins(lines: Iterable[str], environment: dict[str, str] | None = None) -> dict[str, Version]:
    requirements = [Requirement(line) for line in lines if re.match(r"\w", line)]
    here = {**default_environment(), "extra": "", **(environment or {})}
    return {
        canonicalize_name(r.name): Version(str(r.specifier).removeprefix("=="))
        for r in requirements
        if r.marker is None or r.marker.evaluate(here)
    }


def wanted(extras: Iterable[str]) -> list[Requirement]:
    """What pyproject.toml asks for: dependencies, those of the extras, and what builds reluopt."""
    content = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    optional = content["project"]["optional-dependencies"]
    words = [*content["project"]["dependencies"], *content["build-system"]["requires"]]
    return [Requirement(word) for word in [*words, *(word for extra in extras for word in optional[extra])]]


def differences(name: str) -> list[str]:
    """Where this environment and a lock differ, in words; none when they agree."""
    lock, cuda = locked(name), _pins(CUDA_FILE.read_text(encoding="utf-8").splitlines())
    here = {canonicalize_name(d.name): Version(d.version) for d in metadata.distributions()}
    here.pop("reluopt", None)
    for package in [p for p in here if CUDA.fullmatch(p)]:
        lock[package] = cuda.get(package, Version("0"))
    found = [f"{package} {version} is installed and not in the lock" for package, version in here.items()]
    found = [words for words, package in zip(found, here, strict=True) if package not in lock]
    found += [f"{package} {lock[package]} is in the lock and not installed" for package in lock.keys() - here.keys()]
    return found + [
        f"{package}: the lock says {lock[package]}, installed is {here[package]}"
        for package in lock.keys() & here.keys()
        # a local version ('2.13.0+cpu') is a build of the same release
        if lock[package] not in (here[package], Version(here[package].public))
    ]


def make() -> None:
    """Resolve and write every lock."""
    oldest = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["requires-python"].removeprefix(">=")
    common = ["--python-version", oldest, "--constraint", "requirements/constraints.in"]
    agree = ["--constraint", "requirements/all.txt", "--constraint", "requirements/cuda.txt"]
    for name, extras in LOCKS.items():
        _resolve(name, extras, common if name == "all" else [*common, *agree])
    _resolve(LOWEST, LOCKS["dev"], ["--resolution", "lowest-direct", *common])


def _resolve(name: str, extras: Iterable[str], options: list[str]) -> None:
    asked = "".join(f"{requirement}\n" for requirement in (*wanted(extras), Requirement("pip>=24")))
    command = [os.environ.get("UV", "uv"), "pip", "compile", "-", *options]
    command += ["--universal", "--upgrade", "--prerelease=disallow", "--quiet", "--no-header", "--no-annotate"]
    lines = subprocess.run(command, input=asked, cwd=HERE.parent, check=True, capture_output=True, text=True).stdout
    cuda = [line for line in lines.splitlines() if CUDA.fullmatch(line.partition("==")[0])]
    rest = [line for line in lines.splitlines() if line not in cuda]
    head = f"# Made by 'make lock': {name}. Use: pip install -r requirements/{name}.txt\n"
    (HERE / f"{name}.txt").write_text(head + "-c cuda.txt\n" + "\n".join(rest) + "\n", encoding="utf-8")
    if name == "all":
        head = "# Made by 'make lock': constraints for torch's CUDA build; its CPU build needs none of these.\n"
        CUDA_FILE.write_text(head + "\n".join(cuda) + "\n", encoding="utf-8")


def main() -> int:
    """The exit code: 1 where an environment differs from the lock."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make", help="resolve and write every lock")
    commands.add_parser("check", help="compare this environment with a lock").add_argument(
        "lock", choices=[*LOCKS, LOWEST]
    )
    arguments = parser.parse_args()
    if arguments.command == "make":
        make()
        return 0
    found = differences(arguments.lock)
    print("\n".join(found) or f"This environment is what requirements/{arguments.lock}.txt says.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
