"""Solvers side by side on instances in npz files, in one run, each in a process of its own.

    python experiments/benchmarks/compare.py DIR --instances a,b --solvers native,clarabel --beta 0.01 --json
    python experiments/benchmarks/compare.py DIR --instances b --program gated --solvers native,celer --tol 1e-4,1e-6

DIR holds files with X (n, d), y (n,), G (d, P). A tolerance counts as reached when |objective − optimum| ≤ tol of the
objective *and* the largest cone violation is ≤ tol ("strict"); the optimum is a dual value proved beforehand. The
seconds are those of the cheapest effort that reached it, statement included, imports and compilation not. One thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import queue
import sys
import time
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
for variable in THREADS:  # before numpy and torch are imported, here and in the workers
    os.environ[variable] = "1"
sys.path.insert(0, str(Path(__file__).parent / "convex_relu"))

from benchmark_utils import instances, judge, peers  # noqa: E402

log = logging.getLogger("compare")
COLUMNS = ("instance", "solver", "tol", "seconds", "objective", "gap", "violation", "peak_mb")


def main() -> None:
    arguments = parse()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not arguments.json:
        print("  ".join(f"{name:>13}" for name in COLUMNS))
    for name in arguments.instances.split(","):
        program = instances.load(arguments.folder, name).program(arguments.program, arguments.beta, arguments.loss)
        lower = judge.reference(program)
        for solver in arguments.solvers.split(","):
            for line in compare(name, program, solver, arguments, lower):
                print(json.dumps(line) if arguments.json else table_row(line), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with npz files")
    parser.add_argument("--instances", default="a", help="names of files, without .npz, separated by commas")
    parser.add_argument("--solvers", default="native,clarabel", help=f"of {', '.join(peers.SOLVERS)}")
    parser.add_argument("--program", default="relaxed", choices=sorted(instances.PROGRAMS))
    parser.add_argument(
        "--loss", default="squared", help="squared, logistic, huber:1.5, ...; classes are the signs of y"
    )
    parser.add_argument("--beta", type=float, default=0.01, help="β/β_max, β_max over the patterns, without cones")
    parser.add_argument("--tol", default="1e-2,1e-3,1e-4,1e-6", help="tolerances, separated by commas")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a solver may take for an instance")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the fastest counts")
    parser.add_argument("--json", action="store_true", help="one JSON line per instance, solver and tolerance")
    arguments = parser.parse_args()
    unknown = set(arguments.solvers.split(",")) - set(peers.SOLVERS)
    if unknown:
        parser.error(f"no solver {', '.join(sorted(unknown))}; there are {', '.join(peers.SOLVERS)}")
    for name in arguments.instances.split(","):
        if not (arguments.folder / f"{name}.npz").is_file():
            parser.error(f"{arguments.folder / name}.npz is not there")
    return arguments


def compare(name, program, solver: str, arguments: argparse.Namespace, lower: float):
    """One line for each tolerance; none where the solver can not be used."""
    if absent := peers.missing(solver):
        log.warning("%s is left out: %s is not installed", solver, ", ".join(absent))
        return
    if solver in peers.GATED_ONLY and program.has_cones:
        log.warning("%s is left out: it solves gated programs only", solver)
        return
    if program.problem.loss.name not in peers.LOSSES.get(solver, (program.problem.loss.name,)):
        log.warning("%s is left out: it does not take the %s loss", solver, program.problem.loss.name)
        return
    tolerances = [float(t) for t in arguments.tol.split(",")]
    results, peak = in_a_process(program, solver, tolerances, arguments)
    for tol in tolerances:
        judged = [(seconds, judge.judge(program, blocks, lower)) for seconds, blocks in results]
        good = [j for j in judged if j[1]["gap"] <= tol and j[1]["violation"] <= tol]
        best = min(judged, key=lambda j: max(j[1]["gap"], j[1]["violation"]), default=(None, {}))
        seconds, values = min(good, key=lambda j: j[0]) if good else (None, best[1])
        line = dict.fromkeys(COLUMNS) | {"instance": name, "solver": solver, "tol": tol, "seconds": seconds}
        # + 0.0 makes a violation of -0.0 zero
        yield line | {name: value + 0.0 for name, value in values.items()} | {"peak_mb": peak}


def in_a_process(program, solver: str, tolerances: list[float], arguments: argparse.Namespace):
    """([(seconds, blocks), …], peak resident megabytes) of all efforts that fitted into the limit."""
    context = multiprocessing.get_context("spawn")
    pipe = context.Queue()
    worker = context.Process(target=work, args=(pipe, program, solver, tolerances, arguments.repeat), daemon=True)
    worker.start()
    results, peak = [], None
    started, budget = time.monotonic(), arguments.limit + 60.0  # until the worker has imported and compiled
    while True:
        try:
            message = pipe.get(timeout=max(0.1, started + budget - time.monotonic()))
        except queue.Empty:
            break
        if message == "ready":
            started, budget = time.monotonic(), arguments.limit
        elif message is None:
            break
        elif isinstance(message, str):
            log.warning("%s: %s", solver, message)
        else:
            seconds, blocks, peak = message
            results.append((seconds, blocks))
    worker.terminate()
    worker.join()
    return results, peak


def work(pipe, program, solver: str, tolerances: list[float], repeat: int) -> None:
    """In the worker: every effort in turn, cheapest first, until one is far below the last tolerance."""
    import torch

    torch.set_num_threads(1)
    solve = peers.SOLVERS[solver]
    kind, loss = "relaxed" if program.has_cones else "gated", program.problem.loss.spec
    small = instances.planted(12, 3, 4).program(kind, 0.1, loss)
    try:
        solve(small, 8.0 if solver == "pyscnn" else 1e-2)  # imports and compilation
        pipe.put("ready")
        for effort in dict.fromkeys(e for tol in tolerances for e in peers.efforts(solver, tol)):
            for _ in range(repeat):
                start = time.perf_counter()
                blocks = solve(program, effort)
                pipe.put((time.perf_counter() - start, blocks, peak_mb()))
    except Exception as error:  # a peer that fails is reported, and the others go on
        pipe.put(f"gave up: {type(error).__name__}: {error}")
    pipe.put(None)


def peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table_row(line: dict) -> str:
    cells = (line[name] for name in COLUMNS)
    return "  ".join(f"{cell:13.6g}" if isinstance(cell, float) else f"{cell or '–':>13}" for cell in cells)


if __name__ == "__main__":
    main()
