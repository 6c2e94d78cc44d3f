"""`reluopt sweep`: a grid of runs, one row each, as far as the machine or the cluster goes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from reluopt import printing
from reluopt.cli.options import read_toml
from reluopt.cli.output import console, next_steps, quoted
from reluopt.cli.scripting import command_result
from reluopt.config import Config
from reluopt.interrupts import Interrupted, exit_code
from reluopt.sweep.grid import TABLES, SweepConfig, expand
from reluopt.sweep.hparams import log_row, log_rows
from reluopt.sweep.rows import run_rows
from reluopt.sweep.sweeping import RESULTS, run_point

log = logging.getLogger(__name__)

#: Rows that are printed; all are in the file.
PRINTED = 20


def sweep_command(config: Path, out: Path | None, workers: int | None, backend: str, retry: bool, quiet: bool) -> None:
    """Do what `reluopt sweep` says."""
    content = read_toml(config, {**TABLES, "sweep": SweepConfig, "grid": Config})
    keys, points = expand(content, str(config))
    place = out or Path("runs") / config.stem
    settings = list(dict.fromkeys(name for point in points for name in point))
    again = f"reluopt sweep {quoted(config)}" + (f" --out {quoted(out)}" if out else "")
    rows = _run(points, place, keys, settings, again, backend=backend, workers=workers, retry=retry, progress=not quiet)
    try:
        log_rows(place / "hparams", rows, keys, settings)
    except OSError as error:
        log.warning("TensorBoard's entries cannot be written (%s).", error.strerror or error)
    failed = sum(row["error"] is not None for row in rows)
    command_result({"rows": place / "rows.parquet", "runs": len(rows), "failed": failed})
    if quiet:
        console.print(str(place / "rows.parquet"), soft_wrap=True)
    else:
        console.print(_table(rows, keys))
        steps = [("rows", str(place / "rows.parquet")), ("watch", f"tensorboard --logdir {quoted(place)}")]
        more = [(f"{failed} rows ended in an error; run them again", f"{again} --retry")] if failed else []
        next_steps(*steps, *more)
    if failed:
        raise typer.Exit(1)


def _run(
    points: Sequence[dict[str, Any]],
    place: Path,
    keys: Sequence[str],
    settings: Sequence[str],
    again: str,
    **engine: Any,
) -> list[dict[str, Any]]:
    """The rows; a stop says how to go on."""
    on_row = partial(_logged, place / "hparams", keys, settings)
    try:
        return run_rows(points, run_point, place / "rows.parquet", threads=1, results=RESULTS, on_row=on_row, **engine)
    except KeyboardInterrupt as stop:
        what = (str(stop) or "Interrupted.").splitlines()[0]
        raise Interrupted(f"{what}\n  go on: {again}", exit_code(stop) - 128) from stop


def _logged(folder: Path, keys: Sequence[str], settings: Sequence[str], row: dict[str, Any]) -> None:
    """Show a row in TensorBoard; where that cannot be written the rows matter more."""
    try:
        log_row(folder, row, keys, settings)
    except OSError as error:
        log.warning("TensorBoard's entry of a row cannot be written (%s).", error.strerror or error)


def _table(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> Table:
    """The place in the grid and the outcome of the first rows."""
    outcome = {
        "objective": "L(θ)",
        "stationarity_residual": "‖∇L‖",
        "own_above": "p̃(S(θ))",
        "lower_bound": "proved p* ≥",
        "proved_ratio": "L(θ)/p* ≤",
    }
    more = f"; {len(rows) - PRINTED} more are in the file" if len(rows) > PRINTED else ""
    table = Table(title=f"{len(rows)} runs{more}", title_justify="left")
    for heading in (*(key.partition(".")[2] for key in keys), *outcome.values(), "error"):
        table.add_column(heading, justify="left" if heading == "error" else "right")
    for row in rows[:PRINTED]:
        table.add_row(*(_cell(name, row.get(name)) for name in (*keys, *outcome)), row["error"] or "")
    return table


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "—"
    if not isinstance(value, float):
        return str(value)
    return {"lower_bound": printing.below, "proved_ratio": printing.above}.get(name, printing.nearest)(value)
