"""The native solver and the clique bound on the processor and on a GPU, in one run.

    python experiments/benchmarks/gpu.py --json
    python experiments/benchmarks/gpu.py --device cpu --shape 1000,50,200    # a try where there is no GPU

Programs: planted networks (n, d, P) at 0.01 β_max, relaxed and gated, to the given tolerance; the first solve on a
device is of a small program and not counted. Bounds: the best value of cliques after the same seconds on each device,
on scikit-learn's digits (0-4 against 5-9). What is proved is computed on the processor in float64 either way; the
seconds are the clock's.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent / "convex_relu"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_utils import instances

from _lib.problems import of_data
from reluopt.bounds import neighbours
from reluopt.data import DataConfig
from reluopt.solvers.native import NativeSolver


def programs(shape: tuple[int, int, int], devices: list[str], tolerance: float, limit: float) -> list[dict[str, Any]]:
    """Seconds of the native solver on each device."""
    found = []
    for kind in instances.PROGRAMS:
        program = instances.planted(*shape).program(kind, 0.01)
        for device in devices:
            solver = NativeSolver(tolerance=tolerance, time_limit=limit, device=device)
            solver.solve(instances.planted(200, 5, 10).program(kind, 0.01))  # loads the device's libraries
            started = time.perf_counter()
            solution = solver.solve(program)
            seconds = time.perf_counter() - started
            reached = {"value": solution.value, "relative_gap": solution.gap / solution.value}
            found.append(
                {"program": kind, "shape": shape, "device": device, "seconds": round(seconds, 2)}
                | reached
                | {"status": solution.status.value}
            )
    return found


def bounds(devices: list[str], seconds: float) -> list[dict[str, Any]]:
    """The proved value of cliques on each device after the same seconds."""
    found = []
    for fraction in (0.1, 0.01):
        problem = of_data(DataConfig(dataset="digits"), fraction)
        for device in devices:
            value = neighbours(problem, time_limit=seconds, device=device).value
            found.append({"bound": "cliques", "beta/beta_max": fraction, "device": device, "value": value})
    return found


def main(
    device: Annotated[list[str] | None, typer.Option(help="Devices (repeatable); without: cpu and cuda.")] = None,
    shape: Annotated[list[str] | None, typer.Option(help="n,d,P of a planted program (repeatable).")] = None,
    tolerance: Annotated[float, typer.Option(help="Relative gap at which a program counts as solved.")] = 1e-4,
    limit: Annotated[float, typer.Option(help="Seconds a program may take on a device.")] = 120.0,
    seconds: Annotated[float, typer.Option(help="Seconds of the bounds on each device; 0: none.")] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON each.")] = False,
) -> None:
    """Print the lines."""
    devices = device or ["cpu", "cuda"]
    if "cuda" in devices and not torch.cuda.is_available():
        raise typer.BadParameter("there is no CUDA device here", param_hint="--device")
    about = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    if "cuda" in devices:
        about["gpu"] = torch.cuda.get_device_name()
    typer.echo(json.dumps(about))
    for text in shape or ["2000,50,300", "10000,100,1000"]:
        n, d, patterns = (int(part) for part in text.split(","))
        for line in programs((n, d, patterns), devices, tolerance, limit):
            show(line, as_json)
    if seconds > 0:
        for line in bounds(devices, seconds):
            show(line, as_json)


def show(line: dict[str, Any], as_json: bool) -> None:
    """One line."""
    typer.echo(json.dumps(line) if as_json else "  ".join(f"{key} {value}" for key, value in line.items()))


if __name__ == "__main__":
    typer.run(main)
