"""The frame of a study: a grid from a TOML file, its rows, results.json, a figure, one command."""

from __future__ import annotations

import json
import platform
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from os.path import relpath
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console

import reluopt
from reluopt.errors import CheckpointError, ConfigError, ReluoptError, TrainingError
from reluopt.interrupts import exit_code
from reluopt.sweep.rows import run_rows
from reluopt.sweep.table import identity, read_rows
from reluopt.sweep.workers import Task
from reluopt.tracking.style import save
from reluopt.writing import write_atomically

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study: one folder of ``experiments/`` with a ``run.py`` that ends in ``main(study)``.

    Attributes
    ----------
    here : the study's folder, with ``config.toml``.
    points : the grid of a configuration; a point holds every setting that its row depends on, the seed too.
    task : one run, a top-level function, deterministic given the point.
    summarise : what results.json holds under "results", from the rows without an error, in the order of the grid.
    draw : the figure, from what ``summarise`` gave, as it is read back from JSON.
    """

    here: Path
    points: Callable[[dict[str, Any]], Rows]
    task: Task
    summarise: Callable[[Rows, dict[str, Any]], dict[str, Any]]
    draw: Callable[[dict[str, Any], dict[str, Any]], Figure]

    def place(self, config: Path) -> Path:
        """Where the outcome goes by default: the study's folder for its own ``config.toml``, else a run folder."""
        own = config.resolve() == (self.here / "config.toml").resolve()
        return self.here if own else Path("runs") / f"{self.here.name}-{config.stem}"

    def command(self, config: Path) -> str:
        """The command that makes the outcome again, as seen from the top of the repository."""
        top = self.here.resolve().parents[1]
        own = config.resolve() == (self.here / "config.toml").resolve()
        inside = config.resolve().is_relative_to(top)
        named = "" if own else f" {relpath(config.resolve(), top) if inside else config.name}"
        return f"python {relpath(self.here.resolve(), top)}/run.py{named}"


def main(study: Study, arguments: Sequence[str] | None = None) -> None:
    """Run a study from the command line (or from these arguments); ``--help`` says how.

    Writes OUT/rows.parquet, OUT/results.json and OUT/figure.png. Exits with 1 if rows ended in an error,
    with 2 on bad usage or bad input.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(_command(study))
    try:
        app(args=None if arguments is None else list(arguments))
    except ReluoptError as error:
        _print(f"error: {error}")
        sys.exit(1 if isinstance(error, TrainingError) else 2)
    except SystemExit as end:
        if end.code:
            raise


def _command(study: Study) -> Callable[..., None]:
    def command(
        config: Annotated[Path, typer.Argument(help="The grid, a TOML file.")] = study.here / "config.toml",
        out: Annotated[Path | None, typer.Option(help="Folder of the outcome (default: see above).")] = None,
        workers: Annotated[int | None, typer.Option(help="Runs at a time (default: one a core).")] = None,
        backend: Annotated[str, typer.Option(help="loky (this machine) or ray (a Ray cluster).")] = "loky",
        retry: Annotated[bool, typer.Option("--retry", help="Run the rows again that ended in an error.")] = False,
        redraw: Annotated[bool, typer.Option("--redraw", help="Only summarise and draw what is there.")] = False,
    ) -> None:
        """Run the study: rows.parquet, results.json, figure.png. A run that was stopped goes on where it was.

        The outcome of the study's own config.toml goes into its folder, that of another into runs/NAME-CONFIG.
        """
        settings = _read(config)
        place = out or study.place(config)
        if redraw:
            failed = _redraw(study, config, settings, place)
        else:
            points = study.points(settings)
            try:
                rows = run_rows(points, study.task, _table(place), backend=backend, workers=workers, retry=retry)
            except KeyboardInterrupt as stop:
                _print(str(stop))
                raise typer.Exit(exit_code(stop)) from stop
            failed = _conclude(study, config, settings, rows, place, _versions())
        if failed:
            raise TrainingError(_named(failed), "Mend what the errors say, and run again with --retry.")

    return command


def _conclude(
    study: Study, config: Path, settings: dict[str, Any], rows: Rows, place: Path, versions: dict[str, str]
) -> Rows:
    """Write results.json and figure.png from all rows; the settings and errors of the failed ones."""
    good = [row for row in rows if row["error"] is None]
    names = dict.fromkeys(name for point in study.points(settings) for name in point)
    failed = [{"settings": {k: row[k] for k in names}, "error": row["error"]} for row in rows if row["error"]]
    record = {
        "command": study.command(config),
        "config": settings,
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "versions": versions,
        "failed": failed,
        "results": study.summarise(good, settings) if good else {},
    }
    text = _json(record)
    write_atomically(place / "results.json", text)
    if good:
        save(study.draw(json.loads(text)["results"], settings), place / "figure.png")
    return failed


def _redraw(study: Study, config: Path, settings: dict[str, Any], place: Path) -> Rows:
    """From the rows where they are (they stay on the machine that ran them), else the figure from results.json."""
    earlier = place / "results.json"
    try:
        record = json.loads(earlier.read_text(encoding="utf-8")) if earlier.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"'{earlier}' is not JSON: {error}.", "Run the study again.") from error
    if _table(place).exists():
        rows, names = read_rows(_table(place))
        done = {identity({name: row[name] for name in names}): row for row in rows}
        keys = [identity(point) for point in study.points(settings)]
        if missing := sum(key not in done for key in keys):
            raise CheckpointError(
                f"'{_table(place)}' lacks {missing} of the {len(keys)} rows of {config}.", "Run without --redraw."
            )
        versions = record.get("versions") or _versions()
        return _conclude(study, config, settings, [done[key] for key in keys], place, versions)
    if not record.get("results"):
        raise CheckpointError(f"There is nothing to draw in '{place}'.", "Run without --redraw.")
    save(study.draw(record["results"], settings), place / "figure.png")
    return list(record["failed"])


def _table(place: Path) -> Path:
    return place / "rows.parquet"


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{config} cannot be read as TOML: {error}.", "Check its path and its text.") from error


def _json(record: dict[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise TypeError(f"a {type(value).__name__} cannot be in a JSON file")

    try:
        return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False, default=plain) + "\n"
    except ValueError as error:
        raise ConfigError(
            f"The summary cannot be written as JSON: {error}.", "Let summarise() give None for what is not finite."
        ) from error


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "numpy", "scipy")}
    return {"python": platform.python_version(), "reluopt": reluopt.__version__, **packages}


def _named(failed: Rows) -> str:
    shown = [f"  {identity(row['settings'])}: {row['error']}" for row in failed[:10]]
    more = [f"  and {len(failed) - 10} more"] if len(failed) > 10 else []
    return "\n".join([f"{len(failed)} rows ended in an error:", *shown, *more])


def _print(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
