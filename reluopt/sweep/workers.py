"""Points through a task on worker processes, by joblib: on this machine (loky) or on a Ray cluster."""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import torch
from threadpoolctl import threadpool_limits

from reluopt.errors import ConfigError, ReluoptError
from reluopt.sweep.table import OWN, Row, plain

Task: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]

BACKENDS = ("loky", "ray")


def outcomes(
    task: Task,
    points: Sequence[Row],
    backend: str,
    workers: int | None = None,
    threads: int | None = None,
    results: Sequence[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    """Each point's index and what its run gave (results, seconds, error), in the order in which they finish.

    One worker on loky is this process. A worker uses ``threads`` threads; unset, the cores of the machine divided by
    the workers, and one on Ray, which counts one core for each worker.
    """
    count = worker_count(backend, workers, len(points))
    if threads is None:
        threads = max(1, joblib.cpu_count() // count) if backend == "loky" else 1
    run = _Run(task, threads, apart=backend == "loky" and count > 1, results=results)
    # a batch of several runs would come back, and be written, only as a whole
    parallel = joblib.Parallel(n_jobs=count, backend=backend, return_as="generator_unordered", batch_size=1)
    yield from parallel(joblib.delayed(run)(number, point) for number, point in enumerate(points))


def worker_count(backend: str, workers: int | None, rows: int) -> int:
    """``workers``; unset, the cores there are; never more than rows.

    Raises
    ------
    ConfigError : an unknown backend, Ray that is not installed, a number below 1.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"The backend is '{backend}'.", f"Choose one of: {', '.join(BACKENDS)}.")
    if workers is not None and workers < 1:
        raise ConfigError(f"The number of workers is {workers}.", "Give at least 1.")
    cores = _ray_cores() if backend == "ray" else joblib.cpu_count()
    return max(1, min(workers or cores, rows))


def _ray_cores() -> int:
    """Register joblib's Ray backend, join the cluster (or start one on this machine), and count its cores."""
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ConfigError("The backend is 'ray', and Ray is not installed.", "pip install 'reluopt[ray]'") from error
    register_ray()
    if not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    return int(ray.cluster_resources().get("CPU", 1))


@dataclass(frozen=True)
class _Run:
    """What a worker does with a point; it is sent there."""

    task: Task
    threads: int
    apart: bool
    results: Sequence[str] | None

    def __call__(self, number: int, point: Row) -> tuple[int, Row]:
        """The point's results, its seconds and its error: any exception becomes one."""
        if self.apart and threading.current_thread() is threading.main_thread():
            # Ctrl-C in a terminal goes to every process; the one that writes the rows ends the others
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        started = time.perf_counter()
        try:
            with _threads(self.threads):
                row = plain(self.task(dict(point)))
            self._check(row, point)
            error = None
        except Exception as exception:
            row, error = {}, _said(exception)
        return number, {**row, "seconds": time.perf_counter() - started, "error": error}

    def _check(self, row: Row, point: Row) -> None:
        if taken := [name for name in row if name in point or name in OWN]:
            raise ConfigError(f"The task gave a result '{taken[0]}', which is another column's name.", "Rename it.")
        if self.results is not None and set(row) != set(self.results):
            raise ConfigError(
                f"The task gave the results {', '.join(row)}; declared are {', '.join(self.results)}.",
                "Let the task give those that are declared, None where one does not apply.",
            )


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Within it torch, BLAS and OpenMP use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with threadpool_limits(limits=number):
            yield
    finally:
        torch.set_num_threads(before)


def _said(exception: Exception) -> str:
    """The error as text; one that is not meant for users also says where it came from."""
    if isinstance(exception, ReluoptError):
        return f"{type(exception).__name__}: {exception.problem}"
    where = traceback.extract_tb(exception.__traceback__)[-1]
    return f"{type(exception).__name__}: {exception} ({Path(where.filename).name}, line {where.lineno})"
