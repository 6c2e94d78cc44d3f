"""`reluopt theory`: what the paper's theorems say about a data set."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.table import Table

from reluopt import printing
from reluopt.bounds import moment
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.theory import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, styled
from reluopt.data import DataConfig
from reluopt.progress import working
from reluopt.theory.report import TheoryConfig, report
from reluopt.theory.statement import Hypothesis, Statement
from reluopt.training import TrainConfig
from reluopt.workflows.prepare import for_loss, prepare

#: Seconds for the moment bound; it is proved whenever it stops.
MOMENT_SECONDS = 60.0

_STYLES = {Hypothesis.HOLDS: "green", Hypothesis.FAILS: "red", Hypothesis.ASSUMED: "yellow"}


def theory(
    dataset: str,
    beta: float | None,
    beta_fraction: float | None,
    loss: str,
    config: Path | None,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt theory` says."""
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    data_config = for_loss(settle(DataConfig, "data", file["data"], given["data"], where), loss)
    settings = settle(TheoryConfig, "theory", file["theory"], given["theory"], where)
    choice = TrainConfig(beta=beta, beta_fraction=beta_fraction, loss=loss)
    with working("reading the data and searching β_max", quiet=quiet) as say:
        prepared = prepare(data_config, choice, load_aloud, "'reluopt theory'")
        problem = prepared.problem
        say("bounding p* from below")
        lower = moment(problem, time_limit=MOMENT_SECONDS).value
        lines = report(problem, config=settings, lower=lower, say=say)
    share = f"β = {problem.beta:.6g} = {problem.beta / prepared.beta_max:.4g} β_max"
    title = f"{prepared.data.name}: n = {problem.n}, d = {problem.d}, {problem.loss.spec} loss, {share}"
    console.print(_table(title, lines))
    console.print("Beside this, proved: " + f"p* ≥ {printing.below(lower, 8)} (moment bound).")


def _table(title: str, lines: list[Statement]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("theorem", "what", "value", "hypothesis", "beside it"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for line in lines:
        style = _STYLES[line.hypothesis]
        table.add_row(
            line.theorem,
            line.claim,
            _number(line.claim, line.value),
            styled((line.hypothesis.value, style), f": {line.condition}"),
            "\n".join(f"{name}: {_number(name, value)}" for name, value in line.details.items()),
        )
    return table


def _number(name: str, value: float) -> str:
    """A number, rounded so that its own name stays true: what is "at least" it is rounded down, "at most" it up."""
    if math.isnan(value):
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e9:
        return f"{value:,.0f}"
    if "at least" in name or "lower bound" in name:
        return printing.below(value, 5)
    return (printing.above if "at most" in name or "upper bound" in name else printing.nearest)(value, 5)
