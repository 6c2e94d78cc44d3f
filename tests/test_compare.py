"""The script that sets solvers side by side: one JSON line per solver and tolerance, with what was reached."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "benchmarks" / "compare.py"
KEYS = ["instance", "solver", "tol", "seconds", "objective", "gap", "violation", "peak_mb"]


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4)).astype(np.float32)
    np.savez(tmp_path / "small.npz", X=X, y=rng.standard_normal(30), G=rng.standard_normal((4, 10)))
    return tmp_path


def test_json_lines(folder):
    done = run(folder, "--instances", "small", "--solvers", "native,celer", "--tol", "1e-2,1e-6", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["solver"], line["tol"]) for line in lines] == [("native", 1e-2), ("native", 1e-6)]
    assert "celer is left out" in done.stderr  # not installed, or for gated programs only: said, not failed
    for line in lines:
        assert list(line) == KEYS
        assert line["seconds"] > 0
        assert line["gap"] <= line["tol"]
        assert line["violation"] <= 1e-12
        assert math.copysign(1, line["violation"]) == 1  # "-0" is no violation
    assert lines[0]["objective"] >= lines[1]["objective"] * (1 - 1e-6)


def test_other_losses(folder):
    wanted = "--solvers native,clarabel,celer --loss logistic --tol 1e-4 --program gated --json"
    done = run(folder, "--instances", "small", *wanted.split())
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["solver"] for line in lines] == ["native", "clarabel"]
    assert all(line["gap"] <= 1e-4 for line in lines)
    assert "celer is left out" in done.stderr


def test_bad_input_is_named_before_any_work(folder):
    assert "no solver nothing" in run(folder, "--instances", "small", "--solvers", "nothing").stderr
    assert "absent.npz is not there" in run(folder, "--instances", "absent").stderr
