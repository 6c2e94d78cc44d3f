"""Ten classes of MNIST: a trained network, a proved ratio, and the checker's word for it.

    .venv/bin/python experiments/benchmarks/mnist10.py FOLDER --device cuda
    .venv/bin/python experiments/benchmarks/mnist10.py FOLDER --images 300 --epochs 300 --budget 20    # a try, on a CPU

FOLDER holds MNIST's IDX files. Pixels are centred, constant ones left out, no bias; squared loss on unit rows,
β = 0.1 β_max by local search. Training and bounds run on the device, the proofs on the processor. One line of JSON a
step: the problem, the trained network's L, every better bound with its L/p*-at-least and the seconds of the bounds so
far (wall-clock), and what the independent checker derives from the certificate.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the studies' library is

from _lib.problems import of_data
from reluopt.bounds import LowerBound, Start, race
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.data import DataConfig
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.training import TrainConfig, Trainer


def say(**line: Any) -> None:
    """One line."""
    typer.echo(json.dumps(line))


def problem_of(folder: Path, images: int | None, fraction: float) -> Problem:
    """The images (all of them unless a number is given, drawn with seed 0) and their ten classes."""
    config = DataConfig(dataset=str(folder), task="multiclass", scaling="centre", bias=False, subset=images)
    return of_data(config, fraction)


def trained(problem: Problem, width: int, epochs: int, device: str) -> TwoLayerReLU:
    """Adam's network, balanced."""
    config = TrainConfig(width=width, epochs=epochs, device=device)
    network = config.make_network(problem.d, problem.outputs)
    Trainer(network, problem, config=config, progress=False).fit()
    network.balance()
    return network


def bounded(problem: Problem, upper: float, budget: float, device: str) -> LowerBound:
    """The best bound within the budget; every better one is said."""
    clock, best = Clock(budget), None
    for bound in race(problem, Start(), clock, device=device):
        if best is None or bound.value > best.value:
            best = bound
            say(method=bound.method, bound=bound.value, ratio=upper / bound.value, seconds=round(clock.spent, 1))
    assert best is not None
    return best


def checked(problem: Problem, bound: LowerBound, network: TwoLayerReLU) -> dict[str, float]:
    """What the checker derives from the certificate file and the data alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist10.safetensors"
        write_certificate(path, problem, bound=bound, network=network.weights())
        return dict(checker.check(checker.read_certificate(path), problem.X, problem.targets).claims)


def main(
    folder: Annotated[Path, typer.Argument(exists=True, help="The folder of MNIST's IDX files.")],
    images: Annotated[int | None, typer.Option(help="Only so many images, drawn at random.")] = None,
    fraction: Annotated[float, typer.Option(help="β/β_max.")] = 0.1,
    width: Annotated[int, typer.Option(help="Neurons.")] = 200,
    epochs: Annotated[int, typer.Option(help="Of Adam, full batch.")] = 2000,
    budget: Annotated[float, typer.Option(help="Seconds for the bounds.")] = 240.0,
    device: Annotated[str, typer.Option(help="Of training and bounds: cpu, cuda, ...")] = "cpu",
) -> None:
    """Print the lines."""
    problem = problem_of(folder, images, fraction)
    say(n=problem.n, d=problem.d, outputs=problem.outputs, beta=problem.beta, zero_network=problem.zero_value)
    started = time.perf_counter()
    network = trained(problem, width, epochs, device)
    upper = problem.objective_upper(*network.weights())
    say(L=upper, epochs=epochs, seconds=round(time.perf_counter() - started, 1))
    say(**checked(problem, bounded(problem, upper, budget, device), network))


if __name__ == "__main__":
    typer.run(main)
