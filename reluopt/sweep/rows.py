"""The engine of sweeps: a grid of points through a task, one row each, kept in a file from which it can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from reluopt.errors import CheckpointError, ConfigError
from reluopt.interrupts import Interrupted, exit_code
from reluopt.progress import Bar
from reluopt.sweep.table import OWN, Row, RowFile, identity, plain
from reluopt.sweep.workers import Task, check_engine, outcomes
from reluopt.writing import remove_empty, unwritable


def run_rows(
    points: Sequence[Mapping[str, Any]],
    task: Task,
    out: Path,
    *,
    backend: str = "loky",
    workers: int | None = None,
    threads: int | None = None,
    progress: bool = True,
    retry: bool = False,
    results: Sequence[str] | None = None,
    on_row: Callable[[Row], Any] = lambda row: None,
) -> list[dict[str, Any]]:
    """Run ``task`` on every point that has no row yet, and return the rows of all points, in their order.

    The file is written anew, atomically, after every finished row, so that a killed sweep loses only the rows in
    progress. It may hold rows of other points, from an earlier grid: they stay. In the end its rows are in the order
    of ``points``.

    Parameters
    ----------
    points : each the settings of one run: names to None, bool, int, float or str. They are all that makes a row the
        same row when restarted, so whatever changes the outcome belongs in them, the seed too.
    task : one run: a point in, its results out, by name. A top-level function, deterministic given the point. An
        exception in it becomes the row's ``error``; so does a worker that is killed, where there are several.
    out : the Parquet file.
    backend : "loky", processes on this machine, or "ray", the Ray cluster (joblib's own backends).
    workers : runs at a time (default as many as there are cores). One alone is this process.
    threads : threads of each worker (default OMP_NUM_THREADS if set, else the cores divided by the workers).
    progress : a progress bar on standard error; without a terminal a line every few seconds.
    retry : run the rows again that ended in an error; otherwise they stay as they are.
    results : the names of the results, if they are the same for all points. Then a file with others is refused before
        any work, and a run that gives others is a row with an error.
    on_row : receives each row that has just been written.

    Returns
    -------
    Settings, results, "seconds" and "error" (None or a text); what a row lacks is None.

    Raises
    ------
    ConfigError : points that occur twice, values that are no scalars, an unknown backend, Ray that is not installed.
    CheckpointError : a file that is damaged, of another sweep, in use by another process, or cannot be written.
    Interrupted : a KeyboardInterrupt, by Ctrl-C or SIGTERM, with a message that says what is kept.
    """
    grid = _grid(points)
    check_engine(backend, workers)
    out = Path(out)
    with _locked(out):
        file = RowFile.open(out, list(grid.values()), results)
        waiting = {key: point for key, point in grid.items() if not file.has(key, failed_too=not retry)}
        if waiting:
            with _bar(len(grid), len(grid) - len(waiting), progress) as bar, _explained(file):
                keys = list(waiting)
                for number, row in outcomes(task, list(waiting.values()), backend, workers, threads, results):
                    file.add(keys[number], done := {**waiting[keys[number]], **row})
                    on_row(done)
                    bar.update(bar.done + 1)
        return file.finish(list(grid))


def _grid(points: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """The points by their identity, checked."""
    grid: dict[str, Row] = {}
    for point in points:
        try:
            settings = plain(point)
        except TypeError as error:
            raise ConfigError(f"A setting cannot be in a table: {error}.", "Give None, a number, or a text.") from error
        key = identity(settings)
        if key in grid:
            raise ConfigError(f"The grid has this point twice: {key}.", "Leave one of them out.")
        if taken := [name for name in settings if name in OWN]:
            raise ConfigError(f"A setting is named '{taken[0]}', as every row's own column is.", "Rename it.")
        grid[key] = settings
    return grid


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Within it no other process can write the file; a killed process leaves no lock behind."""
    lock = filelock.FileLock(place := out.with_name(f".{out.name}.lock"))
    new = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise CheckpointError(
            f"Another process is at work on '{out}'.", "Wait until it ends, or name another place for the rows."
        ) from error
    except OSError as error:
        raise unwritable(out.parent, error) from error
    try:
        yield
    finally:
        if not out.exists():  # it has not begun
            Path(place).unlink(missing_ok=True)
        lock.release()
        remove_empty(new)


@contextmanager
def _bar(total: int, done: int, shown: bool) -> Iterator[Bar]:
    bar = Bar("rows", total, done)
    if shown:
        bar.start()
    try:
        yield bar
    finally:
        bar.stop()


@contextmanager
def _explained(file: RowFile) -> Iterator[None]:
    """Say what is kept where the sweep ends early."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"Interrupted. {len(file)} rows are in '{file.path}'.\n  -> Run the same command again to go on.",
            exit_code(error) - 128,
        ) from error
