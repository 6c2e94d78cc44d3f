"""Points through a task on worker processes, by joblib: on this machine (loky) or on a Ray cluster."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import joblib
from threadpoolctl import threadpool_limits

from reluopt.errors import ConfigError, ReluoptError
from reluopt.sweep.table import OWN, Row, plain

Task: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]

WORKPLACES = ("loky", "ray")


def outcomes(
    task: Task,
    points: Sequence[Row],
    backend: str,
    workers: int | None = None,
    threads: int | None = None,
    results: Sequence[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    """Each point's index and what its run gave (results, seconds, error), in the order in which they finish.

    One worker alone is this process. A worker uses ``threads`` threads; unset, OMP_NUM_THREADS if that is set, else the
    cores of the machine divided by the workers, and one on Ray, which counts one core for each worker. A run that ends
    its worker is a row with an error.
    """
    check_engine(backend, workers)
    ray = backend == "ray"
    cores = _ray_cores() if ray else joblib.cpu_count()
    count = max(1, min(workers or cores, len(points)))
    own = threads or _wanted_threads() or (1 if ray else max(1, cores // count))
    run = _Run(task, own, parent=os.getpid() if count > 1 and not ray else None, results=results)
    left = dict(enumerate(points))
    while left:
        try:
            for number, row in _pool(run, dict(left), backend, count):
                del left[number]
                yield number, row
        except _lost_worker():
            # which run it was nobody knows: those that were under way (joblib's two a worker) run again, each alone
            for number in list(left)[: 2 * count]:
                yield number, _alone(run, left.pop(number), backend)


def _wanted_threads() -> int:
    """What the user's OMP_NUM_THREADS says; 0 where it says nothing."""
    text = os.environ.get("OMP_NUM_THREADS", "").strip()
    return int(text) if text.isdecimal() else 0


def _pool(run: _Run, points: Mapping[int, Row], backend: str, count: int) -> Iterator[tuple[int, Row]]:
    # a batch of several runs would come back, and be written, only as a whole
    parallel = joblib.Parallel(
        n_jobs=count,
        backend=_ray_backend() if backend == "ray" else backend,
        return_as="generator_unordered",
        batch_size=1,
    )
    yield from parallel(joblib.delayed(run)(number, point) for number, point in points.items())


def _alone(run: _Run, point: Row, backend: str) -> Row:
    """The outcome of a run that may end its worker: then that is its error."""
    started = time.perf_counter()
    try:
        ((_, row),) = _pool(run, {0: point}, backend, 2)  # one would be this process
    except _lost_worker():
        said = "The worker process was killed, or ended itself (often: out of memory)"
        return {"seconds": time.perf_counter() - started, "error": said}
    return row


def _lost_worker() -> tuple[type[Exception], ...]:
    """What is raised where a worker process is gone."""
    ray = sys.modules.get("ray")
    return (BrokenProcessPool, ray.exceptions.RayError) if ray else (BrokenProcessPool,)


def check_engine(backend: str, workers: int | None) -> None:
    """Refuse what cannot run.

    Raises
    ------
    ConfigError : an unknown backend, Ray that is not installed, a number of workers below 1.
    """
    if backend not in WORKPLACES:
        raise ConfigError(f"The backend is '{backend}'.", f"Choose one of: {', '.join(WORKPLACES)}.")
    if workers is not None and workers < 1:
        raise ConfigError(f"The number of workers is {workers}.", "Give at least 1.")
    if backend == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigError("The backend is 'ray', and Ray is not installed.", "pip install 'reluopt[ray]'")


def _ray_cores() -> int:
    """Join the Ray cluster (RAY_ADDRESS, or one on this machine; else start one here), and count its cores."""
    import ray

    if not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    return int(ray.cluster_resources()["CPU"])


def _ray_backend() -> Any:
    """joblib's Ray backend, with rows as they finish.

    joblib allows that to no descendant of its multiprocessing backend, because terminating a multiprocessing.Pool can
    hang on pipes that are not empty; Ray's pool has actors and an object store instead of pipes.
    """
    from ray.util.joblib.ray_backend import RayBackend

    backend = RayBackend()
    backend.supports_return_generator = True
    return backend


@dataclass(frozen=True)
class _Run:
    """What a worker does with a point; it is sent there."""

    task: Task
    threads: int
    parent: int | None
    results: Sequence[str] | None

    def __call__(self, number: int, point: Row) -> tuple[int, Row]:
        """The point's results, its seconds and its error: any exception becomes one."""
        if self.parent is not None:
            _belong_to(self.parent)
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


@functools.cache  # once in each worker
def _belong_to(parent: int) -> None:
    """Leave Ctrl-C to the process that writes the rows, and end with it, even where it is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Within it torch, BLAS and OpenMP use this many threads, also where the task is the first to load them."""
    torch, variable = sys.modules.get("torch"), os.environ.get("OMP_NUM_THREADS")
    before = torch.get_num_threads() if torch else number
    os.environ["OMP_NUM_THREADS"] = str(number)
    if torch:
        torch.set_num_threads(number)
    try:
        with threadpool_limits(limits=number):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)
        if variable is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = variable


def _said(exception: Exception) -> str:
    """The error as text; one that is not meant for users also says where it came from."""
    if isinstance(exception, ReluoptError):
        return f"{type(exception).__name__}: {exception.problem}"
    where = traceback.extract_tb(exception.__traceback__)[-1]
    return f"{type(exception).__name__}: {exception} ({Path(where.filename).name}, line {where.lineno})"
