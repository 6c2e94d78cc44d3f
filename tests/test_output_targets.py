"""Tables with several target columns: one output each, in the order that is asked for, with their names."""

import json

import numpy as np
import pytest

from reluopt.data import DataConfig, Dataset, load_dataset, remarks
from reluopt.data.preparation import Preparation
from reluopt.errors import DataError
from reluopt.runs import RunFolder
from reluopt.workflows.runs import read_run
from tests.commands import reluopt


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((24, 2))
    rows = [f"{a},{b},{3 * a + b},{100 - 50 * b},{int(a > 0)},{int(b > 0)},{'uv'[int(a > b)]}" for a, b in X]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["p,q,far,near,up,left,word", *rows]))
    return path


def load(path, **settings):
    return load_dataset(DataConfig(dataset=str(path), **settings))


@pytest.mark.parametrize("target", ["near,far", "near, far", ["near", "far"], "4,3"])
def test_the_order_is_the_users(table, target):
    data = load(table, target=target, drop="word")
    assert data.output_names == ("near", "far") and data.y.shape == (24, 2)
    assert np.allclose(data.y.mean(axis=0), 0) and np.allclose(data.y.std(axis=0), 1)
    one = load(table, target="near", drop="word,far")
    assert np.allclose(data.y[:, 0], one.y)
    assert "2 targets, one output each: near, far" in remarks(data)
    assert set(data.feature_names) == {"p", "q", "up", "left", "bias"}
    assert np.allclose(data.preparation.target.undo(data.y)[:, 0], one.preparation.target.undo(one.y))


def test_labels_stay_as_they_are(table):
    data = load(table, target="up,left", drop="word")
    assert set(np.unique(data.y)) == {0.0, 1.0} and data.labels is None
    assert data.output_names == ("up", "left")


def test_what_cannot_be_several_targets(table, tmp_path):
    for words, target in (("named twice", "far,far"), ("word", "far,word"), ("no column 'fra'", "far,fra")):
        with pytest.raises(DataError, match=words):
            load(table, target=target)
    with pytest.raises(DataError, match="left out"):
        load(table, target="far,near", drop="near")
    gap = tmp_path / "gap.csv"
    gap.write_text(table.read_text().replace("100", "", 1) + "\n1,2,,4,1,0,u\n")
    with pytest.raises(DataError, match="far"):
        load(gap, target="far,near", drop="word")
    assert load(gap, target="far,near", drop="word", missing="drop-rows").n == 24
    comma = tmp_path / "comma.csv"
    comma.write_text('p,"a,b"\n' + "\n".join(f"{k},{k * k}" for k in range(9)))
    assert load(comma, target="a,b").y.ndim == 1  # a column of this name is the target


def test_a_preparation_is_kept_and_read_again(table):
    data = load(table, target="near,far", drop="word")
    again = Preparation.from_mapping(json.loads(json.dumps(data.preparation.to_mapping())))
    assert again.output_names == ("near", "far")
    raw = data.preparation.target.undo(data.y)
    assert np.allclose(again.target.apply(raw, data.origin), data.y)


def test_arrays_of_several_targets_are_standardised_one_by_one_where_asked():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((20, 2)) * [1, 100] + [5, 0]
    data = Dataset.from_arrays(rng.standard_normal((20, 3)), y, standardise_target=True)
    assert np.allclose(data.y.mean(axis=0), 0) and np.allclose(data.y.std(axis=0), 1)
    with pytest.raises(DataError, match="target 2 of 2 is constant"):
        Dataset.from_arrays(
            rng.standard_normal((20, 3)), np.column_stack([y[:, 0], np.ones(20)]), standardise_target=True
        )


@pytest.mark.parametrize(("target", "loss"), [("near,far", "squared"), ("up,left", "logistic")])
def test_commands_take_several_targets(table, tmp_path, target, loss):
    run, out = tmp_path / "run", tmp_path / "p.csv"
    words = ["train", table, "--target", target, "--drop", "word", "--loss", loss, "--epochs", 30, "--width", 4]
    assert reluopt(*words, "--out", run, "--quiet", cwd=tmp_path).returncode == 0
    assert read_run(RunFolder.open(run)).problem.outputs == 2
    assert reluopt("certify", run, "--effort", "fast", "--time-limit", 2, cwd=tmp_path).returncode == 0
    assert reluopt("predict", run, table, "--out", out, cwd=tmp_path).returncode == 0
    first, second = target.split(",")
    assert out.read_text().splitlines()[0].count(f"output {first}") == 1 and f"output {second}" in out.read_text()
    shown = reluopt("data", table, "--target", first, "--target", second, "--drop", "word", cwd=tmp_path)
    assert shown.returncode == 0 and f"2 targets, one output each: {first}, {second}" in shown.stdout + shown.stderr
