"""The command line as a user meets it: files, messages, exit codes; some of it in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from commands import process, reluopt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reluopt.certificate.certificate import Certificate

FAST = ("--epochs", "200", "--width", "12")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str, str]:
    """A run folder after train, in a process of its own, and certify; and what the two commands printed."""
    folder = tmp_path_factory.mktemp("cli")
    first = process("train", "planted", "--n", 40, "--d", 4, *FAST, cwd=folder)
    assert first.returncode == 0, first.stderr
    run = folder / "runs" / "planted-001"
    second = reluopt("certify", run, "--time-budget", 5, "--gaussian-patterns", 5, "--effort", "fast", cwd=folder)
    assert second.returncode == 0, second.stderr
    return run, first.stdout, second.stdout


def test_a_run_folder_holds_everything(trained):
    run, printed, _ = trained
    names = {path.name for path in run.iterdir()}
    assert {"config.toml", "metrics.jsonl", "checkpoints", "certificate.json", "ladder.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    tables = tomllib.loads((run / "config.toml").read_text())
    assert tables["data"]["dataset"] == "planted"
    assert tables["train"]["epochs"] == 200
    assert tables["run"]["beta"] == pytest.approx(0.1 * tables["run"]["beta_max_estimate"])
    assert "tensorboard --logdir" in printed
    assert "reluopt certify" in printed
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["epoch"] == 200


def test_the_certificate_is_printed_and_written(trained):
    run, _, printed = trained
    certificate = Certificate.from_json((run / "certificate.json").read_text())
    assert certificate.verdict.split()[0] in printed
    for word in ("proved", "measured", "theory", "p*", "verdict"):
        assert word in printed
    assert certificate["moment"].value <= certificate["objective"].value
    assert (run / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_verify_accepts_the_proof_and_refuses_a_tampered_one(trained, tmp_path):
    run, *_ = trained
    done = reluopt("verify", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("proved:") == 3
    # alone, with exported data
    tables = tomllib.loads((run / "config.toml").read_text())["data"]
    saved = reluopt("data", "planted", "--n", tables["n"], "--d", tables["d"], "--save", "data.npz", cwd=tmp_path)
    assert saved.returncode == 0, saved.stderr
    proof = run / "certificate.safetensors"
    assert reluopt("verify", proof, "--data", "data.npz", cwd=tmp_path).returncode == 0
    broken = bytearray(proof.read_bytes())
    broken[-1] ^= 0xFF  # the sign and the exponent of the last number
    (tmp_path / "broken.safetensors").write_bytes(broken)
    refused = reluopt("verify", "broken.safetensors", "--data", "data.npz", cwd=tmp_path)
    assert refused.returncode == 1
    assert "refused" in refused.stdout


def test_tensorboard_shows_one_run_with_the_certificate(trained):
    run, *_ = trained
    events = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"train/objective", "patterns/preserved_from_init", "certificate/lower_bound"} <= scalars
    assert "certificate/ladder" in events.Tags()["images"]
    assert any("certificate" in tag for tag in events.Tags()["tensors"])
    assert not [path for path in run.iterdir() if path.is_dir() and path.name != "checkpoints"]


def test_settings_come_from_a_file_and_options_win(tmp_path):
    (tmp_path / "my.toml").write_text(
        '[data]\ndataset = "planted"\nn = 30\nd = 3\n[train]\nepochs = 50\nwidth = 7\nbeta_fraction = 0.2\n'
    )
    done = reluopt("train", "--config", "my.toml", "--epochs", 20, "--beta", 0.5, "--out", "run", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tables = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (tables["train"]["epochs"], tables["train"]["width"], tables["train"]["beta"]) == (20, 7, 0.5)
    assert "beta_fraction" not in tables["train"]
    # a run's own config.toml is such a file
    again = reluopt("train", "--config", "run/config.toml", "--out", "again", "-q", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again/metrics.jsonl").read_text() == (tmp_path / "run/metrics.jsonl").read_text()


def test_resume_of_a_finished_run_changes_nothing(trained):
    run, *_ = trained
    before = (run / "metrics.jsonl").read_bytes()
    done = reluopt("train", "--resume", run, cwd=run)
    assert done.returncode == 0, done.stderr
    assert (run / "metrics.jsonl").read_bytes() == before


def test_data_describes(tmp_path):
    done = reluopt("data", "planted", "--n", 30, "--d", 3, "--no-bias", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("rank", "β_max", "fingerprint", "reluopt train planted --no-bias --n 30 --d 3"):
        assert word in done.stdout


@pytest.mark.parametrize("command", [(), ("train",), ("certify",), ("verify",), ("data",), ("relax",), ("theory",)])
def test_help_teaches_with_an_example(command, tmp_path):
    done = reluopt(*command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "reluopt " + (command[0] if command else "train") in done.stdout


def bad_npz(folder: Path) -> None:
    np.savez(folder / "nan.npz", X=np.array([[1.0, np.nan], [0.0, 1.0]]), y=np.array([1.0, 2.0]))


BAD = {
    "unknown data set": (("train", "breast_canser"), "Did you mean breast_cancer"),
    "no data set": (("train",), "reluopt train breast_cancer"),
    "missing file": (("train", "no/such.csv"), "no/such.csv"),
    "NaN in the file": (("train", "nan.npz"), "NaN"),
    "unknown flag": (("train", "planted", "--wdth", "3"), "--wdth"),
    "bad value": (("train", "planted", "--width", "0"), "width"),
    "both betas": (("train", "planted", "--beta", "1", "--beta-fraction", "0.1"), "Give one of the two"),
    "bad choice": (("train", "planted", "--optimizer", "adamw"), "adam, sgd"),
    "missing config": (("train", "planted", "--config", "no.toml"), "no.toml"),
    "unknown setting": (("train", "planted", "--config", "unknown.toml"), "wdth"),
    "not a run": (("certify", "."), "not a run"),
    "no run": (("certify", "nowhere"), "nowhere"),
    "resume and settings": (("train", "--resume", "x", "--epochs", "3"), "--epochs"),
    "nothing to verify": (("verify", "nothing.safetensors"), "reluopt certify"),
    "unknown data": (("data", "nothing"), "Built in are"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_usage_is_a_message_and_exit_code_2(case, tmp_path):
    bad_npz(tmp_path)
    (tmp_path / "unknown.toml").write_text("[train]\nwdth = 3\n")
    arguments, message = BAD[case]
    done = reluopt(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_process_of_its_own_ends_with_the_same_code_and_words(tmp_path):
    arguments, message = BAD["unknown data set"]
    done = process(*arguments, cwd=tmp_path)
    assert done == reluopt(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and not done.stdout


def test_a_run_that_diverges_is_a_message_and_exit_code_1(tmp_path):
    done = reluopt(
        "train", "planted", "--optimizer", "sgd", "--learning-rate", "1e6", "--final-learning-rate", "1e6", *FAST,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "learning_rate" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_says_what_is_saved_and_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "reluopt", "train", "planted", "--epochs", "1000000", "--out", "run", "-q"]
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    training = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(1200):
        if metrics.is_file() and metrics.stat().st_size:
            break
        time.sleep(0.1)
    training.send_signal(signal.SIGINT)
    _, said = training.communicate(timeout=600)
    assert training.returncode == 130
    assert "--resume run" in said


def test_data_that_changed_since_training_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    np.savez(tmp_path / "mine.npz", X=X, y=y)
    assert reluopt("train", "mine.npz", "--out", "run", *FAST, cwd=tmp_path).returncode == 0
    np.savez(tmp_path / "mine.npz", X=X, y=np.roll(y, 1))
    done = reluopt("certify", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "not those it was trained on" in done.stderr
