"""[train] optimizer = lbfgs and solve: L falls, the run is one like any other, and what they cannot do is said."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import killed_when, reluopt

from reluopt import Problem
from reluopt.beta_max import beta_max_estimate
from reluopt.errors import ConfigError
from reluopt.losses import LOSSES, make_loss
from reluopt.runs import RunFolder
from reluopt.search.refinement import refine
from reluopt.training import Callback, TrainConfig, Trainer
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.runs import read_run
from reluopt.workflows.searched_training import as_trained, searched

DATA = ("planted", "--n", 30, "--d", 4)


def problem(loss: str = "squared", outputs: int = 1) -> Problem:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    y = np.abs(X[:, 0]) - 0.6 + 0.1 * rng.standard_normal(30)
    if outputs > 1:
        y = np.eye(outputs)[(np.abs(X[:, 0]) * 2).astype(int).clip(0, outputs - 1)]
    elif make_loss(loss).classes:
        y = np.where(y > 0, 1.0, -1.0)
    made = Problem(X, y, loss, 1.0, rng.integers(1, 3, 30).astype(float))
    return made.with_beta(0.1 * beta_max_estimate(made))


class Values(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_record(self, state, record) -> None:
        self.values.append(record.scalars["train/objective"])


@pytest.mark.parametrize("loss", [*LOSSES, "several"])
def test_lbfgs_never_raises_the_objective(loss: str) -> None:
    several = loss in ("several", "cross_entropy")
    made = problem("squared" if loss == "several" else loss, outputs=3 if several else 1)
    config, seen = TrainConfig(optimizer="lbfgs", width=8, epochs=60, record_every=1), Values()
    network = config.make_network(made.d, made.outputs)
    result = Trainer(network, made, config=config, callbacks=[seen], progress=False).fit()
    assert (np.diff(seen.values) <= 1e-12 * seen.values[0]).all() and seen.values[-1] < 0.9 * seen.values[0]
    assert result.objective == pytest.approx(made.objective(*network.weights()), rel=1e-12)


def test_lbfgs_goes_to_a_stationary_point_or_says_why_not() -> None:
    """Neurons that are on for all samples: no kinks."""
    rng = np.random.default_rng(1)
    X = np.hstack([0.1 * rng.standard_normal((20, 2)), np.ones((20, 1))])
    made = Problem(X, 1.0 + X[:, 0], "squared", 0.05)
    config = TrainConfig(optimizer="lbfgs", epochs=500, width=2)
    network = config.make_network(3)
    with torch.no_grad():
        network.U.copy_(torch.tensor([[0.1, 0.0, 1.0], [0.0, 0.1, 0.9]]))
        network.alpha.copy_(torch.tensor([0.5, 0.4]))
    result = Trainer(network, made, config=config, progress=False).fit()
    assert result.stopped_because and result.epochs < 500
    assert result.relative_residual < 1e-6


@pytest.mark.parametrize("scale", [1e-30, 1e-12])
def test_lbfgs_near_zero_says_that_a_neuron_would_lower_the_objective(scale: float) -> None:
    """L changes by less than rounding there; the remedies that are named help."""
    made, config = problem(), TrainConfig(optimizer="lbfgs", width=8, epochs=100, init_scale=scale)
    result = Trainer(network := config.make_network(3), made, config=config, progress=False).fit()
    assert result.epochs < 100 and result.objective == pytest.approx(made.zero_value)
    price = re.search(r"a neuron of price ([\d.]+) β would", result.stopped_because)
    assert price and float(price[1]) > 1
    assert refine(made, network).objective < 0.9 * result.objective
    larger = config.replace(init_scale=1.0)
    result = Trainer(larger.make_network(3), made, config=larger, progress=False).fit()
    assert result.objective < 0.9 * made.zero_value and "neuron of price" not in result.stopped_because


@pytest.mark.parametrize("loss", ["squared", "hinge", "cross_entropy"])
def test_a_search_is_said_in_the_words_of_training(loss: str) -> None:
    made = problem(loss, outputs=3 if loss == "cross_entropy" else 1)
    config = TrainConfig(optimizer="solve", loss=loss, epochs=40)
    solved = searched(made, config)
    assert solved.bound is None and math.isinf(solved.gap)
    said = as_trained(made, config, solved.refined)
    assert said.objective == pytest.approx(made.objective(*said.network.weights()), rel=1e-12)
    assert said.objective < made.zero_value and said.epochs == solved.refined.rounds <= 40 and said.stopped_because
    assert searched(made, config.replace(epochs=1)).refined.rounds == 1


def test_a_command_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    options = ("--optimizer", "solve", "--test-fraction", 0.2, "--beta-fraction", 0.05)
    short = reluopt("train", *DATA, *options, "--epochs", 1, "--out", "short", "--json", cwd=tmp_path)
    assert short.returncode == 0, short.stderr
    told = json.loads(short.stdout)["result"]
    assert told["epochs"] == 1 and told["stopped_because"] == "epochs" and "test/loss" in told["scores"]
    assert reluopt("train", *DATA, *options, "--out", "run", "-q", cwd=tmp_path).returncode == 0
    run = RunFolder.open(tmp_path / "run")
    record = read_run(run)
    value = record.problem.objective(*load_weights(run))
    assert record.train.optimizer == "solve" and value < told["objective"]
    again = reluopt("train", "--resume", "run", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["result"]["objective"] <= value * (1 + 1e-12)  # two sums of the same numbers


def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    words = ("train", "planted", "--n", 400, "--d", 12, "--optimizer", "solve", "--beta-fraction", 0.001, "--out", "r")
    run = RunFolder(tmp_path / "r")
    killed_when(run.latest_checkpoint, *words, cwd=tmp_path)
    before = read_run(run).problem.objective(*load_weights(run))
    text = run.config_file.read_text()
    assert "epochs = 15000" in text
    run.config_file.write_text(text.replace("epochs = 15000", "epochs = 3"))
    gone_on = reluopt("train", "--resume", "r", "-q", cwd=tmp_path)
    assert gone_on.returncode == 0, gone_on.stderr
    assert read_run(run).problem.objective(*load_weights(run)) <= before


@pytest.mark.parametrize(
    "bad",
    [
        {"optimizer": "lbfgs", "batch_size": 5},
        {"optimizer": "solve", "batch_size": 5},
        {"optimizer": "solve", "dtype": "float32"},
        {"optimizer": "solve", "device": "cuda"},
    ],
)
def test_what_they_cannot_do_is_said(bad: dict) -> None:
    with pytest.raises(ConfigError):
        TrainConfig(**bad)


def test_the_trainer_does_not_change_a_width() -> None:
    made, config = problem(), TrainConfig(optimizer="solve", width=3)
    with pytest.raises(ConfigError, match="refine"):
        Trainer(config.make_network(3), made, config=config)


def test_a_sweep_has_them_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(
        '[data]\ndataset = "planted"\nn = 20\nd = 3\n[train]\nepochs = 20\nwidth = 5\n'
        '[grid]\n"train.optimizer" = ["adam", "lbfgs", "solve"]\n[sweep]\ncertify = false\n'
    )
    done = reluopt("sweep", "grid.toml", "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pq = pytest.importorskip("pyarrow.parquet")
    (table,) = tmp_path.rglob("rows.parquet")
    rows = {row["train.optimizer"]: row for row in pq.read_table(table).to_pylist()}
    assert all(row["error"] is None for row in rows.values())
    assert rows["solve"]["objective"] <= rows["lbfgs"]["objective"] and rows["solve"]["preserved"] is None
