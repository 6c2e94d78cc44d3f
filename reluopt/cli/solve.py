"""`reluopt solve` and `reluopt refine`: a network without training, or from a trained one, and a proof beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.bounds import LowerBound
from reluopt.certificate.config import CertifyConfig
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.solve import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, next_steps, quoted, tell
from reluopt.cli.scripting import result
from reluopt.cli.train import show_problem
from reluopt.data import DataConfig
from reluopt.errors import ConfigError
from reluopt.interrupts import Interrupted, exit_code
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.progress import working
from reluopt.runs import RunFolder
from reluopt.search.config import SolveConfig
from reluopt.search.records import Earlier, Progress, Solved, SolveInterrupted
from reluopt.search.solving import solve_problem
from reluopt.training import TrainConfig
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.certification import certify_run, keep_certificate, read_trained
from reluopt.workflows.prepare import for_loss, prepare
from reluopt.workflows.runs import RunRecord, next_folder, read_run, where_it_started
from reluopt.workflows.solve_run import SolveRun, read_earlier

#: Seconds between two lines of the live table.
LINE_EVERY = 1.0
#: The certificate of the end has this share of the budget more.
CERTIFY_SHARE = 0.1
WORDS = {
    "gap": "the gap asked for is proved",
    "budget": "the budget is over",
    "exhausted": "neither network nor bound found anything more",
    "interrupted": "interrupted",
}


def solve(
    dataset: str | None,
    beta: float | None,
    beta_fraction: float | None,
    loss: str | None,
    class_weight: str | None,
    out: Path | None,
    config: Path | None,
    resume: Path | None,
    replace: bool,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt solve` says."""
    if resume is not None:
        others = {"DATASET": dataset, "--beta": beta, "--beta-fraction": beta_fraction, "--out": out}
        others |= {"--config": config, "--class-weight": class_weight, "--loss": loss, "--replace": replace or None}
        clash = [name for name, value in others.items() if value is not None]
        clash += [f"--{name.replace('_', '-')}" for name in given["data"]]
        if clash:
            raise ConfigError(
                f"--resume was given with {', '.join(clash)}.", "A run keeps its problem: leave them out."
            )
        _go_on(RunFolder.open(resume), given["solve"], quiet)
        return
    if dataset is None:
        raise ConfigError("No data set was named.", "Try: reluopt solve breast_cancer")
    loss = loss or "squared"
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    choice = TrainConfig(beta=beta, beta_fraction=beta_fraction, loss=loss, class_weight=class_weight)
    data_config = for_loss(settle(DataConfig, "data", file["data"], given["data"], where), loss)
    settings = settle(SolveConfig, "solve", file["solve"], given["solve"], where)
    with working("reading the data and searching β_max", quiet=quiet):
        prepared = prepare(data_config, choice, load_aloud)
    record = RunRecord(prepared.data, choice, prepared.problem, prepared.beta_max)
    run = RunFolder(out or next_folder(record.data.name))
    _begin(run, data_config.to_mapping(), record, settings, None, replace, quiet, "reluopt solve")


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
    _begin(target, source.config()["data"], record, settings, network, replace, quiet, "reluopt refine")


def _begin(
    run: RunFolder,
    data: dict[str, Any],
    record: RunRecord,
    settings: SolveConfig,
    network: TwoLayerReLU | None,
    replace: bool,
    quiet: bool,
    command: str,
) -> None:
    """A new run."""
    run.require_free(overwrite=replace, need=2**20)
    beta, loss = record.problem.beta, {"loss": record.train.loss, "class_weight": record.train.class_weight}
    facts = {"beta": beta, "beta_max_estimate": record.beta_max, "fingerprint": record.data.fingerprint}
    tables = {
        "data": data,
        "train": {name: value for name, value in loss.items() if value is not None},
        "run": {**where_it_started(run), **facts, "solve": settings.to_mapping()},
    }
    with run.locked():
        _run(SolveRun(run, record, tables, network, command, replace=replace), settings, network, None, quiet)


def _go_on(run: RunFolder, given: dict[str, Any], quiet: bool) -> None:
    """An earlier run, from where it was left; a longer budget or a smaller gap may be given."""
    with run.locked():
        record, tables = read_run(run), run.config()
        where = f"[run.solve] of '{run.config_file}'"
        settings = settle(SolveConfig, "run.solve", tables.get("run", {}).get("solve", {}), given, where)
        earlier = read_earlier(run, record.problem)
        network = from_weights(*load_weights(run))
        tables["run"]["solve"] = settings.to_mapping()
        _run(SolveRun(run, record, tables, network, "reluopt solve", goes_on=True), settings, network, earlier, quiet)


def _run(
    keeper: SolveRun, settings: SolveConfig, network: TwoLayerReLU | None, earlier: Earlier | None, quiet: bool
) -> None:
    run, record = keeper.run, keeper.record
    if not quiet:
        show_problem(record.data, record.problem, record.beta_max)
    solved, stop = _solved(keeper, settings, network, earlier, quiet)
    if not quiet:
        _show(solved)
    keeper.keep(solved)
    keeper.close()
    if solved.bound is not None and stop is None:
        _certify(run, solved.bound, settings.budget)
    result({
        "run": run.path, "status": solved.status, "seconds": solved.seconds, "objective": solved.objective,
        "lower_bound": None if solved.bound is None else solved.bound.value,
        "method": None if solved.bound is None else solved.bound.method, "proved_within": solved.gap,
        "neurons": solved.refined.neurons, "price": solved.refined.price,
    })  # fmt: skip
    if quiet:
        console.print(str(run.path), soft_wrap=True)
    else:
        next_steps(("all estimates of this network, for 'reluopt verify'", f"reluopt certify {quoted(run.path)}"))
    if stop is not None:
        raise Interrupted(
            f"Interrupted: the run holds what was found and proved by then. Go on: "
            f"reluopt solve --resume {quoted(run.path)}",
            exit_code(stop) - 128,
        )


def _certify(run: RunFolder, bound: LowerBound, budget: float) -> None:
    """The run's certificate with the bound that was proved, without any other."""
    limit = max(1.0, CERTIFY_SHARE * budget)
    trained = read_trained(run)
    settings = CertifyConfig(effort="fast", time_budget=0.0, time_limit=limit)
    certificate, stop = certify_run(trained, settings, bound=bound)
    keep_certificate(trained, certificate)
    if stop is not None:
        raise stop


def _solved(
    keeper: SolveRun, settings: SolveConfig, network: TwoLayerReLU | None, earlier: Earlier | None, quiet: bool
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
            keeper.record.problem, gap=settings.gap, budget=settings.budget, network=network, seed=settings.seed,
            tolerance=settings.tolerance, callback=None if quiet else line,
            keep=keeper.keep, earlier=earlier,
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
