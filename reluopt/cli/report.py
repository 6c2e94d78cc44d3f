"""`reluopt report` and `reluopt show`: runs as a page, and as tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from reluopt import printing
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.record import read_record
from reluopt.cli.output import console, next_steps, quoted, tell
from reluopt.cli.scripting import command_result
from reluopt.cli.show import outdated, show_certificate, show_places
from reluopt.errors import CheckpointError, ConfigError, DataError
from reluopt.runs import RunFolder
from reluopt.writing import unwritable, write_atomically

#: Runs that a page tells apart by letter and colour.
MOST_RUNS = 6


def report_command(runs: list[Path], out: Path, replace: bool, check: bool, quiet: bool) -> None:
    """See :mod:`reluopt.cli.commands.report`."""
    from reluopt.report import collect, render

    folders = _opened(runs)
    if len(folders) > MOST_RUNS:
        raise ConfigError(f"{len(folders)} runs are too many for one page.", f"Give at most {MOST_RUNS}.")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise DataError(f"'{out}' cannot be a file.", "Name a file in a folder that is there.")
    if out.exists() and not replace:
        raise DataError(f"The file '{out}' is there already.", "Say --replace, or name another file.")
    views = [collect(folder, "ABCDEF"[at], check=check) for at, folder in enumerate(folders)]
    try:
        write_atomically(out, render(views))
    except OSError as error:
        raise unwritable(out, error) from error
    states = {view.path: view.check for view in views}
    reasons = {v.path: v.check_lines[0] for v in views if v.check in ("refused", "unchecked")}
    command_result({"out": out, "checks": states, "reasons": reasons})
    if not quiet:
        for path, state in states.items():
            why = f": {reasons[path]}" if path in reasons else ""
            console.print(f"{path}: {_STATES[state]}{why}", soft_wrap=True)
        console.print(f"the page is {out}", soft_wrap=True)
    if "refused" in states.values():
        raise typer.Exit(1)


_STATES = {
    "proved": "certificate checked, what it says of L(θ) and of p* is proved",
    "refused": "certificate refused",
    "unchecked": "certificate not checked",
    "none": "not certified",
}


def show_command(runs: list[Path]) -> None:
    """See :mod:`reluopt.cli.commands.report`."""
    folders = _opened(runs)
    found = [_recorded(folder) for folder in folders]
    summaries = [
        _summary(folder, None if remark else record) for folder, (record, remark) in zip(folders, found, strict=True)
    ]
    for _, remark in found:
        if remark:
            tell(remark)
    command_result({"runs": summaries})
    record, remark = found[0]
    if len(folders) == 1 and record is not None:
        show_certificate(record)
        if remark:
            console.print(remark, soft_wrap=True)
        else:
            show_places(record, folders[0])
    else:
        console.print(_comparison(summaries))
        bare = [folder for folder, row in zip(folders, summaries, strict=True) if row["lower_bound"] is None]
        if bare:
            next_steps(("certify", f"reluopt certify {quoted(bare[0].path)}"))


def _recorded(folder: RunFolder) -> tuple[Certificate | None, str | None]:
    """The certificate of a run as it is recorded, and a remark where it is not of the run as it is now."""
    if not folder.certificate_file.is_file():
        return None, None
    record = read_record(folder.certificate_file)[0]
    return record, outdated(record, folder)


def _opened(paths: list[Path]) -> list[RunFolder]:
    """The runs among the folders; of several, such as ``runs/*``, a path or a sweep among them is left out."""
    folders = []
    for path in paths:
        try:
            folders.append(RunFolder.open(path))
        except CheckpointError:
            if len(paths) == 1:
                raise
            tell(f"left out, no run: {path}")
    if not folders:
        raise DataError(f"None of the {len(paths)} folders is a run.", "Give folders that training wrote.")
    return folders


def _summary(folder: RunFolder, record: Certificate | None) -> dict[str, Any]:
    """A run in a few numbers; None where it has none. The certificate is as recorded: ``verify`` checks it."""
    tables, records = folder.config(), folder.metrics()
    last = records[-1] if records else {}
    facts, train = tables.get("run", {}), tables.get("train", {})
    found: dict[str, Any] = {
        "run": str(folder.path),
        "dataset": tables.get("data", {}).get("dataset"),
        "loss": train.get("loss", "squared"),
        "beta": facts.get("beta"),
        "epochs": last.get("epoch"),
        "objective": last.get("train/objective"),
        "lower_bound": None,
        "proved_within": None,
    }
    for tag in ("test/accuracy", "test/R2"):
        if tag in last:
            found |= {"test": last[tag]}
    if record is not None:
        found["objective"] = record.objective
        found["lower_bound"] = record.lower_bound
        found["proved_within"] = record.proved_within
    return found


def _comparison(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Runs, as recorded", title_justify="left")
    for heading in ("run", "data", "loss", "β", "L(θ)", "p* ≥", "within"):
        table.add_column(heading, overflow="fold", justify="left" if heading in ("run", "data", "loss") else "right")
    for row in rows:
        certified = row["lower_bound"] is not None
        positive = certified and math.isfinite(row["proved_within"])
        shown = (printing.above if certified else printing.nearest)(row["objective"], 7) if row["objective"] else "–"
        table.add_row(
            row["run"], str(row["dataset"]), str(row["loss"]), printing.nearest(row["beta"], 5) if row["beta"] else "–",
            shown, printing.below(row["lower_bound"], 7) if certified else "–",
            printing.percent_above(row["proved_within"], 3) if positive else "–",
        )  # fmt: skip
    return table
