"""Sweeps: one row per point, rows that are done are skipped, damaged or foreign files are refused before any work."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from counts import tries
from threadpoolctl import threadpool_info

from reluopt.errors import CheckpointError, ConfigError
from reluopt.sweep.rows import run_rows
from reluopt.sweep.table import read_rows

CALLS: list[dict] = []


def square(point: dict) -> dict:
    """Results of all kinds; an odd width may fail."""
    CALLS.append(point)
    if point.get("fail"):
        raise ValueError("as it was told")
    return {"square": point["x"] ** 2, "half": np.float64(point["x"] / 2), "name": "even", "nothing": None}


@pytest.fixture
def calls():
    CALLS.clear()
    return CALLS


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "rows.parquet"


GRID = [{"x": x, "kind": kind} for x in (1, 2, 3) for kind in ("a", "b")]


def settled(rows: list[dict]) -> list[dict]:
    """Rows without what differs from run to run: the seconds, and the name that a pickled function's file has."""
    kept = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return [{**row, "error": row["error"] and row["error"].partition(" (")[0]} for row in kept]


def test_a_row_is_settings_results_seconds_error_in_the_order_of_points(out):
    rows = run_rows(GRID, square, out, workers=1)
    assert [{k: row[k] for k in ("x", "kind")} for row in rows] == GRID
    assert [row["square"] for row in rows] == [1, 1, 4, 4, 9, 9]
    assert list(rows[0]) == ["x", "kind", "square", "half", "name", "nothing", "seconds", "error"]
    assert all(row["error"] is None and row["seconds"] > 0 for row in rows)
    assert pq.read_table(out).to_pylist() == rows


def test_rows_that_are_done_are_skipped_and_a_larger_grid_keeps_them(out, calls):
    run_rows(GRID[:4], square, out, workers=1)
    assert run_rows(GRID[:4], square, out, workers=1) == pq.read_table(out).to_pylist()
    assert len(calls) == 4
    larger = [{"x": 0.5, "kind": "a"}, *reversed(GRID)]  # x becomes a column of fractions
    rows = run_rows(larger, square, out, workers=1)
    assert len(calls) == 7
    assert [row["x"] for row in rows] == [0.5, 3, 3, 2, 2, 1, 1]
    assert settled(rows) == settled(run_rows(larger, square, out.with_name("fresh.parquet"), workers=1))
    assert [row["x"] for row in run_rows(GRID[:1], square, out, workers=1)] == [1]
    assert len(pq.read_table(out)) == 7


def test_loky_gives_the_rows_that_one_process_gives(out):
    points = [*GRID, {"x": 9, "kind": "c", "fail": True}]
    alone = run_rows(points, square, out, workers=1)
    assert settled(run_rows(points, square, out.with_name("loky.parquet"), workers=2)) == settled(alone)


def threads(point: dict) -> dict:
    import torch

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {"torch": torch.get_num_threads(), "blas": max(pools), "environment": os.environ["OMP_NUM_THREADS"]}


@pytest.mark.parametrize("workers", [1, 2])
def test_each_worker_has_its_threads(out, workers):
    before = torch.get_num_threads()
    for row in run_rows([{"x": 1}, {"x": 2}], threads, out, workers=workers, threads=3):
        assert (row["torch"], row["blas"], row["environment"], row["error"]) == (3, 3, "3", None)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_of_a_worker_are_those_of_omp_num_threads_unless_told(out, workers, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    rows = run_rows([{"x": 1}, {"x": 2}], threads, out, workers=workers)
    assert [(row["torch"], row["blas"], row["environment"]) for row in rows] == [(4, 4, "4")] * 2


def test_a_failed_run_is_a_row_that_runs_again_when_asked(out, calls):
    points = [{"x": 1, "fail": False}, {"x": 2, "fail": True}]
    rows = run_rows(points, square, out, workers=1)
    assert rows[0]["error"] is None
    assert rows[1]["error"].startswith("ValueError: as it was told (test_sweep.py, line ")
    assert rows[1]["square"] is None
    assert run_rows(points, square, out, workers=1) == rows
    assert len(calls) == 2
    mended = {"square": -1, "half": 0.0, "name": "", "nothing": None}
    again = run_rows(points, lambda point: mended, out, workers=1, retry=True)
    assert again[0] == rows[0]
    assert (again[1]["square"], again[1]["error"]) == (-1, None)


def deadly(point: dict) -> dict:
    """One run that ends its process, as one that is out of memory does."""
    if point["x"] == 3:
        os._exit(1)
    return {"double": 2 * point["x"]}


def test_a_run_that_kills_its_worker_is_a_row_with_an_error(out):
    rows = run_rows([{"x": x} for x in range(9)], deadly, out, workers=2)
    assert [row["double"] for row in rows] == [0, 2, 4, None, 8, 10, 12, 14, 16]
    assert "worker process was killed" in rows[3]["error"]
    assert [row["x"] for row in rows if row["error"]] == [3]


def test_results_that_cannot_be_in_a_table_are_errors_of_their_rows(out):
    for results, said in ({"v": [1, 2]}, "'v' is of type list"), ({"x": 1}, "gave a result 'x'"):
        (row,) = run_rows([{"x": 1}], lambda point, results=results: results, out, workers=1, retry=True)
        assert said in row["error"]
    (row,) = run_rows([{"x": 2}], lambda point: {"a": 1}, out, workers=1, results=["a", "b"])
    assert "declared are a, b" in row["error"]


@pytest.mark.parametrize(
    ("points", "engine", "said"),
    [
        ([{"x": 1}, {"x": 1.0}], {}, "twice"),
        ([{"x": [1]}], {}, "'x' is of type list"),
        ([{"x": 1}, {"x": "one"}], {}, "column 'x'"),
        ([{"seconds": 1}], {}, "named 'seconds'"),
        ([{"x": 1}], {"backend": "dask"}, "backend is 'dask'"),
        ([{"x": 1}], {"workers": 0}, "number of workers is 0"),
    ],
)
def test_a_wrong_grid_or_engine_is_said_before_any_work(points, engine, said, out, calls):
    with pytest.raises(ConfigError, match=said):
        run_rows(points, square, out, **{"workers": 1, **engine})
    assert not calls
    assert not out.exists()


def test_files_that_cannot_be_gone_on_with_are_refused_before_any_work(out, calls):
    run_rows(GRID[:2], square, out, workers=1, results=["square", "half", "name", "nothing"])
    whole = out.read_bytes()
    with pytest.raises(CheckpointError, match="its results are square, half, name, nothing"):
        run_rows(GRID, square, out, workers=1, results=["square"])
    with pytest.raises(CheckpointError, match="'square' is no setting"):
        run_rows([{"square": 1}], square, out, workers=1)
    assert out.read_bytes() == whole
    out.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cannot be read as Parquet"):
        run_rows(GRID, square, out, workers=1)
    pq.write_table(pa.table({"x": [1]}), out)
    with pytest.raises(CheckpointError, match="not written by a sweep"):
        run_rows(GRID, square, out, workers=1)
    assert len(calls) == 2


def test_two_processes_cannot_write_the_same_rows(out, calls):
    with filelock.FileLock(out.with_name(".rows.parquet.lock")), pytest.raises(CheckpointError, match="at work"):
        run_rows(GRID, square, out, workers=1)
    assert not calls
    assert len(run_rows(GRID, square, out, workers=1)) == len(GRID)


# -- killed and restarted ------------------------------------------------------------------------------------------

#: A hundred short runs, one of which fails; each leaves a line in calls.txt.
SCRIPT = """
import sys, time
from pathlib import Path
from reluopt.sweep.rows import run_rows

def task(point):
    with Path(point["log"]).open("a") as file:
        file.write(f"{point['x']}\\n")
    time.sleep(0.04)
    if point["x"] == 50:
        raise ValueError("the odd one")
    return {"root": point["x"] ** 0.5, "label": f"run {point['x']}", "nothing": None}

def points(folder):
    return [{"x": x, "seed": 7, "log": str(folder / "calls.txt")} for x in range(100)]

if __name__ == "__main__":
    out = Path(sys.argv[1])
    run_rows(points(out.parent), task, out, backend=sys.argv[2], workers=2)
"""


def rows_in(out: Path) -> list[dict]:
    return read_rows(out)[0]


def kill_at(process: subprocess.Popen, out: Path, count: int) -> None:
    """SIGKILL as soon as the file has so many rows."""
    while len(rows_in(out)) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.kill()
    process.communicate()


def assert_survives_kills(folder: Path, backend: str, environment: dict[str, str], kills: int = 2) -> None:
    script, out, log = folder / "script.py", folder / "rows.parquet", folder / "calls.txt"
    script.write_text(SCRIPT)
    seed = random.randrange(2**32)
    print("moments from seed", seed)  # shown where the test fails
    moments = sorted(random.Random(seed).sample(range(1, 90), kills))
    command = [sys.executable, str(script), str(out), backend]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    for moment in [*moments, None]:
        before = {row["x"] for row in rows_in(out)}
        log.unlink(missing_ok=True)
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        if moment is None:
            assert process.wait(120) == 0, process.communicate()[1]
            process.communicate()
        else:
            kill_at(process, out, max(moment, len(before) + 1))  # the first kill may have come late
        called = log.read_text().split()
        assert len(called) == len(set(called))
        assert not before & {int(x) for x in called}, "a row that was done ran again"
    namespace: dict = {"__name__": "script"}
    exec(compile(SCRIPT, str(script), "exec"), namespace)
    undisturbed = run_rows(namespace["points"](folder), namespace["task"], folder / "whole.parquet", workers=1)
    assert settled(rows_in(out)) == settled(undisturbed) == settled(rows_in(folder / "whole.parquet"))
    assert [row["x"] for row in undisturbed if row["error"]] == [50]
    assert not list(folder.glob(".*.tmp"))


def test_a_sweep_killed_twice_gives_the_table_of_an_undisturbed_one(tmp_path):
    assert_survives_kills(tmp_path, "loky", {})


@pytest.mark.slow
def test_the_same_on_a_ray_cluster(tmp_path):
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        address = ray.get_runtime_context().gcs_address
        assert_survives_kills(tmp_path, "ray", {"RAY_ADDRESS": address}, tries(1, 2))
    finally:
        ray.shutdown()


def test_ray_that_is_not_installed_is_said_with_the_command(out, calls, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'reluopt\[ray\]'"):
        run_rows(GRID, square, out, backend="ray")
    assert not calls
