"""`reluopt relax`: the polynomial-time algorithm (KP Thm 2.3), saved as a run that `certify` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reluopt import printing
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.relax import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, next_steps, quoted
from reluopt.cli.scripting import result
from reluopt.cli.train import show_problem
from reluopt.data import DataConfig
from reluopt.progress import working
from reluopt.runs import RunFolder
from reluopt.search.config import RelaxConfig
from reluopt.search.polynomial import Relaxation, relax
from reluopt.solvers import NativeSolver, VectorSolver
from reluopt.theory.kernel import log_factor
from reluopt.training import TrainConfig
from reluopt.training.checkpoint import save_weights
from reluopt.workflows.new_run import new_run
from reluopt.workflows.prepare import Prepared, for_loss, prepare
from reluopt.workflows.runs import next_folder, where_it_started


def relax_command(
    dataset: str,
    beta: float | None,
    beta_fraction: float | None,
    loss: str,
    out: Path | None,
    config: Path | None,
    replace: bool,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt relax` says."""
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    data_config = settle(DataConfig, "data", file["data"], given["data"], where)
    settings = settle(RelaxConfig, "relax", file["relax"], given["relax"], where)
    choice = TrainConfig(beta=beta, beta_fraction=beta_fraction, loss=loss)
    data_config = for_loss(data_config, loss)
    with working("reading the data and searching β_max", quiet=quiet):
        prepared = prepare(data_config, choice, load_aloud)
    data, problem = prepared.data, prepared.problem
    run = RunFolder(out or next_folder(data.name))
    run.require_free(overwrite=replace, need=2**20)
    if not quiet:
        show_problem(data, problem, prepared.beta_max)
    of = NativeSolver if problem.outputs == 1 else VectorSolver
    solver = of(tolerance=settings.tolerance, time_limit=settings.time_limit)
    rng = np.random.default_rng(settings.seed)
    with run.locked():
        with working("relaxing", quiet=quiet) as say:
            found = relax(problem, patterns=settings.patterns, rng=rng, solver=solver, say=say)
        if not quiet:
            _show(found, settings.patterns)
        record = {
            **where_it_started(run),
            "beta": problem.beta,
            "beta_max_estimate": prepared.beta_max,
            "fingerprint": data.fingerprint,
            "relax": settings.to_mapping(),
        }
        tables = {"data": data_config.to_mapping(), "train": {"loss": loss}, "run": record}
        _save(run, tables, found, prepared, replace)
    solution = found.solution
    result({
        "run": run.path, "objective": found.objective, "neurons": found.network.width,
        "patterns": len(found.discovery.patterns), "value": solution.value, "dual_value": solution.dual.value,
        "status": solution.status.value, "seconds": solution.seconds,
    })  # fmt: skip
    if quiet:
        console.print(str(run.path), soft_wrap=True)
    else:
        next_steps(("then", f"reluopt certify {quoted(run.path)}"))


def _save(run: RunFolder, tables: dict[str, Any], found: Relaxation, prepared: Prepared, replace: bool) -> None:
    """Make the run, whole or not at all."""
    with new_run(run, tables, overwrite=replace, preparation=prepared.data.preparation) as new:
        # nothing moved: the start and the end are the same network
        for which in ("initial", "latest"):
            save_weights(new, which, found.network, prepared.problem, "reluopt relax")


def _show(found: Relaxation, asked: int) -> None:
    solution, sample = found.solution, found.discovery
    n = len(found.program.X)
    fewer = "" if sample.reached else f" (of the {asked:,} asked for: X has no more, or the rest are rare)"
    console.print(
        f"{len(sample.patterns)} distinct patterns{fewer} after {sample.draws[-1]} gates "
        f"({sample.new_rate:.0%} of the last ones were new)\n"
        f"p̃(S) is between {printing.below(solution.dual.value, 8)} (proved) and {printing.above(solution.value, 8)} "
        f"({solution.status.value}, {solution.seconds:.1f} s)\n"
        f"network of {found.network.width} neurons, L = {printing.above(found.objective, 8)}\n"
        f"KP Thm 2.3: found in polynomial time; with enough patterns, for Gaussian X, L ≤ C√log(2n) p* with high "
        f"probability (√log(2n) = {log_factor(n):.3f}; the paper leaves C open). Below p* it cannot be; how far "
        "above, the certificate tells."
    )
