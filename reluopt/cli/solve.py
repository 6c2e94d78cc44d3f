"""`reluopt solve` and `reluopt refine`: a network without training, or from a trained one, and a proof beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.solve import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, next_steps, quoted, tell
from reluopt.cli.scripting import command_result
from reluopt.cli.train import LINE_EVERY, every, show_problem
from reluopt.data import DataConfig
from reluopt.errors import ConfigError
from reluopt.interrupts import Interrupted, exit_code
from reluopt.progress import working
from reluopt.search.config import SolveConfig
from reluopt.search.records import Progress, Solved
from reluopt.training import TrainConfig
from reluopt.workflows.search_run import SearchRun, new_refinement, new_search, resumed_search

WORDS = {
    "gap": "the gap asked for is proved",
    "budget": "the budget is over",
    "exhausted": "neither network nor bound found anything more",
    "interrupted": "interrupted",
}


def solve_command(
    dataset: str | None,
    chosen: dict[str, Any],
    out: Path | None,
    config: Path | None,
    resume: Path | None,
    replace: bool,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt solve` says; ``chosen`` are settings of training that make the problem, None where unset."""
    if resume is not None:
        others = {"DATASET": dataset, "--out": out, "--config": config, "--replace": replace or None}
        others |= {f"--{name.replace('_', '-')}": value for name, value in chosen.items()}
        clash = [name for name, value in others.items() if value is not None]
        clash += [f"--{name.replace('_', '-')}" for name in given["data"]]
        if clash:
            raise ConfigError(
                f"--resume was given with {', '.join(clash)}.", "A run keeps its problem: leave them out."
            )

        def changed(stored: Mapping[str, Any], where: str) -> SolveConfig:
            return settle(SolveConfig, "run.solve", dict(stored), given["solve"], where)

        with resumed_search(resume, changed) as search:
            _run(search, quiet)
        return
    if dataset is None:
        raise ConfigError("No data set was named.", "Try: reluopt solve breast_cancer")
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    choice = TrainConfig(**{name: value for name, value in chosen.items() if value is not None})
    data_config = settle(DataConfig, "data", file["data"], given["data"], where)
    settings = settle(SolveConfig, "solve", file["solve"], given["solve"], where)
    with ExitStack() as held:
        with working("reading the data and searching β_max", quiet=quiet):
            search = held.enter_context(
                new_search(data_config, choice, settings, out, replace=replace, load=load_aloud)
            )
        _run(search, quiet)


def refine_command(
    run: Path, out: Path | None, config: Path | None, replace: bool, quiet: bool, given: dict[str, dict[str, Any]]
) -> None:
    """Do what `reluopt refine` says."""
    file = read_toml(config, TABLES)
    settings = settle(SolveConfig, "solve", file["solve"], given["solve"], str(config or "the command line"))
    with new_refinement(run, settings, out, replace=replace) as search:
        _run(search, quiet)


def _run(search: SearchRun, quiet: bool) -> None:
    record, path = search.record, search.folder.path
    if not quiet:
        show_problem(record.data, record.problem, record.beta_max)
        tell(f"{'seconds':>8} {'L':>13} {'bound':>13} {'within':>9} {'price/β':>9} {'neurons':>8}")
    solved, stop = search.find(None if quiet else every(LINE_EVERY, lambda now: tell(_row(now))))
    if not quiet:
        if solved.trace and stop is None:
            tell(_row(solved.trace[-1]))
        _show(solved)
    search.keep(solved)
    if stop is None:
        search.certify(solved)
    command_result({
        "run": path, "status": solved.status, "seconds": solved.seconds, "objective": solved.objective,
        "lower_bound": None if solved.bound is None else solved.bound.value,
        "method": None if solved.bound is None else solved.bound.method, "proved_within": solved.gap,
        "neurons": solved.refined.neurons, "price": solved.refined.price,
    })  # fmt: skip
    if quiet:
        console.print(str(path), soft_wrap=True)
    else:
        next_steps(("all estimates of this network, for 'reluopt verify'", f"reluopt certify {quoted(path)}"))
    if stop is not None:
        raise Interrupted(
            f"Interrupted: the run holds what was found and proved by then. Go on: "
            f"reluopt solve --resume {quoted(path)}",
            exit_code(stop) - 128,
        )


def _row(now: Progress) -> str:
    bound = printing.below(now.bound, 7) if math.isfinite(now.bound) else "-"
    within = printing.percent_above(now.gap, 3) if math.isfinite(now.gap) else "-"
    return (
        f"{now.seconds:8.1f} {printing.above(now.objective, 7):>13} {bound:>13} {within:>9} "
        f"{printing.nearest(now.price, decimals=5):>9} {now.neurons:8d}"
    )


def _show(solved: Solved) -> None:
    below = "no bound was proved in time"
    if solved.bound is not None:
        within = f", so L is within {printing.percent_above(solved.gap, 3)} of the optimum (proved)"
        below = f"p* ≥ {printing.below(solved.bound.value, 8)} ({solved.bound.method})"
        below += within if math.isfinite(solved.gap) else ""
    price = printing.nearest(solved.refined.price, decimals=5)
    console.print(
        f"{WORDS[solved.status]} after {solved.seconds:.1f} s: {solved.refined.neurons} neurons, "
        f"L ≤ {printing.above(solved.objective, 8)}, largest price found {price} β\n{below}",
        soft_wrap=True,
    )
