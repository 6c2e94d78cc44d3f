"""Runs that nothing can spoil: one writer, no half starts, honest convergence, files that are not as written."""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from counts import tries

from reluopt.beta_max import beta_max_estimate
from reluopt.errors import CheckpointError, ConfigError, ReluoptError
from reluopt.network import from_weights
from reluopt.runs import RunFolder
from reluopt.training import Callback, TrainConfig, Trainer
from reluopt.training.checkpoint import load_weights
from reluopt.workflows import train_run
from reluopt.workflows.runs import next_run

SETTINGS = TrainConfig(width=4, epochs=6, record_every=2, checkpoint_every=2)


def problem():
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 3)), rng.standard_normal(12)


def trainer(run=None, config=SETTINGS, beta=0.3, callbacks=(), network=None):
    network = network or config.make_network(3)
    return Trainer(network, *problem(), beta, config, run=run, callbacks=callbacks, progress=False)


def test_a_second_writer_is_told_who_works_there_and_a_reader_is_not_held_up(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    with RunFolder(run.path).locked("the first"):
        with pytest.raises(CheckpointError, match=rf"process {os.getpid()} on .*the first"):
            trainer(run).fit()
        assert RunFolder.open(run.path).metrics() == []
    assert trainer(run).fit().epochs == 6
    assert not run.lock.holder_file.exists()


def test_commands_side_by_side_get_runs_of_their_own_and_an_unused_one_goes_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(next_run, ["made"] * 20))
    assert len({run.path for run in runs}) == 20 and all(run.path.is_dir() for run in runs)
    with runs[3].locked():
        runs[3].make({"run": {}})
    with runs[4].locked():
        pass
    assert runs[3].config_file.is_file() and not runs[4].path.exists()
    kept = runs[3].path.name
    runs.clear()
    gc.collect()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [kept]


def test_a_start_that_fails_leaves_nothing(tmp_path):
    run = RunFolder(tmp_path / "a" / "b")
    with pytest.raises(ReluoptError), run.locked():
        raise ConfigError("no", "no")
    assert not (tmp_path / "a").exists()


def test_a_full_disk_ends_training_with_one_message_and_it_goes_on_bit_for_bit(tmp_path, monkeypatch):
    whole, run = RunFolder.create(tmp_path / "whole"), RunFolder.create(tmp_path / "run")
    expected = trainer(whole).fit()

    def full(record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Fill(Callback):
        def on_record(self, state, record):
            if state.epoch == 4:
                monkeypatch.setattr(run, "append_metrics", full)

    broken = trainer(run, callbacks=[Fill()])
    with pytest.raises(CheckpointError, match="cannot be written at epoch 4"):
        broken.fit()
    assert broken.result is not None
    monkeypatch.undo()
    assert trainer(run).fit(resume=True).objective == expected.objective
    assert run.metrics_file.read_bytes() == whole.metrics_file.read_bytes()


def test_what_training_can_do_without_is_withdrawn_when_it_fails():
    class Extra(Callback):
        optional = True

        def on_record(self, state, record):
            raise OSError(errno.EROFS, "read-only")

    assert trainer(callbacks=[Extra()]).fit().epochs == 6


def test_metrics_are_json_whatever_the_numbers(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    run.append_metrics({"epoch": 0, "a": math.inf, "b": math.nan, "c": 1.0})
    strict = json.loads(run.metrics_file.read_text(), parse_constant=pytest.fail)
    assert strict == {"epoch": 0, "a": None, "b": None, "c": 1.0}


@pytest.mark.parametrize("scale", [1e-6, 1e-12, 1e-100])
@pytest.mark.parametrize("fraction", [0.1, 0.9])
def test_weights_near_zero_are_not_stationary_below_beta_max(scale, fraction):
    beta = fraction * beta_max_estimate(*problem())
    result = trainer(config=SETTINGS.replace(init_scale=scale), beta=beta).fit()
    assert "stationary" not in result.stopped_because


def test_the_zero_network_is_the_optimum_above_beta_max_only():
    top, zero = beta_max_estimate(*problem()), lambda: from_weights(np.zeros((4, 3)), np.zeros(4))
    assert "gradients cannot leave" in trainer(beta=0.5 * top, network=zero()).fit().stopped_because
    assert "the optimum" in trainer(beta=2 * top, network=zero()).fit().stopped_because


def test_two_callbacks_of_one_class_keep_their_own_state(tmp_path):
    class Count(Callback):
        def __init__(self, value):
            self.value = value

        def state(self):
            return {"value": np.array([self.value])}

        def load_state(self, state):
            self.value = int(state["value"][0])

    run = RunFolder.create(tmp_path / "run")
    trainer(run, callbacks=[Count(1), Count(2)]).fit()
    later = [Count(0), Count(0)]
    trainer(run, callbacks=later).fit(resume=True)
    assert [count.value for count in later] == [1, 2]


def test_a_configuration_that_contradicts_the_trainer_is_refused():
    with pytest.raises(ConfigError, match="beta"):
        trainer(config=SETTINGS.replace(beta=1.0), beta=2.0)
    with pytest.raises(ConfigError, match="width"):
        trainer(network=TrainConfig(width=7).make_network(3))
    assert trainer(config=TrainConfig(epochs=1), network=SETTINGS.make_network(3)).state.config.width == 4
    with pytest.raises(ConfigError, match="momentum"):
        TrainConfig(momentum=1.0)


#: In a process of its own: the tests' checks of types would be first to refuse what is not of the declared type.
FUZZ_CONFIG = """
import random, sys
from pathlib import Path
from reluopt.config import read_toml_file
from reluopt.errors import ReluoptError
from reluopt.training import TrainConfig
values = ("1", "-1", "1e19", "9" * 400, "9" * 5000, "true", '"x"', "[" * 3000, "[]", "{}", "nan", "inf", "2020-01-01")
file, moments = Path(sys.argv[1]), random.Random(0)
names = [*TrainConfig.__dataclass_fields__, "nonsense"]
for _ in range(int(sys.argv[2])):
    lines = [f"{moments.choice(names)} = {moments.choice(values)}\\n" for _ in range(moments.randrange(3))]
    text = bytearray(("[train]\\n" + "".join(lines)).encode())
    for _ in range(moments.choice((0, 0, 1, 3))):
        text[moments.randrange(len(text))] = moments.randrange(256)
    file.write_bytes(text)
    try:
        table = read_toml_file(file).get("train", {})
        TrainConfig.from_mapping(table if isinstance(table, dict) else {})
    except ReluoptError as error:
        assert len(str(error)) < 2000
"""


def test_no_configuration_file_brings_down_more_than_a_message(tmp_path):
    command = [sys.executable, "-c", FUZZ_CONFIG, str(tmp_path / "config.toml"), str(tries(500, 2000))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_checkpoint_file_brings_down_more_than_a_message(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    trainer(run).fit()
    whole, moments = run.latest_checkpoint.read_bytes(), random.Random(0)
    size = int.from_bytes(whole[:8], "little")
    for number in range(tries(400, 2000)):
        damaged = bytearray(whole)
        for _ in range(moments.choice((1, 2, 5))):
            damaged[moments.randrange(8, 8 + size)] = moments.choice(b'0123456789{}[]",:truefalsn-.eE \x00\xff')
        run.latest_checkpoint.write_bytes(damaged[: moments.choice((len(damaged), len(damaged), size))])
        try:
            load_weights(run)
            if number % 10 == 0:  # it costs more
                trainer(run).fit(resume=True)
        except ReluoptError:
            pass


def test_a_disk_that_fills_while_the_folder_is_made_leaves_nothing_in_the_way(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = RunFolder(tmp_path / "run")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"), run.locked():
        run.make()
    assert not run.path.exists()
    monkeypatch.undo()
    run.checkpoints.mkdir(parents=True)  # as a process leaves it that was killed at that moment
    (run.checkpoints / ".latest.safetensors.1.tmp").write_bytes(b"half")
    RunFolder.create(run.path)
    (tmp_path / "other" / "checkpoints").mkdir(parents=True)
    (tmp_path / "other" / "checkpoints" / "mine").write_text("not reluopt's")
    with pytest.raises(CheckpointError, match="not empty"):
        RunFolder.create(tmp_path / "other")


@pytest.mark.parametrize(
    "left",
    [lambda text: None, lambda text: b"", lambda text: text.split(b"\n")[0] + b"\n", lambda text: b"\xff\x00" * 99],
    ids=["missing", "empty", "cut", "binary"],
)
def test_records_that_are_gone_are_said_where_training_goes_on(left, tmp_path, caplog):
    run = stopped_at(4, tmp_path / "run")
    assert not caplog.records
    content = left(run.metrics_file.read_bytes())
    run.metrics_file.unlink()
    if content is not None:
        run.metrics_file.write_bytes(content)
    assert trainer(run).fit(resume=True).epochs == 6
    (said,) = caplog.messages
    assert f"has {len(run.metrics()) - 2} of the 2 records before epoch 4" in said


def stopped_at(epoch, path):
    """A run with a checkpoint of that epoch, and the records before it."""

    class Stop(Callback):
        def on_record(self, state, record):
            if state.epoch == epoch and not state.resumed:
                raise OSError(errno.EIO, "stopped")

    run = RunFolder.create(path)
    with pytest.raises(OSError, match="stopped"):
        trainer(run, callbacks=[Stop()]).fit()
    return run


def test_space_is_asked_for_before_a_run_goes_on_but_not_of_a_finished_one(tmp_path, monkeypatch):
    run = stopped_at(4, tmp_path / "run")
    before = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=10**6))
        with pytest.raises(CheckpointError, match=r"has 1\.0 MB left; this run needs about"):
            trainer(run).fit(resume=True)
        assert {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()} == before
    trainer(run).fit(resume=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=10**6))
    assert trainer(run).fit(resume=True).epochs == 6


def test_a_broken_record_is_told_before_the_data_are_read(tmp_path, monkeypatch):
    run = stopped_at(4, tmp_path / "run")
    run.metrics_file.write_bytes(b"{}\n" + run.metrics_file.read_bytes())
    monkeypatch.setattr(train_run, "read_run", pytest.fail)
    with pytest.raises(CheckpointError, match="Line 1 of"):
        train_run.resumed_training(run.path)
