"""`reluopt theory`: what the paper's theorems say about a data set."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from rich.table import Table

from reluopt import printing
from reluopt.bounds import moment
from reluopt.certificate.markup import latex
from reluopt.cli.columns import load_aloud
from reluopt.cli.commands.theory import TABLES
from reluopt.cli.options import read_toml, settle
from reluopt.cli.output import console, styled
from reluopt.cli.scripting import command_result
from reluopt.data import DataConfig, Dataset
from reluopt.errors import DataError
from reluopt.progress import working
from reluopt.theory.statements import Hypothesis, Statement
from reluopt.theory.summary import TheoryConfig, report, require_few
from reluopt.training import TrainConfig
from reluopt.workflows.preparation import for_loss, prepare
from reluopt.writing import unwritable, write_atomically

#: Seconds for the moment bound, at most; it is proved whenever it stops.
MOMENT_SECONDS = 60.0

_STYLES = {Hypothesis.HOLDS: "green", Hypothesis.FAILS: "red", Hypothesis.ASSUMED: "yellow"}


def theory_command(
    dataset: str,
    beta: float | None,
    beta_fraction: float | None,
    loss: str,
    config: Path | None,
    save: Path | None,
    replace: bool,
    quiet: bool,
    given: dict[str, dict[str, Any]],
) -> None:
    """Do what `reluopt theory` says."""
    if save is not None:
        _require_writable(save, replace)
    file, where = read_toml(config, TABLES), str(config or "the command line")
    given["data"]["dataset"] = dataset
    data_config = for_loss(settle(DataConfig, "data", file["data"], given["data"], where), loss)
    settings = settle(TheoryConfig, "theory", file["theory"], given["theory"], where)
    choice = TrainConfig(beta=beta, beta_fraction=beta_fraction, loss=loss)
    with working("reading the data and searching β_max", quiet=quiet) as say:
        prepared = prepare(data_config, choice, _few_aloud, "'reluopt theory'")
        problem = prepared.problem
        say("bounding p* from below")
        limit = min(MOMENT_SECONDS, settings.time_budget or MOMENT_SECONDS)
        lower = moment(problem, time_limit=limit).value
        lines = report(problem, config=settings, lower=lower, say=say)
    command_result({
        "data": prepared.data.name, "n": problem.n, "d": problem.d, "beta": problem.beta,
        "beta_max_estimate": prepared.beta_max, "lower_bound": lower, "statements": [as_record(line) for line in lines],
    })  # fmt: skip
    if save is not None:
        _save(save, lines)
    share = f"β = {problem.beta:.6g} = {problem.beta / prepared.beta_max:.4g} β_max"
    title = f"{prepared.data.name}: n = {problem.n}, d = {problem.d}, {problem.loss.spec} loss, {share}"
    if quiet:
        return
    console.print(_table(title, lines))
    if save is not None:
        console.print(f"the statements are in {save}", soft_wrap=True)
    console.print("Beside this, proved: " + f"p* ≥ {printing.below(lower, 8)} (moment bound).")


def _few_aloud(config: DataConfig) -> Dataset:
    data = load_aloud(config)
    require_few(data.n)
    return data


def as_record(line: Statement) -> dict[str, Any]:
    """A statement as plain values."""
    return {
        "theorem": line.theorem, "claim": line.claim, "value": line.value, "hypothesis": line.hypothesis.value,
        "condition": line.condition, "details": dict(line.details),
    }  # fmt: skip


#: What --save can write.
_KINDS = (".csv", ".tex", ".json")


def _require_writable(place: Path, replace: bool) -> None:
    if place.suffix.lower() not in _KINDS:
        raise DataError(
            f"'{place}' is of no kind that --save writes.", f"Name a file that ends with {', '.join(_KINDS)}."
        )
    if place.is_dir() or not place.absolute().parent.is_dir():
        raise DataError(f"'{place}' cannot be a file.", "Name a file in a folder that is there.")
    if place.exists() and not replace:
        raise DataError(f"The file '{place}' is there already.", "Say --replace, or name another file.")


def _save(place: Path, lines: list[Statement]) -> None:
    """The statements as CSV, as a LaTeX tabular, or as JSON."""
    records = [as_record(line) for line in lines]
    columns = ("theorem", "claim", "value", "hypothesis", "condition")
    if place.suffix.lower() == ".csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *([r[name] for name in columns] for r in records)])
        content = text.getvalue()
    elif place.suffix.lower() == ".json":
        plain = [
            {**r, "value": finite(r["value"]), "details": {k: finite(v) for k, v in r["details"].items()}}
            for r in records
        ]
        content = json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    else:
        rows = [
            " & ".join(latex(t) for t in (r["theorem"], r["claim"], _number(r["claim"], r["value"]), r["hypothesis"]))
            for r in records
        ]
        head = r"\begin{tabular}{lp{0.5\linewidth}rl}" + "\n" + r"\hline" + "\ntheorem & claim & value & hypothesis "
        body = "".join(row + " " + r"\\" + "\n" for row in rows)
        content = head + r"\\ \hline" + "\n" + body + r"\hline" + "\n" + r"\end{tabular}" + "\n"
    try:
        write_atomically(place, content)
    except OSError as error:
        raise unwritable(place, error) from error


def finite(value: float) -> float | None:
    """The value, None where it is not finite: JSON has no such numbers."""
    return value if math.isfinite(value) else None


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
