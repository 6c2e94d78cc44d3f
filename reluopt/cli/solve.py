"""`reluopt solve` and `reluopt refine`: a network without training, or from a trained one, and a proof beside it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.certificate.file import write_certificate
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.solve import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, next_steps, quoted, tell
from reluopt.cli.train import show_problem
from reluopt.data import DataConfig
from reluopt.interrupts import Interrupted, exit_code
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.progress import working
from reluopt.runs import RunFolder, write_atomically
from reluopt.search.config import SolveConfig
from reluopt.search.solving import Progress, Solved, SolveInterrupted, solve_problem
from reluopt.tracking.plots import save_race
from reluopt.training import TrainConfig
from reluopt.training.checkpoint import load_weights, save_weights
from reluopt.workflows.new_run import new_run
from reluopt.workflows.prepare import for_loss, prepare
from reluopt.workflows.runs import RunRecord, next_folder, read_run, where_it_started

#: Seconds between two lines of the live table.
LINE_EVERY = 1.0
WORDS = {
    "gap": "the gap asked for is proved",
    "budget": "the budget is over",
    "exhausted": "neither network nor bound found anything more",
    "interrupted": "interrupted",
}


def solve(
    dataset: str,
    beta: float | None,
    beta_fraction: float | None,
    loss: str,
    class_weight: str | None,
    out: Path | None,
    config: Path | None,
    replace: bool,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt solve` says."""
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    choice = TrainConfig(beta=beta, beta_fraction=beta_fraction, loss=loss, class_weight=class_weight)
    data_config = for_loss(settle(DataConfig, "data", file["data"], given["data"], where), loss)
    settings = settle(SolveConfig, "solve", file["solve"], given["solve"], where)
    with working("reading the data and searching β_max", quiet=quiet):
        prepared = prepare(data_config, choice, load_aloud)
    record = RunRecord(prepared.data, choice, prepared.problem, prepared.beta_max)
    run = RunFolder(out or next_folder(record.data.name))
    _run(run, data_config.to_mapping(), record, settings, None, replace, quiet, "reluopt solve")


def refine(
    run: Path, out: Path | None, config: Path | None, replace: bool, quiet: bool, given: dict[str, dict[str, Any]]
) -> None:
    """Do what `reluopt refine` says."""
    file = read_toml(config, TABLES)
    settings = settle(SolveConfig, "solve", file["solve"], given["solve"], str(config or "the command line"))
    source = RunFolder.open(run)
    record = read_run(source)
    network = from_weights(*load_weights(source))
    target = RunFolder(out or next_folder(record.data.name))
    _run(target, source.config()["data"], record, settings, network, replace, quiet, "reluopt refine")


def _run(
    run: RunFolder,
    data: dict[str, Any],
    record: RunRecord,
    settings: SolveConfig,
    network: TwoLayerReLU | None,
    replace: bool,
    quiet: bool,
    command: str,
) -> None:
    run.require_free(overwrite=replace, need=2**20)
    if not quiet:
        show_problem(record.data, record.problem, record.beta_max)
    beta, loss = record.problem.beta, {"loss": record.train.loss, "class_weight": record.train.class_weight}
    facts = {"beta": beta, "beta_max_estimate": record.beta_max, "fingerprint": record.data.fingerprint}
    tables = {
        "data": data,
        "train": {name: value for name, value in loss.items() if value is not None},
        "run": {**where_it_started(run), **facts, "solve": settings.to_mapping()},
    }
    with run.locked():
        solved, stop = _solved(record.problem, settings, network, quiet)
        if not quiet:
            _show(solved)
        _keep(run, tables, solved, network, record, replace, command)
    if quiet:
        console.print(str(run.path), soft_wrap=True)
    else:
        next_steps(("all estimates of this network, for 'reluopt verify'", f"reluopt certify {quoted(run.path)}"))
    if stop is not None:
        raise Interrupted("Interrupted: the run holds what was found and proved by then.", exit_code(stop) - 128)


def _solved(
    problem: Problem, settings: SolveConfig, network: TwoLayerReLU | None, quiet: bool
) -> tuple[Solved, KeyboardInterrupt | None]:
    shown = [-math.inf]

    def line(now: Progress) -> None:
        if now.seconds - shown[0] >= LINE_EVERY:
            shown[0] = now.seconds
            tell(_row(now))

    if not quiet:
        tell(f"{'seconds':>8} {'L':>13} {'bound':>13} {'within':>9} {'price/β':>9} {'neurons':>8}")
    try:
        solved = solve_problem(
            problem, gap=settings.gap, budget=settings.budget, network=network, seed=settings.seed,
            tolerance=settings.tolerance, callback=None if quiet else line,
        )  # fmt: skip
    except SolveInterrupted as stop:
        return stop.solved, stop
    if not quiet and solved.trace:
        tell(_row(solved.trace[-1]))
    return solved, None


def _row(now: Progress) -> str:
    bound = printing.below(now.bound, 7) if math.isfinite(now.bound) else "-"
    within = printing.percent_above(now.gap, 3) if math.isfinite(now.gap) else "-"
    return (
        f"{now.seconds:8.1f} {printing.above(now.objective, 7):>13} {bound:>13} {within:>9} "
        f"{now.price:9.5f} {now.neurons:8d}"
    )


def _show(solved: Solved) -> None:
    below = "no bound was proved in time"
    if solved.bound is not None:
        within = f", so L is within {printing.percent_above(solved.gap, 3)} of the optimum (proved)"
        below = f"p* ≥ {printing.below(solved.bound.value, 8)} ({solved.bound.method})"
        below += within if math.isfinite(solved.gap) else ""
    console.print(
        f"{WORDS[solved.status]} after {solved.seconds:.1f} s: {solved.refined.neurons} neurons, "
        f"L ≤ {printing.above(solved.objective, 8)}, largest price found {solved.refined.price:.5f} β\n{below}",
        soft_wrap=True,
    )


def _keep(
    run: RunFolder,
    tables: dict[str, Any],
    solved: Solved,
    start: TwoLayerReLU | None,
    record: RunRecord,
    replace: bool,
    command: str,
) -> None:
    """Make the run, whole or not at all."""
    with new_run(run, tables, overwrite=replace) as new:
        for which, network in (("initial", start or solved.network), ("latest", solved.network)):
            save_weights(new, which, network, record.problem, command)
        lines = [{k: v if math.isfinite(v) else None for k, v in asdict(line).items()} for line in solved.trace]
        write_atomically(new.path / "solve.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        save_race(new.path / "gap.png", [asdict(line) for line in solved.trace], record.data.name)
        if solved.bound is not None:
            about = {"name": record.data.name, "preprocessing": record.data.preprocessing}
            proof = partial(write_certificate, network=solved.network.weights(), data=about)
            proof(new.proof_file, record.problem, bound=solved.bound)
