r"""What `fast` proves: the moment bound, and the affine bound that starts from it, paired, in processor seconds.

    .venv/bin/python experiments/certificates/slopes.py --reference ../shared/reference --json > slopes.jsonl
    .venv/bin/python experiments/certificates/slopes.py --mnist ../shared/data/mnist --repeats 1 --json >> slopes.jsonl
    .venv/bin/python experiments/certificates/slopes.py --markdown slopes.jsonl

Each line: the ratio best known / bound of both (1 is optimal), the processor seconds of the moment bound and what the
affine one took beside, and whether the checker accepted the affine bound's certificate. Best known is what refinement
from nothing reaches in `--seconds`; of MNIST what results.jsonl has. The instances called *fresh* were
made after everything in the search was fixed, with seeds and data sets that no setting was chosen on.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the libraries that read it

import numpy as np
import typer
from sklearn.datasets import load_iris, load_wine, make_blobs, make_friedman1, make_moons

from reluopt import printing
from reluopt.bounds import LowerBound, Start
from reluopt.bounds.affine_slopes import AffineSlopes
from reluopt.bounds.second_moments import SecondMoments
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.data import DataConfig, load_dataset
from reluopt.pricing import price
from reluopt.problem import Problem
from reluopt.search.refinement import refine

HERE = Path(__file__).resolve().parent
START, END = "<!-- slopes: made by slopes.py --markdown -->", "<!-- end of slopes -->"
#: Data set and loss; the shares of β_max.
REAL = (("breast_cancer", "squared"), ("diabetes", "squared"), ("digits", "squared"))
LOGISTIC = (("breast_cancer", "logistic"), ("digits", "logistic"))
SHARES = (0.1, 0.01)


def centred(X: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1, and one of ones."""
    spread = X.std(axis=0)
    return np.hstack([(X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0), np.ones((len(X), 1))])


def at(X: np.ndarray, y: np.ndarray, share: float, loss: str = "squared") -> Problem:
    """The problem at a share of β_max as pricing finds it."""
    problem = Problem(np.ascontiguousarray(X), y, loss, 1.0)
    largest = price(problem.X, problem.zero_dual_point, np.random.default_rng(0)).value
    return problem.with_beta(share * largest)


def known(reference: Path | None) -> Iterator[tuple[str, Problem]]:
    """The instances that the search was developed on."""
    for name in ("noise_40x8_b0.1", "planted_60x10_b0.01", "diabetes_60x11_b0.1") if reference else ():
        file = np.load(reference / f"{name}.npz")
        problem = Problem(file["X"], file["y"], "squared", float(file["beta"]))
        yield name, problem
        if name.startswith("diabetes"):
            yield "diabetes_60x11_b0.01", problem.with_beta(0.1 * problem.beta)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((100, 10)), rng.standard_normal(100)
    for share in (0.1, 0.02):
        yield f"noise_100x10_b{share}", at(X, y, share)
    for name, loss in REAL + LOGISTIC:
        data = load_dataset(DataConfig(dataset=name))
        y = np.where(data.y > 0, 1.0, -1.0) if loss == "logistic" else data.y
        for share in SHARES if loss == "squared" else (0.01,):
            yield f"{name}_{loss}_b{share}", at(data.X, y, share, loss)


def fresh() -> Iterator[tuple[str, Problem]]:
    """Instances on which nothing was chosen."""
    for n, seed in ((1000, 71), (1500, 72)):
        X, label = make_blobs(n, 4, centers=8, cluster_std=2.5, random_state=seed)
        yield f"blobs_{n}x5_b0.01", at(centred(X), (label % 2) * 2.0 - 1.0, 0.01)
    rng = np.random.default_rng(7301)
    X = rng.standard_normal((200, 15))
    yield "noise_200x15_b0.1", at(X, rng.standard_normal(200), 0.1)
    planted = np.maximum(X @ rng.standard_normal((15, 4)), 0) @ rng.standard_normal(4)
    for share in SHARES:
        yield f"planted_200x15_b{share}", at(X, planted + 0.3 * planted.std() * rng.standard_normal(200), share)
    X, y = make_friedman1(400, 10, noise=1.0, random_state=7401)
    for share in SHARES:
        yield f"friedman_400x11_b{share}", at(centred(X), (y - y.mean()) / y.std(), share)
    X, label = make_moons(500, noise=0.2, random_state=7501)
    for loss in ("squared", "hinge", "logistic"):
        yield f"moons_500x3_{loss}_b0.01", at(centred(X), label * 2.0 - 1.0, 0.01, loss)
    for name, load in (("wine", load_wine), ("iris", load_iris)):
        X, label = load(return_X_y=True)
        y = np.where(label == 1, 1.0, -1.0)
        for share in SHARES:
            yield f"{name}_{len(X)}x{X.shape[1] + 1}_b{share}", at(centred(X), y, share)


def mnist(folder: Path) -> Iterator[tuple[str, Problem]]:
    """MNIST as table.py has it, at its β."""
    data = load_dataset(DataConfig(dataset=str(folder), scaling="centre", bias=False))
    name = f"mnist_{data.n}x{data.d}_b0.1"
    yield name, Problem(data.X, data.y, "squared", recorded(name, "beta"))


def recorded(name: str, key: str) -> float:
    """The least value of a key among the lines of results.jsonl for an instance."""
    lines = (json.loads(text) for text in (HERE / "results.jsonl").read_text().splitlines())
    return float(min(line[key] for line in lines if line["instance"] == name))


def measured(name: str, problem: Problem, seconds: float, repeats: int) -> dict[str, Any]:
    """Both bounds, the least processor seconds of ``repeats`` runs in turn, and the checker's verdict."""
    large = name.startswith("mnist")
    best = recorded(name, "best_known") if large else refine(problem, clock=Clock(seconds, time.process_time)).objective
    took: list[tuple[float, float]] = []
    for _ in range(repeats):
        begun = time.process_time()
        moment = SecondMoments().best(problem, clock=Clock())
        between = time.process_time()
        affine = AffineSlopes().best(problem, Start(moments=moment), Clock())
        took.append((between - begun, time.process_time() - between))
    return {
        "instance": name,
        "beta": problem.beta,
        "best_known": best,
        "moment": moment.value,
        "affine": affine.value,
        "moment_cpu_seconds": round(min(first for first, _ in took), 3),
        "affine_cpu_seconds": round(min(second for _, second in took), 3),
        "rows": None if affine.factors is None else affine.factors.shape[1],
        "verified": accepted(problem, affine),
    }


def accepted(problem: Problem, bound: LowerBound) -> bool:
    """Whether the checker accepts the bound's certificate with a claim that is not weaker than 1e-8 of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.safetensors"
        claims = write_certificate(path, problem, bound=bound)
        try:
            checker.check(checker.read_certificate(path), problem.X, problem.y)
        except checker.Refused:
            return False
    return claims["optimum_at_least"] >= bound.value * (1 - 1e-8)


def row(line: dict[str, Any]) -> str:
    """A row of the table in README.md."""
    ratios = [printing.above(line["best_known"] / line[name], decimals=4) for name in ("moment", "affine")]
    whole = line["moment_cpu_seconds"] + line["affine_cpu_seconds"]
    cells = [line["instance"], printing.nearest(line["best_known"]), *ratios, f"{line['moment_cpu_seconds']:.2f}"]
    return "| " + " | ".join([*cells, f"{whole:.2f}", "yes" if line["verified"] else "NO"]) + " |"


def table(lines: list[dict[str, Any]]) -> str:
    """The table in README.md."""
    titles = ["instance", "best known L", "moment", "affine", "moment, s", "both, s", "checker"]
    return "\n".join(["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|", *map(row, lines)])


def main(
    reference: Annotated[Path | None, typer.Option(help="Folder of the reference instances.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only instances whose name contains this.")] = None,
    seconds: Annotated[float, typer.Option(help="Of the processor, for the best network.")] = 6.0,
    repeats: Annotated[int, typer.Option(help="Of the measurement.")] = 2,
    mnist_folder: Annotated[Path | None, typer.Option("--mnist", help="Only MNIST, from this IDX folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON each.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write this file's lines into README.md.")] = None,
) -> None:
    """Print one line an instance."""
    if markdown is not None:
        lines = [json.loads(text) for text in markdown.read_text().splitlines()]
        readme = HERE / "README.md"
        before, rest = readme.read_text().split(START)
        readme.write_text(before + "\n\n".join([START, table(lines), END]) + rest.split(END)[1])
        return
    every = (("known", known(reference)), ("fresh", fresh()))
    for kind, instances in every if mnist_folder is None else (("known", mnist(mnist_folder)),):
        for name, problem in instances:
            if not only or any(part in name for part in only):
                line = measured(name, problem, seconds, repeats) | {"kind": kind}
                typer.echo(json.dumps(line) if as_json else row(line))


if __name__ == "__main__":
    typer.run(main)
