"""`reluopt relax`: the polynomial-time algorithm (KP Thm 2.3), saved as a run that `certify` reads."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.relax import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, next_steps, quoted
from reluopt.cli.scripting import command_result
from reluopt.cli.train import show_problem
from reluopt.data import DataConfig
from reluopt.problem import Problem
from reluopt.progress import working
from reluopt.search.config import RelaxConfig
from reluopt.search.polynomial import Relaxation
from reluopt.theory.kernel import log_factor
from reluopt.training import TrainConfig
from reluopt.workflows.relax_run import new_relaxation


def relax_command(
    dataset: str,
    chosen: dict[str, Any],
    out: Path | None,
    config: Path | None,
    replace: bool,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt relax` says; ``chosen`` are settings of training that make the problem, None where unset."""
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    data_config = settle(DataConfig, "data", file["data"], given["data"], where)
    settings = settle(RelaxConfig, "relax", file["relax"], given["relax"], where)
    choice = TrainConfig(**{name: value for name, value in chosen.items() if value is not None})
    with ExitStack() as held:
        with working("reading the data and searching β_max", quiet=quiet):
            work = held.enter_context(
                new_relaxation(data_config, choice, settings, out, replace=replace, load=load_aloud)
            )
        if not quiet:
            show_problem(work.record.data, work.record.problem, work.record.beta_max)
        with working("relaxing", quiet=quiet) as say:
            found = work.find(say)
        if not quiet:
            _show(found, settings.patterns)
        work.keep(found)
    solution, path = found.solution, work.folder.path
    command_result({
        "run": path, "objective": found.objective, "neurons": found.network.width,
        "patterns": len(found.discovery.patterns), "value": solution.value, "dual_value": solution.dual.value,
        "status": solution.status.value, "seconds": solution.seconds,
    })  # fmt: skip
    if quiet:
        console.print(str(path), soft_wrap=True)
    else:
        next_steps(("then", f"reluopt certify {quoted(path)}"))


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
        f"{_theorem(found.program.problem, n)} Below p* it cannot be; how far above, the certificate tells."
    )


def _theorem(problem: Problem, n: int) -> str:
    if problem.biases:
        return f"KP Thm 2.3 is about decayed weights only, and says nothing of p* with {problem.biases.words}."
    return (
        "KP Thm 2.3: found in polynomial time; with enough patterns, for Gaussian X, L ≤ C√log(2n) p* with high "
        f"probability (√log(2n) = {log_factor(n):.3f}; the paper leaves C open)."
    )
