"""What scripts read: one JSON object a command, as its schema says; files of theory; no colour where none is wanted."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from reluopt.cli.main import COMMANDS, app

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = json.loads(files("reluopt.cli").joinpath("schemas.json").read_text(encoding="utf-8"))
SMALL = ["planted", "--n", "12", "--d", "2"]


def answer(*words, code=0):
    """The object that a command prints with --json, held against its schema."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    content = json.loads(done.stdout)
    jsonschema.validate(content, SCHEMA)
    assert content["command"] == words[0]
    return content.get("result", content.get("error"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts") / "run"
    found = answer("train", *SMALL, "--epochs", "50", "--width", "5", "--beta-fraction", "0.3", "--out", folder)
    assert found["run"] == str(folder)
    assert found["epochs"] == 50
    return folder


def test_a_run_from_training_to_its_check(run, tmp_path):
    certificate = answer("certify", run, "--effort", "fast", "--gaussian-patterns", "0")["certificate"]
    assert certificate == json.loads((run / "certificate.json").read_text(encoding="utf-8"))
    assert answer("verify", run)["verified"] is True
    assert answer("show", run)["runs"][0]["lower_bound"] == certificate["lower_bound"]
    broken = run / "certificate.json"
    kept = broken.read_text(encoding="utf-8")
    try:
        broken.write_text(kept.replace(certificate["verdict"], "All is well."), encoding="utf-8")
        assert answer("verify", run, code=1)["verified"] is False
    finally:
        broken.write_text(kept, encoding="utf-8")


def test_networks_without_training(tmp_path):
    solved = answer("solve", *SMALL, "--gap", "3", "--budget", "1", "--beta-fraction", "0.5", "--out", tmp_path / "s")
    assert solved["objective"] >= (solved["lower_bound"] or 0)
    relaxed = answer("relax", *SMALL, "--patterns", "5", "--beta-fraction", "0.5", "--out", tmp_path / "r")
    assert relaxed["dual_value"] <= relaxed["value"]


def test_data_and_theory(tmp_path):
    described = answer("data", *SMALL)
    assert described["beta_max"]["at_least"] <= described["beta_max"]["at_most"]
    for kind in ("csv", "json", "tex"):
        found = answer("theory", *SMALL, "--patterns", "10", "--save", tmp_path / f"t.{kind}")
    count = len(found["statements"])
    assert len(list(csv.reader((tmp_path / "t.csv").open(encoding="utf-8")))) == 1 + count
    assert len(json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))) == count
    assert (tmp_path / "t.tex").read_text(encoding="utf-8").count(r"\\") == count + 1
    assert answer("theory", *SMALL, "--save", tmp_path / "t.csv", code=1)["kind"] == "DataError"
    assert answer("theory", *SMALL, "--save", tmp_path / "t.xls", code=1)["kind"] == "DataError"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_schema_and_the_option(name):
    named = [rule["if"]["properties"]["command"]["const"] for rule in SCHEMA["allOf"]]
    assert name in named
    assert "--json" in CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output


def test_an_error_is_an_object_too(tmp_path):
    for words in (["train", "nothing.csv"], ["show", tmp_path / "none"], ["verify", tmp_path / "none"]):
        found = answer(*words, code=1)  # the entry point makes 2 of it
        assert found["problem"]
        assert found["remedy"]


@pytest.mark.parametrize("kind", [OSError, MemoryError, ValueError, KeyboardInterrupt])
def test_whatever_else_ends_a_command_is_an_error_object_without_a_result(kind, run, monkeypatch):
    def broken(*_, **__):
        raise kind("nothing")

    monkeypatch.setattr("reluopt.cli.report.RunFolder.open", broken)
    done = CliRunner().invoke(app, ["show", str(run), "--json"])
    content = json.loads(done.stdout)
    jsonschema.validate(content, SCHEMA)
    assert done.exit_code and "result" not in content
    assert content["error"]["kind"] == kind.__name__ and content["error"]["problem"] and content["error"]["remedy"]


def test_doctor_names_versions_and_threads():
    found = answer("doctor")
    assert {"reluopt", "python", "torch", "cores", "GPU"} <= found["facts"].keys()
    assert found["trouble"] == []


def test_no_colour_where_none_is_wanted(run):
    command = [sys.executable, "-m", "reluopt", "show", str(run)]
    coloured = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "PATH": "", "PYTHONPATH": str(ROOT)}
    plain = subprocess.run(command, env={**coloured, "NO_COLOR": "1"}, capture_output=True, check=True).stdout
    assert not re.search(rb"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m", plain)


def test_a_shell_completes_commands():
    env = {
        "_RELUOPT_COMPLETE": "complete_bash",
        "COMP_WORDS": "reluopt ver",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "reluopt ver",
    }
    code = "import sys; sys.argv = ['reluopt']; from reluopt.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, "PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "verify" in done.stdout.split()
