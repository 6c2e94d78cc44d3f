"""Training: what a record says, where it stops, and that an interrupted run ends as if it had never been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import by_formula
import numpy as np
import pytest
import torch

from reluopt.errors import CheckpointError, ConfigError, DataError, TrainingError
from reluopt.network import TwoLayerReLU
from reluopt.runs import RunFolder
from reluopt.training import Callback, TrainConfig, Trainer
from reluopt.training.checkpoint import load_weights, read_checkpoint
from reluopt.training.state import begin
from reluopt.writing import write_atomically

N, D, BETA = 23, 4, 0.3
MODES = [
    {"optimizer": "sgd", "learning_rate": 1e-3, "schedule": "cosine"},
    {"optimizer": "sgd", "learning_rate": 1e-3, "schedule": "step", "batch_size": 7},
    {"optimizer": "adam"},
    {"optimizer": "adam", "batch_size": 7, "schedule": "linear", "dtype": "float32"},
    {"optimizer": "lbfgs"},
]


def problem(seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, D)), rng.standard_normal(N)


def settings(**changes) -> TrainConfig:
    return TrainConfig(**{"width": 6, "epochs": 20, "record_every": 3, "checkpoint_every": 4, **changes})


def trainer(config, run=None, callbacks=(), beta=BETA, data=None):
    X, y = data or problem()
    network = config.make_network(D)
    return Trainer(network, X, y, beta, config, run=run, callbacks=callbacks, progress=False)


def weights(result):
    return [p.detach().clone() for p in result.network.parameters()]


def same(a, b) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


class Collect(Callback):
    def __init__(self):
        self.records = []

    def on_record(self, state, record):
        self.records.append((record, [p.detach().clone() for p in state.network.parameters()]))


class At(Callback):
    """Does something at one event of one epoch."""

    def __init__(self, event, epoch, act):
        self.epoch, self.act = epoch, act
        setattr(self, event, self._happen)

    def _happen(self, state, *record):
        if state.epoch == self.epoch:
            self.act(state)


class Crash(Exception):
    pass


def crash(state):
    raise Crash


# -- what a record says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_record_describes_the_weights_after_its_epochs(mode):
    seen = Collect()
    X, y = problem()
    result = trainer(settings(**mode), callbacks=[seen]).fit()
    assert [record.epoch for record, _ in seen.records] == [0, 3, 6, 9, 12, 15, 18, 20]
    tolerance = 1e-4 if mode.get("dtype") == "float32" else 1e-10
    for record, (U, alpha) in seen.records:
        U, alpha = U.double().numpy(), alpha.double().numpy()
        loss = by_formula.squared_loss(by_formula.predict(X, U, alpha), y)
        residual = np.sqrt(sum(np.sum(g**2) for g in by_formula.gradient(X, y, U, alpha, BETA)))
        L = by_formula.objective(X, y, U, alpha, BETA)
        assert record.scalars["train/loss"] == pytest.approx(loss, rel=tolerance)
        assert record.scalars["train/objective"] == pytest.approx(L, rel=tolerance)
        assert record.scalars["train/stationarity_residual"] == pytest.approx(residual, rel=tolerance * 10)
        size = np.sqrt(np.sum(U**2) + np.sum(alpha**2))
        assert record.relative_residual == pytest.approx(residual * size / L, rel=tolerance * 10)
        np.testing.assert_allclose(record.preactivations.numpy(), X @ U.T, atol=tolerance * 10)
    assert result.objective == seen.records[-1][0].scalars["train/objective"]
    # the weights at a record are those of a shorter run with the same step sizes
    short = settings(**mode, epochs=0)
    assert same(seen.records[0][1], list(short.make_network(D).parameters()))


@pytest.mark.parametrize("every", [1, 5])
def test_full_batch_records_cost_no_further_pass(every, monkeypatch):
    passes = []
    original = TwoLayerReLU.preactivations
    monkeypatch.setattr(TwoLayerReLU, "preactivations", lambda self, X: passes.append(1) or original(self, X))
    trainer(settings(record_every=every)).fit()
    assert len(passes) == 21  # one an epoch, and one for the record of the end


def test_mini_batches_are_scaled_by_n_over_their_size():
    config = settings(optimizer="sgd", momentum=0.0, learning_rate=1e-3, schedule="constant", batch_size=10, epochs=1)
    X, y = (torch.from_numpy(a) for a in problem())
    U, alpha = (p.detach().clone() for p in config.make_network(D).parameters())
    order = torch.randperm(
        N, generator=begin(config.make_network(D), config.make_problem(X, y, BETA), config, None).sampler
    )
    for batch in (order[:10], order[10:20], order[20:]):
        whole = by_formula.gradient(X[batch], y[batch], U, alpha, 0.0)
        gU, ga = (N / len(batch) * g for g in whole)
        U, alpha = U - 1e-3 * (gU + BETA * U), alpha - 1e-3 * (ga + BETA * alpha)
    got = weights(trainer(config).fit())
    torch.testing.assert_close(got[0], U, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got[1], alpha, rtol=1e-12, atol=1e-12)


def test_training_goes_down_and_ends_balanced():
    seen = Collect()
    config = settings(optimizer="sgd", learning_rate=2e-3, final_learning_rate=1e-5, epochs=4000, record_every=100)
    U, alpha = weights(trainer(config, callbacks=[seen]).fit())
    values = [record.scalars["train/objective"] for record, _ in seen.records]
    assert values[-1] < 0.95 * values[0]
    assert (U.norm(dim=1) - alpha.abs()).abs().max() < 0.01 * alpha.abs().max()


def test_nothing_draws_from_the_global_generators():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    trainer(settings(batch_size=5)).fit()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("schedule", ["constant", "exponential", "cosine", "linear", "step"])
def test_schedules_go_from_the_first_to_the_final_step_size(schedule):
    seen = Collect()
    config = settings(schedule=schedule, learning_rate=1e-2, final_learning_rate=1e-4, record_every=1)
    trainer(config, callbacks=[seen]).fit()
    rates = [record.scalars["train/learning_rate"] for record, _ in seen.records]
    assert rates[0] == 1e-2
    assert rates == sorted(rates, reverse=True)
    # the steps of 'step' end on the final step size; the others reach it after the last step
    assert rates[-2 if schedule == "step" else -1] == pytest.approx(1e-2 if schedule == "constant" else 1e-4)


# -- where it stops ------------------------------------------------------------------------------------------------


def test_it_stops_at_a_stationary_point():
    config = settings(optimizer="sgd", learning_rate=5e-3, schedule="constant", epochs=20000, beta=100.0)
    result = trainer(config.replace(stationarity_tolerance=1e-6), beta=100.0).fit()
    assert result.stopped_because == "stationary to 1e-06"
    assert result.epochs < 20000
    assert result.relative_residual <= 1e-6


def test_a_callback_may_stop_it_and_zero_epochs_are_allowed():
    result = trainer(settings(), callbacks=[At("on_record", 6, lambda state: state.stop("enough"))]).fit()
    assert (result.epochs, result.stopped_because) == (6, "enough")
    result = trainer(settings(epochs=0)).fit()
    assert (result.epochs, result.stopped_because) == (0, "epochs")


@pytest.mark.parametrize("batch", [None, 7])
def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_last_good_checkpoint(tmp_path, batch):
    run = RunFolder.create(tmp_path / "run")
    config = settings(optimizer="sgd", learning_rate=1e3, schedule="constant", checkpoint_every=1, batch_size=batch)
    with pytest.raises(TrainingError, match="learning_rate"):
        trainer(config, run).fit()
    for which in ("initial", "latest"):
        if which == "initial" or run.latest_checkpoint.exists():
            assert all(np.isfinite(w).all() for w in load_weights(run, which))


# -- resume --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["on_epoch", "on_record", "on_end"])
@pytest.mark.parametrize("mode", MODES)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(tmp_path, mode, event):
    config = settings(**mode)
    whole, broken = RunFolder.create(tmp_path / "whole"), RunFolder.create(tmp_path / "broken")
    expected = weights(trainer(config, whole).fit())
    for epoch in (0, 9, 18, 20) if event != "on_end" else (20,):
        with pytest.raises(Crash):
            trainer(config, broken, callbacks=[At(event, epoch, crash)]).fit(resume=epoch > 0)
    assert same(weights(trainer(config, broken).fit(resume=True)), expected)
    assert broken.metrics_file.read_bytes() == whole.metrics_file.read_bytes()
    assert broken.initial_checkpoint.read_bytes() == whole.initial_checkpoint.read_bytes()
    assert broken.latest_checkpoint.read_bytes() == whole.latest_checkpoint.read_bytes()


def test_resuming_a_finished_run_changes_nothing_and_returns_its_result(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    result = trainer(settings(), run).fit()
    before = {f: f.read_bytes() for f in run.path.rglob("*") if f.is_file()}
    again = trainer(settings(), RunFolder.open(run.path)).fit(resume=True)
    assert same(weights(again), weights(result))
    assert (again.objective, again.stopped_because) == (result.objective, result.stopped_because)
    assert {f: f.read_bytes() for f in run.path.rglob("*") if f.is_file()} == before


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
from test_training import *
config = settings(**{mode!r})
trainer(config, RunFolder.open({run!r})).fit(resume=True)
"""


@pytest.mark.parametrize(("mode", "kills"), [(MODES[3], 2)])
def test_a_killed_process_is_resumed_bit_for_bit(tmp_path, mode, kills):
    """SIGKILL at random moments; with a checkpoint every epoch many of them hit the middle of a write."""
    mode = {**mode, "epochs": 800, "checkpoint_every": 1, "record_every": 1}
    config, moments = settings(**mode).replace(checkpoint_every=300), random.Random(0)
    whole, killed = RunFolder.create(tmp_path / "whole"), RunFolder.create(tmp_path / "killed")
    expected = weights(trainer(config, whole).fit())
    script = SCRIPT.format(tests=str(Path(__file__).parent), mode=mode, run=str(killed.path))
    for _ in range(kills):
        lines = len(killed.metrics_file.read_bytes().splitlines()) if killed.metrics_file.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
        wait_for_lines(killed, lines + moments.randrange(20, 200), process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the process ended before it was killed: give it more epochs"
    # what a kill in the middle of a write may leave behind, made sure of
    (killed.checkpoints / ".latest.safetensors.1.tmp").write_bytes(killed.latest_checkpoint.read_bytes()[:99])
    with killed.metrics_file.open("a") as file:
        file.write('{"epoch": 17, "train/obj')
    assert same(weights(trainer(config, killed).fit(resume=True)), expected)
    assert killed.metrics_file.read_bytes() == whole.metrics_file.read_bytes()
    assert sorted(f.name for f in killed.checkpoints.iterdir()) == ["initial.safetensors", "latest.safetensors"]


def wait_for_lines(run, count, process):
    limit = time.monotonic() + 600
    while time.monotonic() < limit and process.poll() is None:
        if run.metrics_file.exists() and run.metrics_file.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("the process did not get going")


def press_ctrl_c(state):
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_saves_after_the_epoch_and_says_how_to_resume(tmp_path):
    whole, run = RunFolder.create(tmp_path / "whole"), RunFolder.create(tmp_path / "run")
    expected = weights(trainer(settings(), whole).fit())
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"(?s)after epoch 10 of 20.*--resume"):
        trainer(settings(), run, callbacks=[At("on_epoch", 9, press_ctrl_c)]).fit()
    assert signal.getsignal(signal.SIGINT) is handler
    assert read_checkpoint(run.latest_checkpoint)[1]["epoch"] == 10
    assert same(weights(trainer(settings(), run).fit(resume=True)), expected)
    assert run.metrics_file.read_bytes() == whole.metrics_file.read_bytes()


def test_a_second_ctrl_c_stops_at_once_and_saves_nothing_half_done(tmp_path):
    run = RunFolder.create(tmp_path / "run")

    def twice(state):
        press_ctrl_c(state)
        press_ctrl_c(state)

    with pytest.raises(KeyboardInterrupt):
        trainer(settings(), run, callbacks=[At("on_record", 9, twice)]).fit()
    assert read_checkpoint(run.latest_checkpoint)[1]["epoch"] == 8


@pytest.mark.parametrize(
    ("changes", "beta", "seed", "named"),
    [
        ({"learning_rate": 5e-3}, BETA, 0, "learning_rate"),
        ({"width": 7}, BETA, 0, "width"),
        ({"epochs": 30}, BETA, 0, "epochs"),
        ({}, 0.31, 0, "β"),
        ({}, BETA, 1, "the data"),
    ],
)
def test_another_run_s_checkpoint_is_refused_and_the_difference_named(tmp_path, changes, beta, seed, named):
    run = RunFolder.create(tmp_path / "run")
    trainer(settings(), run).fit()
    with pytest.raises(CheckpointError, match=named):
        trainer(settings(**changes), run, beta=beta, data=problem(seed)).fit(resume=True)


def test_damaged_checkpoints_and_folders_in_use_are_refused(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    trainer(settings(), run).fit()
    with pytest.raises(CheckpointError, match="already holds"):
        trainer(settings(), run).fit()
    whole = run.latest_checkpoint.read_bytes()
    for damaged in (whole[:-5], whole[:50], b"", b"nonsense" * 10):
        run.latest_checkpoint.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            trainer(settings(), run).fit(resume=True)
    with pytest.raises(CheckpointError, match="no run folder"):
        trainer(settings()).fit(resume=True)


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 1.0, "beta_fraction": 0.1},
        {"final_learning_rate": 1.0},
        {"width": 0},
        {"optimizer": "adamw"},
        {"dtype": "float16"},
        {"batch_size": 0},
    ],
)
def test_settings_outside_of_what_is_allowed_are_refused(wrong):
    with pytest.raises(ConfigError):
        TrainConfig(**wrong)


def test_data_that_do_not_fit_are_refused():
    X, y = problem()
    bad = X.copy()
    bad[3, 1] = np.nan
    for data in ((X[:, :3], y), (X, y[:-1]), (bad, y), (X, X)):
        with pytest.raises(DataError):
            trainer(settings(), data=data)
    for beta in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError):
            trainer(settings(), beta=beta)
    with pytest.raises(ConfigError, match="batch_size"):
        trainer(settings(batch_size=N + 1))
    with pytest.raises(ConfigError, match="device"):
        settings(device="abacus").make_network(D)


def test_beta_is_absolute_or_a_fraction_a_tenth_by_default():
    assert TrainConfig(beta=3.0).resolve_beta(50.0) == 3.0
    assert TrainConfig(beta_fraction=0.02).resolve_beta(50.0) == 1.0
    assert TrainConfig().resolve_beta(50.0) == 5.0


# -- the run folder ------------------------------------------------------------------------------------------------


def test_a_run_folder_is_not_overwritten_by_accident(tmp_path):
    config = {"data": {"name": "x"}, "train": settings().to_mapping()}
    run = RunFolder.create(tmp_path / "run", config)
    assert RunFolder.open(run.path).config() == config
    assert TrainConfig.from_mapping(run.config()["train"]) == settings()
    trainer(settings(), run).fit()
    with pytest.raises(CheckpointError, match="already holds a run"):
        RunFolder.create(run.path)
    fresh = RunFolder.create(run.path, config, overwrite=True)
    assert fresh.metrics() == [] and not any(fresh.checkpoints.iterdir())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match="not empty"):
            RunFolder.create(tmp_path / "other", overwrite=overwrite)
    with pytest.raises(CheckpointError, match="is a file"):
        RunFolder.create(tmp_path / "other" / "thesis.tex")


def test_folders_that_are_no_runs_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no run folder"):
        RunFolder.open(tmp_path / "missing")
    with pytest.raises(CheckpointError, match=r"no config\.toml"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.toml").write_text("[data")
    with pytest.raises(CheckpointError, match="TOML"):
        RunFolder.open(tmp_path).config()


def test_metrics_forgive_a_torn_last_line_only(tmp_path):
    run = RunFolder.create(tmp_path / "run")
    for epoch in range(3):
        run.append_metrics({"epoch": epoch, "x": 0.1})
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 3, "x"')
    assert [r["epoch"] for r in run.metrics()] == [0, 1, 2]
    run.keep_metrics_before(2)
    assert [json.loads(line)["epoch"] for line in run.metrics_file.read_text().splitlines()] == [0, 1]
    run.metrics_file.write_text('{"epoch": 0}\nbroken\n{"epoch": 2}\n')
    with pytest.raises(CheckpointError, match="Line 2"):
        run.metrics()


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, "old")

    def fail(fd):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["file"]
