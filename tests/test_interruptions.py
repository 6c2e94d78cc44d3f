"""Ctrl-C and SIGTERM at chosen points: what was found by then is kept and printed, the exit code is the signal's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import GRID, LINES, NEW, PLANTED, reluopt

from reluopt import staging
from reluopt.certificate import bounds_below, certifying
from reluopt.cli.exit_codes import in_words
from reluopt.cli.main import COMMANDS
from reluopt.interrupts import Interrupted
from reluopt.runs import RunFolder
from reluopt.training.checkpoint import read_checkpoint
from reluopt.workflows.runs import read_run
from reluopt.writing import STAGE

ROOT = Path(__file__).resolve().parents[1]
LINE = ("certify", "run", "--time-budget", "1", "--gaussian-patterns", "3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("interruptions")
    assert reluopt("train", *PLANTED, "--epochs", 3, "--width", 2, "--out", "run", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def place(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "here")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_bound_that_is_stopped_keeps_what_it_proved(stage, signum, place, monkeypatch):
    races = []

    def stopped(*arguments, names, **options):
        races.append(names)
        for found in original(*arguments, names=names, **options):
            yield found
            if len(races) > stage:
                raise Interrupted("", signum)

    original = bounds_below.race
    monkeypatch.setattr(bounds_below, "race", stopped)
    done = reluopt(*LINE, cwd=place)
    assert done.returncode == 128 + signum, done.stderr
    assert len(races) == stage + 1, "it goes no further"
    assert "no network of any width" in done.stdout and "proved by then" in done.stdout
    assert "holds what was proved by then" in done.stderr and "Traceback" not in done.stderr
    written = json.loads((place / "run" / "certificate.json").read_text())
    assert any(e["quantity"] == "p*" and e["status"] == "proved" for e in written["estimates"])
    monkeypatch.undo()
    assert reluopt("verify", "run", cwd=place).returncode == 0


@pytest.mark.parametrize("step", ["pricing_of", "theory_of", "comparisons"])
def test_a_later_step_that_is_stopped_leaves_the_bounds(step, place, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(certifying, step, stopped)
    done = reluopt(*LINE, "--effort", "fast", cwd=place)
    assert done.returncode == 130, done.stderr
    assert "no network of any width" in done.stdout
    monkeypatch.undo()
    assert reluopt("verify", "run", cwd=place).returncode == 0


def test_one_that_is_stopped_before_anything_is_proved_writes_nothing(place, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(bounds_below, "race", stopped)
    done = reluopt(*LINE, cwd=place)
    assert done.returncode == 130
    assert "Interrupted" in done.stderr and "Traceback" not in done.stderr
    assert not (place / "run" / "certificate.json").exists()


#: What a command is doing when it is stopped: in the middle of it, or just before it writes what it has found.
WHERE = {
    "verify": "reluopt.certificate.checker.check",
    "sweep": "reluopt.cli.sweep.run_point",
    "relax": "reluopt.workflows.relax_run.relax",
    "solve": "reluopt.workflows.solve_run.save_weights",
    "refine": "reluopt.workflows.solve_run.save_weights",
    "path": "reluopt.cli.path.regularization_path",
    "theory": "reluopt.cli.theory.report",
    "data": "reluopt.cli.data.write_atomically",
    "predict": "reluopt.cli.predict.as_csv",
    "report": "reluopt.report.render",
    "show": "reluopt.cli.report.read_record",
    "doctor": "reluopt.cli.doctor.metadata.version",
}


def test_every_command_is_stopped_somewhere_here():
    assert set(WHERE) | {"train", "certify"} == set(COMMANDS)


def prepared_to_stop(name, place, monkeypatch) -> dict[Path, bytes]:
    """What a command needs lies there, and it is stopped at its place of ``WHERE``; all files before that."""
    if name in ("verify", "show", "report"):
        assert reluopt(*LINE, "--effort", "fast", cwd=place).returncode == 0

    def stopped(*_, **__):
        raise Interrupted("", signal.SIGINT)

    (place / "grid.toml").write_text(GRID)
    (place / "new.csv").write_text(NEW)
    monkeypatch.setattr(WHERE[name], stopped)
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WHERE)
def test_every_other_command_ends_with_130_and_leaves_no_half(name, place, monkeypatch):
    before = prepared_to_stop(name, place, monkeypatch)
    done = reluopt(*(word.format(run="run", out="new") for word in LINES[name]), cwd=place)
    assert done.returncode == 130, done.stderr
    assert "nterrupted" in done.stderr and "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", WHERE)
def test_a_command_with_json_that_is_stopped_prints_an_error_and_no_empty_result(name, place, monkeypatch):
    prepared_to_stop(name, place, monkeypatch)
    done = reluopt(*(word.format(run="run", out="new") for word in LINES[name]), "--json", cwd=place)
    assert done.returncode == 130, done.stderr
    content = json.loads(done.stdout)
    assert content["error"]["kind"] == "Interrupted" and content["error"]["problem"].startswith("Interrupted")
    assert content.get("result") != {}


@pytest.mark.parametrize("text", ["", "Interrupted: half is there.", "Interrupted.\n  -> Resume with: reluopt train"])
def test_what_an_interruption_says_of_going_on_is_its_remedy(text):
    problem, remedy = in_words(Interrupted(text))
    assert problem == (text.partition("\n")[0] or "Interrupted.")
    assert ("again" in remedy) == (not text)
    if "\n" in text:
        assert remedy == "Resume with: reluopt train"


def test_with_json_what_was_proved_stands_beside_the_interruption(place, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(certifying, "theory_of", stopped)
    done = reluopt(*LINE, "--effort", "fast", "--json", cwd=place)
    content = json.loads(done.stdout)
    assert done.returncode == 130 and content["result"]["saved"] and "error" in content
    assert content["result"]["certificate"] == json.loads((place / "run" / "certificate.json").read_text())


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("part", ["the move", "the clearing"])
def test_a_run_that_is_stopped_while_its_files_take_their_places_is_whole(part, signum, place, monkeypatch):
    owner, name = {"the move": (staging, "_move"), "the clearing": (staging.shutil, "rmtree")}[part]
    original, new = getattr(owner, name), place / "new"

    def stopped(*arguments, **options):
        if part == "the move" or (new / "config.toml").exists():
            signal.raise_signal(signum)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, stopped)
    line = tuple(word.format(out="new") for word in LINES["relax"])
    done = reluopt(*line, cwd=place)
    monkeypatch.undo()
    assert done.returncode == 128 + signum, done.stderr
    assert "is there, whole" in done.stderr
    assert read_run(RunFolder.open(new)) and not (new / STAGE).exists()
    again = reluopt(*line, cwd=place)
    assert again.returncode == 2 and "--replace" in again.stderr
    assert reluopt(*line, "--replace", cwd=place).returncode == 0


#: A process that is told to end in the middle of a call of LAPACK, and one whose bound is stopped by a terminal.
IN_LAPACK = """
import os, signal, sys, threading
import numpy as np
from reluopt.training.callbacks import RecordDrift
record, seen = RecordDrift.on_record, []
def slow(self, state, record_):
    seen.append(state.epoch)
    if len(seen) == 3:
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
        for _ in range(5):
            np.linalg.eigvalsh(np.ones((300, 300)) + np.diag(np.arange(300.0)))
    return record(self, state, record_)
RecordDrift.on_record = slow
"""
IN_A_BOUND = """
import os, signal, time
from reluopt.certificate import bounds_below
original = bounds_below.race
def race(*arguments, **options):
    for found in original(*arguments, **options):
        yield found
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
bounds_below.race = race
"""


def in_a_process(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{code}\nfrom reluopt.cli.main import run\nrun()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_sigterm_within_a_call_of_lapack_ends_with_143_and_the_run_whole(place):
    line = ("train", *PLANTED, "--epochs", "1000000", "--width", "2", "--record-every", "1", "--out", "new")
    done = in_a_process(IN_LAPACK, *line, cwd=place)
    assert done.returncode == 143, done.stderr
    assert "--resume new" in done.stderr and "Traceback" not in done.stderr
    run = RunFolder.open(place / "new")
    read_run(run)
    assert len(run.metrics()) >= 3
    assert read_checkpoint(run.latest_checkpoint)[1]["epoch"] >= 2


def test_ctrl_c_in_a_bound_ends_with_130_and_a_certificate(place):
    done = in_a_process(IN_A_BOUND, *LINE, cwd=place)
    assert done.returncode == 130, done.stderr
    assert "no network of any width" in done.stdout and "Traceback" not in done.stderr
    assert reluopt("verify", "run", cwd=place).returncode == 0
