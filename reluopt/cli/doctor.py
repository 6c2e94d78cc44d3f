"""`reluopt doctor`: what this installation consists of, for reports of trouble."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

import typer
from packaging.requirements import Requirement
from rich.table import Table

import reluopt
from reluopt.cli.output import console
from reluopt.cli.scripting import command_result

#: Variables that change how many threads work, what is shown, and where.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NO_COLOR")


def doctor_command(quiet: bool) -> None:
    """Do what `reluopt doctor` says."""
    facts, trouble = _facts(), _trouble()
    command_result({"facts": facts, "trouble": trouble})
    if not quiet:
        table = Table(show_header=False)
        for name, value in facts.items():
            table.add_row(name, str(value))
        console.print(table)
    for line in trouble:
        console.print(f"trouble: {line}", soft_wrap=True)
    if trouble:
        raise typer.Exit(1)
    if not quiet:
        console.print("Nothing is wrong.")


def _facts() -> dict[str, Any]:
    import torch
    from threadpoolctl import threadpool_info

    found: dict[str, Any] = {
        "reluopt": reluopt.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
    }
    for name in ("torch", "numpy", "scipy", "scikit-learn", "cvxpy", "clarabel", "pyarrow"):
        found[name] = _version(name) or "missing"
    for library in threadpool_info():
        name = f"{library['internal_api']} ({library['user_api']})"
        found[name] = f"{library.get('version') or '?'}, {library['num_threads']} threads"
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found["GPU"] = ", ".join(gpus) or ("none" if torch.version.cuda else "none; torch is built without CUDA")
    found |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    found["encoding"] = getattr(sys.stdout, "encoding", None) or "?"
    return found


def _trouble() -> list[str]:
    """Requirements of reluopt that this environment does not meet."""
    try:
        asked = [Requirement(text) for text in metadata.requires("reluopt") or ()]
    except metadata.PackageNotFoundError:
        return []  # run from a checkout: there are no requirements to compare with
    lines = []
    for requirement in asked:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if version is None:
            lines.append(f"{requirement.name} is missing; install it: pip install '{requirement}'")
        elif not requirement.specifier.contains(version, prereleases=True):
            lines.append(f"{requirement.name} is {version}; reluopt needs {requirement.specifier}")
    return lines


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
