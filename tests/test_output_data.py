"""Several classes and several targets: from files and built-in data, through every command, with the labels' names."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import reluopt
from reluopt.certificate.reading import read_bound
from reluopt.cli.main import app
from reluopt.data import DataConfig, Dataset, describe, load_dataset
from reluopt.data.remark import remarks
from reluopt.errors import ConfigError, DataError
from reluopt.runs import RunFolder
from reluopt.tracking.pictures import confusion, confusion_figure
from reluopt.workflows.preparation import for_loss
from reluopt.workflows.runs import read_run


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(("name", "shape", "labels"), [("iris", (150, 5), "setosa"), ("wine", (178, 14), "class_0")])
def test_built_in_classes(name, shape, labels):
    data = load_dataset(DataConfig(dataset=name))
    assert data.X.shape == shape and data.y.shape == (shape[0], 3)
    assert data.labels["0"] == labels and (data.y.sum(axis=1) == 1).all()
    assert sum(describe(data).classes.values()) == shape[0] and describe(data).outputs == 3
    assert any("3 classes" in line and labels in line for line in remarks(data))


def test_digits_as_ten_classes_or_two_halves():
    ten = load_dataset(for_loss(DataConfig(dataset="digits", subset=200), "cross_entropy"))
    two = load_dataset(DataConfig(dataset="digits", subset=200))
    assert ten.y.shape == (200, 10) and list(ten.labels.values()) == list("0123456789")
    assert two.y.shape == (200,) and (np.where(ten.y.argmax(1) < 5, -1.0, 1.0) == two.y).all()


def table(tmp_path, labels, name="t.csv"):
    rng = np.random.default_rng(0)
    path = tmp_path / name
    pd.DataFrame({"a": rng.random(len(labels)), "b": rng.random(len(labels)), "k": labels}).to_csv(path, index=False)
    return path


def test_text_of_several_values_is_several_classes(tmp_path):
    path = table(tmp_path, ["red", "green", "blue", "red"] * 5)
    data = load_dataset(DataConfig(dataset=str(path), target="k"))
    assert data.labels == {"0": "blue", "1": "green", "2": "red"}
    assert data.y.argmax(axis=1).tolist() == [2, 1, 0, 2] * 5
    shown = run("data", path, "--target", "k")
    assert shown.exit_code == 0 and "3 classes" in shown.output and "green" in shown.output
    one = load_dataset(DataConfig(dataset=str(path), target="k", positive="red"))
    assert set(one.y) == {-1.0, 1.0}
    other = table(tmp_path, ["blue", "red", "red", "blue"], "u.csv")
    both = load_dataset(DataConfig(dataset=str(path), target="k", test_file=str(other)))
    assert both.test_y.tolist() == np.eye(3)[[0, 2, 2, 0]].tolist()
    strange = table(tmp_path, ["blue", "violet"], "v.csv")
    with pytest.raises(DataError, match="violet"):
        load_dataset(DataConfig(dataset=str(path), target="k", test_file=str(strange)))


def test_whole_numbers_are_asked_about_and_may_be_classes(tmp_path):
    path = table(tmp_path, [3, 1, 7, 3] * 5)
    with pytest.raises(DataError, match="multiclass"):
        load_dataset(DataConfig(dataset=str(path), target="k"))
    data = load_dataset(DataConfig(dataset=str(path), target="k", task="multiclass"))
    assert data.labels == {"0": "1", "1": "3", "2": "7"}
    with pytest.raises(DataError, match="different values"):
        load_dataset(DataConfig(dataset=str(table(tmp_path, ["x"] * 6, "w.csv")), target="k", task="multiclass"))


def test_arrays_of_several_targets():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    data = Dataset.from_arrays(X, Y)
    assert np.array_equal(data.y, Y) and data.labels is None
    assert Dataset.from_arrays(X, pd.DataFrame(Y)).fingerprint == data.fingerprint
    assert Dataset.from_arrays(X, ["u", "v", "w"] * 4, task="multiclass").y.shape == (12, 3)
    Y[3, 1] = np.nan
    with pytest.raises(DataError, match="missing"):
        Dataset.from_arrays(X, Y)
    with pytest.raises(DataError, match="shape"):
        Dataset.from_arrays(X, np.zeros((12, 2, 2)))


def test_losses_ask_for_their_labels():
    iris = DataConfig(dataset="iris")
    assert for_loss(iris, "cross_entropy").task == "multiclass"
    problem = reluopt.Problem(load_dataset(iris).X, load_dataset(iris).y, "logistic")
    assert set(np.unique(problem.y)) == {-1.0, 1.0}
    with pytest.raises(ConfigError, match="several classes"):
        for_loss(iris.replace(positive="setosa"), "cross_entropy")


def test_confusion_counts_every_sample():
    true, found = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    counts = confusion(found, true, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert confusion_figure(counts, {"0": "x"}, 3) is not None


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with three classes, certified."""
    folder = tmp_path_factory.mktemp("several") / "run"
    train = run("train", "iris", "--loss", "cross_entropy", "--epochs", 40, "--width", 6, "--test-fraction", 0.2,
                "--subset", 40, "--record-every", 40, "--out", folder, "--quiet")  # fmt: skip
    assert train.exit_code == 0, train.output
    certify = run("certify", folder, "--effort", "fast", "--time-limit", 3, "--quiet")
    assert certify.exit_code == 0 and "Proved: no network of any width" in " ".join(certify.output.split())
    return folder


def test_train_certify_verify(trained):
    record = json.loads((trained / "certificate.json").read_text())
    assert record["data"]["outputs"] == 3 and record["lower_bound"] > 0
    assert list(record["data"]["preprocessing"]["labels"].values()) == ["setosa", "versicolor", "virginica"]
    metrics = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert 0 <= metrics[-1]["train/accuracy"] <= 1 and 0 <= metrics[-1]["test/accuracy"] <= 1
    verify = run("verify", trained)
    assert verify.exit_code == 0 and "3 outputs" in verify.output


def test_the_confusion_matrix_is_on_tensorboard(trained):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(trained), size_guidance={"images": 0})
    events.Reload()
    assert "train/confusion" in events.Tags()["images"] and "train/accuracy" in events.Tags()["scalars"]


def test_solve_and_refine(trained, tmp_path):
    """A network with a proof, from nothing and from a run's network; both runs are verified and certified."""
    for name, words in (("solved", ["solve", "iris", "--subset", 40]), ("refined", ["refine", trained])):
        folder = tmp_path / name
        result = run(*words, "--budget", 2, "--gap", 4, "--out", folder, "--quiet")
        assert result.exit_code == 0, result.output
        bound = read_bound(folder / "certificate.safetensors", read_run(RunFolder.open(folder)).problem)
        assert bound.value > 0 and bound.method in ("vector moment", "closed form")
        data = tmp_path / f"{name}.npz"
        problem = read_run(RunFolder.open(folder)).problem
        np.savez(data, X=problem.X, y=problem.targets)
        assert run("verify", folder / "certificate.safetensors", "--data", data).exit_code == 0


def test_what_has_one_output_refuses_before_it_begins(trained, tmp_path):
    for words in (["path", "iris"], ["theory", "iris"]):
        out = ["--out", tmp_path / "none"] if words[0] != "theory" else []
        result = run(*words, *out)
        assert isinstance(result.exception, ConfigError) and "several outputs" in str(result.exception), result.output
        assert not (tmp_path / "none").exists()


def test_data_and_its_saved_file(tmp_path):
    saved = tmp_path / "d.npz"
    result = run("data", "iris", "--loss", "cross_entropy", "--save", saved)
    assert result.exit_code == 0 and "setosa" in result.output and "outputs" in result.output
    with np.load(saved) as content:
        assert content["y"].shape == (150, 3)
    again = load_dataset(DataConfig(dataset=str(saved)))
    assert np.array_equal(again.y, load_dataset(DataConfig(dataset="iris")).y)
