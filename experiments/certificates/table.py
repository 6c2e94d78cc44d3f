"""Every lower bound on every instance: its value, its time, its distance from the best network known, its certificate.

    .venv/bin/python experiments/certificates/table.py --reference ../shared/reference --json > table.jsonl

One line of JSON an instance and method: instance, method, bound, seconds, ratio (best known / bound, so 1 is optimal),
verified (the independent checker, in its own process, accepted the certificate file), checker_seconds. The reference
folder holds npz files (X, y, beta) and values.json (best_known); whole data sets come from scikit-learn.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cvxpy as cp
import numpy as np
import typer

from reluopt.bounds import LowerBound, closed_form, exact, moment, pairwise, splitting
from reluopt.certificate.file import write_certificate
from reluopt.data import DataConfig, load_dataset
from reluopt.errors import ReluoptError
from reluopt.patterns.arrangement import expected_count
from reluopt.theory.kernel import instance_factor

#: β and the best objective known (by column generation with local pricing) of the whole data sets.
WHOLE = {
    "breast_cancer_b0.1": (87.626, 103.209),
    "breast_cancer_b0.01": (8.7626, 38.895),
    "diabetes_b0.1": (31.8771, 129.848),
    "diabetes_b0.01": (3.18771, 85.351),
    "digits_b0.1": (127.766, 327.509),
    "digits_b0.01": (12.7766, 82.394),
}
#: Above this many samples the products of all pairs take too long.
PAIRWISE_UP_TO = 700
EXACT_UP_TO = 2000  # cells
SDP_UP_TO = 60  # samples


@dataclass(frozen=True)
class Instance:
    """One problem and the best objective known for it."""

    name: str
    X: np.ndarray
    y: np.ndarray
    beta: float
    best_known: float


def instances(reference: Path) -> Iterator[Instance]:
    """The reference folder's instances, then the whole data sets."""
    for name, values in json.loads((reference / "values.json").read_text()).items():
        file = np.load(reference / f"{name}.npz")
        yield Instance(name, file["X"], file["y"], float(file["beta"]), values["best_known"])
    for name, (beta, best) in WHOLE.items():
        data = load_dataset(DataConfig(dataset=name.rsplit("_", 1)[0]))
        yield Instance(name, data.X, data.y, beta, best)


def methods(case: Instance, budget: float) -> dict[str, Callable[[], LowerBound]]:
    """The bounds that fit the instance."""
    problem = (case.X, case.y, case.beta)
    found: dict[str, Callable[[], LowerBound]] = {
        "closed_form": lambda: closed_form(*problem),
        "moment": lambda: moment(*problem),
    }
    if len(case.X) <= PAIRWISE_UP_TO:
        found["pairwise"] = lambda: pairwise(*problem, time_limit=budget)
    found["splitting"] = lambda: splitting(*problem, time_limit=budget)
    if case.X.shape[1] <= 4 and expected_count(case.X) <= EXACT_UP_TO:
        found["exact"] = lambda: exact(*problem)
    return found


def checked(case: Instance, bound: LowerBound) -> tuple[bool, float]:
    """Write the certificate and run the checker on it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, data = Path(folder) / "certificate.safetensors", Path(folder) / "data.npz"
        write_certificate(certificate, case.X, case.y, case.beta, bound)
        np.savez(data, X=case.X, y=case.y)
        started = time.perf_counter()
        command = [sys.executable, "-m", "reluopt.certificate.checker", str(certificate), "--data", str(data)]
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        return code == 0, time.perf_counter() - started


def doubly_nonnegative_sdp(case: Instance, seconds: float) -> float:
    """Prakhya, Birdal & Yurtsever's relaxation, size 2n + d + 1 for each sign, by CVXPY and SCS (not a proof)."""
    X, (n, d) = case.X, case.X.shape
    rows = np.hstack([np.zeros((n, 1)), X, -np.eye(n), np.eye(n)])  # Xu = s − p
    fit, trace, constraints = 0, 0, []
    for sign in (1, -1):
        M = cp.Variable((1 + d + 2 * n, 1 + d + 2 * n), PSD=True)
        s, p = slice(1 + d, 1 + d + n), slice(1 + d + n, None)
        constraints += [rows @ M == 0, M[0, 1 + d :] >= 0, M[1 + d :, 1 + d :] >= 0, cp.diag(M[s, p]) == 0]
        fit, trace = fit + sign * M[0, s], trace + cp.trace(M[: 1 + d, : 1 + d])
    objective = cp.sum_squares(fit - case.y) / 2 + case.beta / 2 * trace
    problem = cp.Problem(cp.Minimize(objective), constraints)
    problem.solve(solver="SCS", time_limit_secs=seconds, eps=1e-5)
    return float(problem.value)


def lines(case: Instance, budget: float, wanted: set[str], sdp: bool) -> Iterator[dict[str, Any]]:
    """The lines of one instance."""
    for method, run in methods(case, budget).items():
        if wanted and method not in wanted:
            continue
        bound = run()
        verified, seconds = checked(case, bound)
        ratio = case.best_known / bound.value if bound.value > 0 else None
        yield _line(case, method, bound.value, bound.seconds, ratio, verified, seconds)
    if not wanted or "theory" in wanted:
        started = time.perf_counter()
        factor = instance_factor(case.X)
        yield _line(case, "theory (KP Thm 3.8)", None, time.perf_counter() - started, factor, False, None)
    if sdp and len(case.X) <= SDP_UP_TO:
        started = time.perf_counter()
        value = doubly_nonnegative_sdp(case, 600.0)
        yield _line(case, "dnn sdp (scs)", value, time.perf_counter() - started, case.best_known / value, False, None)


def _line(
    case: Instance,
    method: str,
    bound: float | None,
    seconds: float,
    ratio: float | None,
    verified: bool,
    checker: float | None,
) -> dict[str, Any]:
    return {
        "instance": case.name,
        "method": method,
        "bound": bound,
        "seconds": round(seconds, 3),
        "ratio": ratio if ratio is not None and math.isfinite(ratio) else None,
        "verified": verified,
        "checker_seconds": None if checker is None else round(checker, 3),
    }


def main(
    reference: Annotated[Path, typer.Option(help="Folder with values.json and the npz files it names.")],
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON each, instead of a table.")] = False,
    budget: Annotated[float, typer.Option(help="Seconds for pairwise and splitting, each.")] = 120.0,
    only: Annotated[
        list[str] | None, typer.Option(help="Only instances whose name contains this (repeatable).")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods (repeatable).")] = None,
    sdp: Annotated[bool, typer.Option(help="Also the doubly nonnegative SDP by SCS, on small instances.")] = False,
) -> None:
    """Print the table."""
    try:
        for case in instances(reference):
            if not only or any(part in case.name for part in only):
                for line in lines(case, budget, set(method or ()), sdp):
                    typer.echo(json.dumps(line) if as_json else _row(line))
    except ReluoptError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _row(line: dict[str, Any]) -> str:
    value = "–" if line["bound"] is None else f"{line['bound']:.6g}"
    ratio = "–" if line["ratio"] is None else f"{line['ratio']:.4f}"
    mark = "verified" if line["verified"] else ""
    return f"{line['instance']:<22}{line['method']:<22}{value:>12}{ratio:>10}{line['seconds']:>10.2f} s  {mark}"


if __name__ == "__main__":
    typer.run(main)
