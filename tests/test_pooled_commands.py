"""Pooled patches of images on the command line: trained, certified, verified, predicted; and what is refused."""

import json
import re

import numpy as np
import pytest
import torch
from commands import reluopt

from reluopt.convolution import to_convolution
from reluopt.data import DataConfig, describe, load_dataset
from reluopt.data.further import read_further
from reluopt.errors import CheckpointError, ConfigError, DataError, ReluoptError
from reluopt.model import Model
from reluopt.network import from_weights
from reluopt.pooling import patches
from reluopt.problem import as_problem
from reluopt.runs import RunFolder
from reluopt.tracking import tensorboard
from reluopt.tracking.pictures import confusion


@pytest.fixture
def images(tmp_path):
    """An .npz file of 12 images with 6×5 pixels, of two classes."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 6, 5)), np.repeat([-1.0, 1.0], 6)
    np.savez(tmp_path / "images.npz", X=X, y=y)
    return X, y


def settings(tmp_path, **changes):
    return DataConfig(dataset=str(tmp_path / "images.npz"), patches=3, stride=2, task="classification", **changes)


def test_from_images_to_a_verified_proof_and_predictions(images, tmp_path):
    X, _ = images
    words = ("images.npz", "--patches", 3, "--stride", 2, "--pooling", "sum", "--task", "classification", "--bias")
    how = ("--scaling", "standardise", "--epochs", 5, "--width", 3, "--out", "run")
    assert reluopt("train", *words, *how, cwd=tmp_path).returncode == 0
    assert reluopt("certify", "run", "--effort", "fast", cwd=tmp_path).returncode == 0
    assert reluopt("verify", "run", cwd=tmp_path).returncode == 0
    done = reluopt("predict", "run", "images.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows, pooling = patches((X - X.mean()) / X.std(), 3, 2, pool="sum")
    U, alpha = RunFolder.open(tmp_path / "run").load_model().network.weights()
    f = pooling.forward(np.maximum(np.hstack([rows, np.ones((len(rows), 1))]) @ U.T, 0) @ alpha)
    said = json.loads(done.stdout)["result"]
    output = said["columns"].index("output")
    assert [row[output] for row in said["predictions"]] == pytest.approx(f, rel=1e-9)


def test_the_problem_is_that_of_the_patches(images, tmp_path):
    X, _ = images
    data = load_dataset(settings(tmp_path, test_fraction=0.25))
    rows, pooling = patches(X, 3, 2)
    kept = [i for i in range(12) if (X[i].ravel() == data.X).all(axis=1).any()]
    problem, u = as_problem(data, beta=0.1), np.random.default_rng(1).standard_normal((9, 4))
    whole = pooling.forward(np.maximum(rows @ u, 0))
    assert problem.pooled(np.maximum(problem.X @ u, 0)) == pytest.approx(whole[kept], rel=1e-12)
    told = describe(data)
    assert told.patches == {"distinct": len(rows) * len(kept) // 12, "columns": 9}
    assert not told.has_bias_column and describe(load_dataset(settings(tmp_path, bias=True))).has_bias_column
    held, apart = data.pooled_test
    rest = [i for i in range(12) if i not in kept]
    assert apart.forward(np.maximum(held @ u, 0)) == pytest.approx(whole[rest], rel=1e-12) and len(rest) == 3


@pytest.mark.parametrize(
    "changes",
    [{"patches": None}, {"patches": 6}, {"scaling": "unit_rows"}, {"dataset": "iris", "task": "multiclass"}],
    ids=["no patches", "too large", "scaling", "no images"],
)
def test_what_does_not_fit_is_refused(images, tmp_path, changes):
    with pytest.raises(ReluoptError):
        load_dataset(settings(tmp_path).replace(**changes))


def test_what_is_there_for_samples_only_says_so(images, tmp_path):
    for command in ("theory", "relax"):
        done = reluopt(command, "images.npz", "--patches", 3, "--task", "classification", cwd=tmp_path)
        assert done.returncode == 2 and "not there for pooled rows" in done.stderr, done.stderr
    data = load_dataset(settings(tmp_path))
    pooling = data.pooled[1]
    for given in (data, as_problem(data, beta=1.0)):
        with pytest.raises(ReluoptError, match="together with"):
            as_problem(given, beta=1.0, pooling=pooling)


def test_the_convolution_that_a_refusal_names_is_the_network(images, tmp_path):
    X, _ = images
    for scaling in ("standardise", "none"):
        data = load_dataset(settings(tmp_path, scaling=scaling, bias=True))
        weights = np.random.default_rng(1).standard_normal((4, 10)), np.ones(4)
        model = Model(from_weights(*weights), data.preparation, as_problem(data, beta=0.1).loss)
        with pytest.raises(ConfigError, match="no Linear layer") as refused:
            model.to_sequential()
        call = re.search(r"reluopt\.convolution\.(to_convolution\(.*?\)) is", str(refused.value))[1]
        takes = re.search(r"takes \(pixels - (.*)\)/(.*)\.", str(refused.value))
        shift, scale = map(float, takes.groups()) if takes else (0.0, 1.0)
        made = eval(call, {"to_convolution": to_convolution, "model": model}).double()
        with torch.no_grad():
            f = made(torch.tensor((X - shift) / scale)[:, None]).numpy()[:, 0]
        assert f == pytest.approx(model.outputs(X.reshape(12, -1)), rel=1e-9)
    with pytest.raises(ConfigError, match="pooling = average"):
        summed = load_dataset(settings(tmp_path, pooling="sum", bias=True))
        Model(model.network, summed.preparation, model.loss).to_sequential()


def test_images_of_other_shapes_are_refused_by_name(images, tmp_path, caplog):
    X, y = images
    np.savez(tmp_path / "turned.npz", X=X.transpose(0, 2, 1), y=y)
    np.savez(tmp_path / "rows.npz", X=X.reshape(12, -1), y=y)
    np.savez(tmp_path / "unlabelled.npz", X=X.transpose(0, 2, 1))
    with pytest.raises(DataError, match="--patches"):
        load_dataset(DataConfig(dataset=str(tmp_path / "images.npz")))
    for name in ("turned", "rows"):
        with pytest.raises(DataError, match=rf"{name}\.npz has .*1×6×5"):
            load_dataset(settings(tmp_path, test_file=str(tmp_path / f"{name}.npz")))
    preparation = load_dataset(settings(tmp_path)).preparation
    for name in ("turned", "unlabelled"):
        with pytest.raises(DataError, match=rf"{name}\.npz has images of 1×5×6"):
            read_further(tmp_path / f"{name}.npz", preparation)
    assert np.array_equal(read_further(tmp_path / "rows.npz", preparation).X, X.reshape(12, -1))
    for given in (X, X[:, None], torch.tensor(X), X.reshape(12, -1)):
        assert np.array_equal(preparation.transform(given), X.reshape(12, -1))
    with pytest.raises(DataError, match="X has images of 1×5×6"):
        preparation.transform(X.transpose(0, 2, 1))
    X[3, 2, 1] = np.nan
    np.savez(tmp_path / "images.npz", X=X, y=y)
    with pytest.raises(DataError, match=r"row 3.*'pixel_2_1'"):
        load_dataset(settings(tmp_path))
    assert not caplog.records
    np.savez(tmp_path / "images.npz", X=np.random.default_rng(0).standard_normal((12, 6, 5, 3)), y=y)
    assert load_dataset(settings(tmp_path)).feature_names[15] == "pixel_1_0_0"
    assert "moveaxis" in caplog.text


def test_blank_images_are_samples_where_their_patches_are_not_zero(images, tmp_path):
    X, y = images
    X[2] = 0.0
    np.savez(tmp_path / "images.npz", X=X, y=y)
    for changes in ({"bias": True}, {"scaling": "centre"}):
        assert load_dataset(settings(tmp_path, **changes)).pooled[1].n == 12
    with pytest.raises(DataError, match=r"row 2.*all features are zero"):
        load_dataset(settings(tmp_path))
    np.savez(tmp_path / "images.npz", X=np.full_like(X, 0.1), y=y)
    for scaling in ("standardise", "centre"):
        with pytest.raises(DataError, match=r"pixels .* are the same"):
            load_dataset(settings(tmp_path, scaling=scaling))


def test_the_confusion_matrix_on_tensorboard_counts_images(images, tmp_path, monkeypatch):
    X, _ = images
    np.savez(tmp_path / "images.npz", X=X, y=np.arange(12) % 3)
    words = ("--patches", 3, "--task", "multiclass", "--loss", "cross_entropy", "--epochs", 1, "--width", 4)
    seen = []
    monkeypatch.setattr(tensorboard, "confusion", lambda *given: seen.append(given) or confusion(*given))
    done = reluopt("train", "images.npz", *words, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    model = RunFolder.open(tmp_path / "run").load_model()
    found, true, outputs = seen[-1]
    assert np.array_equal(found, model.outputs(X).argmax(1)) and np.array_equal(true, np.arange(12) % 3)
    assert outputs == 3 and len(set(found)) > 1


@pytest.mark.parametrize("change", [{"shape": [1, 5, 5]}, {"shape": [30]}, {"more": 1}])
def test_a_rule_that_was_changed_by_hand_is_refused(images, tmp_path, change):
    preparation = load_dataset(settings(tmp_path)).preparation.to_mapping()
    preparation["patching"] |= change
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.preparation_file.write_text(json.dumps(preparation), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not as reluopt writes it"):
        run.preparation()
