"""`reluopt sweep`: a grid of runs, one row each, as far as the machine or the cluster goes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from reluopt import printing
from reluopt.cli.options import read_toml
from reluopt.cli.output import console, next_steps, quoted, tell
from reluopt.config import Config
from reluopt.interrupts import exit_code
from reluopt.sweep.grid import TABLES, SweepConfig, expand
from reluopt.sweep.hparams import log_row, log_rows
from reluopt.sweep.rows import run_rows
from reluopt.sweep.run import RESULTS, run_point

log = logging.getLogger(__name__)

#: Rows that are printed; all are in the file.
PRINTED = 20


def sweep(
    config: Annotated[Path, typer.Argument(help=r"A TOML file with \[grid], \[data], \[train], \[certify], \[sweep].")],
    out: Annotated[Path | None, typer.Option(help="The folder to write (default runs/NAME of the file).")] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time (default: one a core).")] = None,
    backend: Annotated[str, typer.Option(help="loky: processes on this machine; ray: a Ray cluster.")] = "loky",
    retry: Annotated[bool, typer.Option("--retry", help="Run the rows again that ended in an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the file of rows.")] = False,
) -> None:
    r"""Train and certify a network at every point of a grid: one row each in OUT/rows.parquet.

    Stopped or killed, it goes on where it was when the same command is given again.
    Points can be added to the grid: rows that are done stay.
    A run that fails is a row with its error, and stays one until --retry.

    [bold]Example[/]: widths and weight decays, three starts each; save as grid.toml

      \[data]
      dataset = "diabetes"

      \[train]                     # as in 'reluopt train --config'
      epochs = 5000

      \[grid]                      # any setting of \[data], \[train], \[certify]
      "train.width" = [10, 50, 200]
      "train.beta_fraction" = [0.01, 0.1]
      "train.seed" = [0, 1, 2]

      \[certify]                   # as in 'reluopt certify --config'
      gaussian_patterns = 20

      \[sweep]
      certify = true              # false: only train

    then

      reluopt sweep grid.toml

      reluopt sweep grid.toml --backend ray   # on the cluster RAY_ADDRESS

      tensorboard --logdir runs/grid          # HParams shows every row

    Rows are the same whatever the workers: each run has one thread.
    Only what the clock stops differs from time to time, so \[certify] has
    effort = "fast" here unless the file says otherwise, and the column
    own_status says whether the program of own_above was solved.
    """
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
        tell(f"{(str(stop) or 'Interrupted.').splitlines()[0]}\n  go on: {again}")
        raise typer.Exit(exit_code(stop)) from stop


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
