r"""Every lower bound on every instance: its value, its time, its distance from the best network known, its certificate.

    .venv/bin/python experiments/certificates/table.py --reference ../shared/reference --workers 15 --json \
        > results.jsonl
    .venv/bin/python experiments/certificates/table.py --reference ../shared/reference --sdp --method dnn --json \
        >> results.jsonl
    OMP_NUM_THREADS=2 .venv/bin/python experiments/certificates/table.py --mnist ../shared/data/mnist --budget 420 \
        --device cuda --json >> results.jsonl
    .venv/bin/python experiments/certificates/table.py --markdown results.jsonl

`thorough` is the race of all bounds that suit, what `certify --effort thorough` runs. With `--workers` so many lines
are computed at the same time, each by a process with one thread; `cores` says how many that were.

One line of JSON an instance and method: instance, method, bound, seconds, ratio (best known / bound, so 1 is optimal),
verified (the independent checker, in its own process, accepted the certificate file), checker_seconds. `adam` has the
objective of a trained network, `solve` that of column generation, `theory` the theory's factor as its ratio, `dnn sdp`
a value that nothing proves, with the status of its solver. `cpu_seconds`, the processor's, tell how busy the machine
was. The reference folder holds npz files (X, y, beta) and values.json (best_known); whole data sets come from
scikit-learn. The last command writes these lines and that of sdp.json into README.md as tables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the libraries that read it
sys.path.insert(0, str(Path(__file__).resolve().parent))  # for a test that loads this file

import cvxpy as cp
import numpy as np
import readme_table
import typer
from instances import Instance, instances
from joblib import Parallel, delayed

from reluopt import printing
from reluopt.bounds import (
    LowerBound,
    affine,
    closed_form,
    exact,
    moment,
    neighbours,
    pairwise,
    simplicial,
    splitting,
    tightened,
)
from reluopt.bounds.hyperplanes import Hyperplanes
from reluopt.bounds.small_rank import SmallRank
from reluopt.certificate.file import write_certificate
from reluopt.clock import Clock
from reluopt.errors import ReluoptError
from reluopt.patterns.arrangement import expected_count
from reluopt.problem import Problem
from reluopt.search.refinement import refine
from reluopt.theory.kernel import instance_factor
from reluopt.training import TrainConfig, Trainer

HERE = Path(__file__).resolve().parent
#: Above this many samples the products of all pairs take too long, and `tightened` leaves them to neighbours.
PAIRWISE_UP_TO = 150
EXACT_UP_TO = 2000  # cells
SOLVE_SECONDS = 40.0
SDP_UP_TO, SDP_SECONDS = 60, 600.0  # samples; seconds for SCS


def bounds(case: Instance, budget: float, device: str) -> dict[str, Callable[[], LowerBound]]:
    """The bounds that fit the instance; of one that nothing was chosen on, those that a user gets."""
    problem = case.problem
    found: dict[str, Callable[[], LowerBound]] = {
        "closed_form": lambda: closed_form(problem),
        "moment": lambda: moment(problem, device=device),
        "affine": lambda: affine(problem, device=device),
        "thorough": lambda: tightened(problem, time_limit=budget, device=device),
    }
    if case.X.shape[1] <= 4 and expected_count(case.X) <= EXACT_UP_TO:
        found["exact"] = lambda: exact(problem)
    if not case.fresh:
        found |= levers(case, budget, device)
    return found


def levers(case: Instance, budget: float, device: str) -> dict[str, Callable[[], LowerBound]]:
    """What ``thorough`` chooses from, each alone."""
    problem = case.problem
    found: dict[str, Callable[[], LowerBound]] = {}
    if len(case.X) <= PAIRWISE_UP_TO:
        found["pairwise"] = lambda: pairwise(problem, time_limit=budget)
        found["splitting"] = lambda: splitting(problem, time_limit=budget)
    else:
        found["neighbours"] = lambda: neighbours(problem, time_limit=budget, device=device)
    if Hyperplanes().suits(problem):
        found["hyperplanes"] = lambda: Hyperplanes().best(problem, clock=Clock(budget))
    if SmallRank().suits(problem):
        found["simplicial"] = lambda: simplicial(problem, time_limit=budget)
    return found


# -- one line each ---------------------------------------------------------------------------------------------------


def proved(case: Instance, run: Callable[[], LowerBound]) -> dict[str, Any]:
    """A bound, its certificate written, and the checker run on it in a process of its own."""
    begun = time.perf_counter()
    bound = run()
    took = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        certificate, data = Path(folder) / "certificate.safetensors", Path(folder) / "data.npz"
        write_certificate(certificate, case.problem, bound=bound)
        np.savez(data, X=case.X, y=case.y)
        started = time.monotonic()
        command = [sys.executable, "-m", "reluopt.certificate.checker", str(certificate), "--data", str(data)]
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        seconds = time.monotonic() - started
    return {
        "bound": bound.value,
        "seconds": took,
        "verified": code == 0,
        "checker_seconds": round(seconds, 3),
    }


def adam(case: Instance) -> dict[str, Any]:
    """The objective of a network trained with the defaults, one seed: an upper bound of p*, not a lower one."""
    started = time.perf_counter()
    config = TrainConfig(loss=case.loss, beta=case.beta, epochs=case.epochs)
    network = config.make_network(case.X.shape[1])
    Trainer(network, case.problem, config=config, progress=False).fit()
    value = case.problem.objective(*network.weights())
    return {"objective": value, "seconds": time.perf_counter() - started, "seed": config.seed, "epochs": case.epochs}


def solve(case: Instance) -> dict[str, Any]:
    """The objective that column generation reaches from nothing: another upper bound."""
    started = time.perf_counter()
    found = refine(case.problem, clock=Clock(SOLVE_SECONDS))
    return {"objective": found.objective, "price": found.price, "seconds": time.perf_counter() - started}


def theory(case: Instance) -> dict[str, Any]:
    """The factor of KP Thm 3.8 in place of the ratio."""
    started = time.perf_counter()
    return {"ratio": instance_factor(case.X), "seconds": time.perf_counter() - started}


def doubly_nonnegative(case: Instance, seconds: float) -> dict[str, Any]:
    """The value of Prakhya, Birdal & Yurtsever's relaxation by SCS: not proved, whatever the status."""
    started = time.perf_counter()
    problem = doubly_nonnegative_sdp(case.problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the solution may be inaccurate: the status says so
        problem.solve(solver="SCS", time_limit_secs=seconds, eps=1e-5, max_iters=10**7)
    value = None if problem.value is None else float(problem.value)
    info = problem.solver_stats.extra_stats["info"]
    return {
        "bound": value,
        "seconds": time.perf_counter() - started,
        "ratio": case.best_known / value if value else None,
        "status": info["status"],
        "steps": info["iter"],
    }


def doubly_nonnegative_sdp(problem: Problem) -> cp.Problem:
    """Prakhya, Birdal & Yurtsever's relaxation: a matrix of size 1 + d + 2n over (1, u, s, p) for each sign."""
    X, y, beta, n, d = problem.X, problem.y, problem.beta, problem.n, problem.d
    rows = np.hstack([np.zeros((n, 1)), X, -np.eye(n), np.eye(n)])  # Xu = s − p
    fit, trace, constraints = 0, 0, []
    for sign in (1, -1):
        M = cp.Variable((1 + d + 2 * n, 1 + d + 2 * n), PSD=True)
        s, p = slice(1 + d, 1 + d + n), slice(1 + d + n, None)
        constraints += [rows @ M == 0, M[0, 1 + d :] >= 0, M[1 + d :, 1 + d :] >= 0, cp.diag(M[s, p]) == 0]
        fit, trace = fit + sign * M[0, s], trace + cp.trace(M[: 1 + d, : 1 + d])
    return cp.Problem(cp.Minimize(cp.sum_squares(fit - y) / 2 + beta / 2 * trace), constraints)


def jobs_of(case: Instance, budget: float, sdp: bool, device: str) -> dict[str, Callable[[], dict[str, Any]]]:
    """What makes the lines of one instance; the networks come first."""
    jobs: dict[str, Callable[[], dict[str, Any]]] = {"adam": lambda: adam(case), "solve": lambda: solve(case)}
    jobs |= {name: partial(proved, case, run) for name, run in bounds(case, budget, device).items()}
    if case.loss == "squared" and not case.fresh:
        jobs["theory (KP Thm 3.8)"] = lambda: theory(case)
    if sdp and len(case.X) <= SDP_UP_TO:
        jobs["dnn sdp (scs)"] = lambda: doubly_nonnegative(case, SDP_SECONDS)
    return jobs


def measured(case: Instance, method: str, settings: tuple[float, bool, str], processor: bool) -> dict[str, Any]:
    """One line, but for what other lines of the instance know; also in a process of its own."""
    if processor:
        time.perf_counter = time.process_time  # one thread: the seconds that one core of its own would take
    cpu, found = time.process_time(), jobs_of(case, *settings)[method]()
    seconds = {"seconds": round(found["seconds"], 3), "cpu_seconds": round(time.process_time() - cpu, 3)}
    return found | seconds | {"clock": "processor" if processor else "wall", "device": settings[2]}


def lines(
    cases: Iterable[Instance], wanted: set[str], settings: tuple[float, bool, str], processor: bool, workers: int
) -> Iterator[dict[str, Any]]:
    """The lines of all instances in order; ``wanted`` are beginnings of method names, none: all."""
    chosen = [
        (case, method)
        for case in cases
        for method in jobs_of(case, *settings)
        if not wanted or any(method.startswith(name) for name in wanted)
    ]
    every = (delayed(measured)(case, method, settings, processor) for case, method in chosen)
    best: dict[str, float] = {}
    for (case, method), found in zip(
        chosen, Parallel(n_jobs=workers, return_as="generator", batch_size=1)(every), strict=True
    ):
        known = min(best.get(case.name, case.best_known), found.get("objective", np.inf))
        best[case.name] = known  # networks come first, and may know better
        if (found.get("bound") or 0) > 0:
            found["ratio"] = known / found["bound"]
        line = {"instance": case.name, "method": method, "bound": None, "seconds": None, "ratio": None}
        line |= {"verified": False, "checker_seconds": None, "beta": case.beta, "best_known": known, "cores": workers}
        yield line | found


def main(
    reference: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of values.json and its npz files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON each, instead of a table.")] = False,
    budget: Annotated[float, typer.Option(help="Seconds for each bound that has a time limit.")] = 120.0,
    mnist: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Only MNIST, from this IDX folder, pixels centred, at 0.1 β_max (pricing).",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only instances whose name contains this (repeatable).")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Only methods that begin like this (repeatable): adam, moment, dnn, …")
    ] = None,
    sdp: Annotated[bool, typer.Option(help="Also the doubly nonnegative SDP by SCS, on small instances.")] = False,
    processor: Annotated[
        bool, typer.Option("--processor", help="Count processor seconds, where others use the machine too.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Lines that are computed at the same time.")] = 1,
    device: Annotated[str, typer.Option(help="Where searches compute: cpu or cuda.")] = "cpu",
    markdown: Annotated[
        Path | None, typer.Option(exists=True, help="Compute nothing: write the lines of this file as README's tables.")
    ] = None,
) -> None:
    """Print the table."""
    if markdown is not None:
        readme_table.refresh(HERE / "README.md", readme_table.read(markdown), readme_table.read(HERE / "sdp.json")[0])
        return
    if reference is None and mnist is None:
        raise typer.BadParameter("give the folder of the reference instances", param_hint="--reference")
    try:
        cases = (
            case
            for case in instances(reference or Path(), mnist)
            if not only or any(part in case.name for part in only)
        )
        for line in lines(cases, set(method or ()), (budget, sdp, device), processor, workers):
            typer.echo(json.dumps(line) if as_json else _row(line))
    except ReluoptError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _row(line: dict[str, Any]) -> str:
    bound, objective = line["bound"], line.get("objective")
    value = "–" if bound is None else printing.below(bound)
    value = value if objective is None else printing.nearest(objective)
    ratio = "–" if line["ratio"] is None else printing.above(line["ratio"], decimals=4)
    mark = "verified" if line["verified"] else line.get("status", "")
    return f"{line['instance']:<22}{line['method']:<22}{value:>12}{ratio:>10}{line['seconds']:>10.2f} s  {mark}"


if __name__ == "__main__":
    typer.run(main)
