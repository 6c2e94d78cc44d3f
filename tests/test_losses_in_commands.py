"""Every loss through the commands: data, train, certify, verify, relax, sweep; held-out samples beside it."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from reluopt.certificate.certificate import Certificate
from reluopt.cli.main import app
from reluopt.losses import LOSSES, make_loss
from reluopt.runs import RunFolder

SPECS = ["squared", "huber:0.7", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]
FAST = ["--epochs", "40", "--width", "5"]
NO_PROGRAMS = ["--effort", "fast", "--time-budget", "0"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table with a number and two classes as targets, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    price = np.maximum(X[:, 0], 0) + 0.3 * rng.standard_normal(40)
    lines = ["a,b,price,kind"]
    lines += [f"{a:.6f},{b:.6f},{p:.6f},{'yes' if p > 0.3 else 'no'}" for (a, b), p in zip(X, price, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return tmp_path


def said(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def columns(spec: str) -> list[str]:
    """The options that choose the target the loss can take."""
    classes = make_loss(spec).classes
    return ["--target", "kind" if classes else "price", "--drop", "price" if classes else "kind"]


def test_every_loss_is_tried():
    assert {make_loss(spec).name for spec in SPECS} == set(LOSSES)


@pytest.mark.parametrize("spec", SPECS)
def test_train_certify_and_verify(table, spec):
    trained = said("train", "table.csv", *columns(spec), "--loss", spec, *FAST, "--out", "run", "--test-fraction", 0.2)
    assert ("test accuracy" if make_loss(spec).classes else "test R2") in trained
    records = RunFolder("run").metrics()
    assert all(record["test/loss"] >= 0 for record in records)
    said("certify", "run", *NO_PROGRAMS)
    record = Certificate.from_json((table / "run" / "certificate.json").read_text(encoding="utf-8"))
    assert record.settings["loss"] == make_loss(spec).spec
    assert 0 < record.lower_bound <= record.objective
    proof = said("verify", "run")
    assert make_loss(spec).name in proof and "proved:" in proof


@pytest.mark.parametrize("spec", ["logistic", "huber:0.7"])
def test_relax_takes_the_loss(table, spec):
    said("relax", "table.csv", *columns(spec), "--loss", spec, "--patterns", 6, "--out", "run")
    said("certify", "run", *NO_PROGRAMS)
    assert make_loss(spec).name in said("verify", "run")


WEIGHTED = {
    "train": FAST,
    "relax": ["--patterns", "6"],
    "solve": ["--budget", "1"],
}


@pytest.mark.parametrize("command", WEIGHTED)
def test_balanced_classes_are_weighted_everywhere(table, command):
    said(
        command, "table.csv", *columns("hinge"), "--loss", "hinge", "--class-weight", "balanced", *WEIGHTED[command],
        "--out", "run",
    )  # fmt: skip
    said("certify", "run", *NO_PROGRAMS)
    assert "weights" in said("verify", "run")
    if command == "train":
        said("train", "--resume", "run")


def test_data_brackets_beta_max_of_the_loss(table):
    ends = {}
    for spec in ("squared", "logistic"):
        text = said("data", "table.csv", *columns("logistic"), "--loss", spec)
        ends[spec] = [float(re.search(rf"β_max, {how}[^0-9]*([\d.]+)", text)[1]) for how in ("by local", "proved")]
    for low, high in ends.values():
        assert low <= high
    # z of the zero network is y for the squared loss and y/2 for the logistic one
    assert ends["logistic"][0] == pytest.approx(ends["squared"][0] / 2, rel=1e-4)


def test_a_sweep_over_losses(table):
    (table / "grid.toml").write_text(
        '[data]\ndataset = "table.csv"\ntarget = "kind"\ndrop = ["price"]\n\n[train]\nepochs = 20\nwidth = 4\n\n'
        '[certify]\ntime_budget = 0.0\n\n[grid]\n"train.loss" = ["squared", "logistic", "hinge"]\n'
    )
    said("sweep", "grid.toml", "--workers", 1)
    import pyarrow.parquet as pq

    rows = pq.read_table("runs/grid/rows.parquet").to_pylist()
    assert {row["train.loss"] for row in rows} == {"squared", "logistic", "hinge"}
    assert all(0 < row["lower_bound"] <= row["objective"] for row in rows), json.dumps(rows, default=str)
