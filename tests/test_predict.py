"""New samples: what a run keeps of its preparation is enough to predict raw ones, in every kind of file."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import reluopt
from reluopt.cli.main import app
from reluopt.data.preparation import Preparation
from reluopt.errors import CheckpointError, ConfigError, DataError

CHEAP = ["--epochs", "300", "--width", "20", "--quiet"]


def call(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "size": rng.normal(50, 9, 60), "colour": rng.choice(["red", "green", "blue"], 60),
        "weight": rng.normal(2, 0.1, 60),
    })  # fmt: skip
    frame["price"] = 100 + 3 * frame["size"] + 20 * (frame["colour"] == "red") + rng.normal(0, 1, 60)
    frame["sold"] = np.where(frame["size"] + rng.normal(0, 2, 60) > 50, "yes", "no")
    return frame.round(6)


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    """A regression and a classification, each with its table."""
    folder = tmp_path_factory.mktemp("predict")
    for name, left_out in (("price", "sold"), ("sold", "price")):
        file = folder / f"{name}.csv"
        table.drop(columns=left_out).iloc[:45].to_csv(file, index=False)
        loss = [] if name == "price" else ["--loss", "logistic"]
        call("train", file, "--target", name, *loss, "--beta-fraction", "0.03", "--out", folder / name, *CHEAP)
    return folder


def test_a_run_predicts_numbers_in_the_units_of_the_file(runs, table):
    model = reluopt.RunFolder.open(runs / "price").load_model()
    new = table.iloc[45:]
    found = model.predict(new)
    assert np.corrcoef(found, new["price"])[0, 1] > 0.95
    assert abs(found.mean() - new["price"].mean()) < 10
    # the order of columns, and columns that are not known, do not matter
    np.testing.assert_allclose(model.predict(new[["weight", "price", "colour", "size"]]), found)


def test_a_run_predicts_labels(runs, table):
    model = reluopt.RunFolder.open(runs / "sold").load_model()
    found = model.predict(table.iloc[45:])
    assert set(found) <= {"yes", "no"}
    assert (found == table.iloc[45:]["sold"]).mean() > 0.7


def test_the_training_rows_become_the_rows_of_x(runs):
    """Dataset.transform, and the preparation as it was stored, do to the raw samples what loading did."""
    for name in ("price", "sold"):
        data = reluopt.load_dataset(reluopt.DataConfig(dataset=str(runs / f"{name}.csv"), target=name))
        raw = pd.read_csv(runs / f"{name}.csv")
        np.testing.assert_array_equal(data.transform(raw), data.X)
        stored = reluopt.RunFolder.open(runs / name).preparation()
        np.testing.assert_array_equal(stored.transform(raw), data.X)
        np.testing.assert_array_equal(
            stored.target.apply(raw[name].to_numpy(dtype=data_kind(raw[name])), data.origin), data.y
        )


def data_kind(column):
    return float if column.dtype.kind == "f" else str


def test_the_command_writes_every_row_and_scores(runs, table, tmp_path):
    new = tmp_path / "new.csv"
    table.drop(columns="sold").iloc[45:].to_csv(new, index=False)
    out = tmp_path / "out.csv"
    said = call("predict", runs / "price", new, "--out", out)
    assert "R2" in said or "R²" in said
    written = pd.read_csv(out)
    model = reluopt.RunFolder.open(runs / "price").load_model()
    np.testing.assert_allclose(written["prediction"], model.predict(table.iloc[45:]), rtol=1e-12)
    call("predict", runs / "price", new, "--out", out, "--replace", "--quiet")
    record = json.loads(call("predict", runs / "price", new, "--json"))["result"]
    truth = table["price"].iloc[45:].to_numpy()
    r2 = 1 - ((written["prediction"] - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert record["score"] == pytest.approx(r2, rel=1e-6)
    assert record["samples"] == record["scored"] == 15


@pytest.mark.parametrize("kind", ["csv", "parquet", "feather", "tsv"])
def test_files_without_a_target_are_predicted(runs, table, tmp_path, kind):
    new, path = table[["colour", "size", "weight"]].iloc[45:].reset_index(drop=True), tmp_path / f"new.{kind}"
    {
        "csv": lambda: new.to_csv(path, index=False, sep=";", decimal=","), "parquet": lambda: new.to_parquet(path),
        "feather": lambda: new.to_feather(path), "tsv": lambda: new.to_csv(path, index=False, sep="\t"),
    }[kind]()  # fmt: skip
    model = reluopt.RunFolder.open(runs / "sold").load_model()
    if kind == "csv":  # written in another notation than the training's
        with pytest.raises(DataError):
            model.predict_file(path)
        return
    record = json.loads(call("predict", runs / "sold", path, "--json"))["result"]
    assert record["score"] is None
    assert record["columns"] == ["prediction", "output", "probability"]
    np.testing.assert_array_equal([row[0] for row in record["predictions"]], model.predict(new))


def test_arrays_of_a_built_in_set(tmp_path):
    call("train", "diabetes", "--subset", "60", "--out", tmp_path / "run", *CHEAP)
    model = reluopt.RunFolder.open(tmp_path / "run").load_model()
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    found = model.predict(X)
    assert found.shape == y.shape
    np.savez(tmp_path / "X.npz", X=X)
    np.testing.assert_allclose(model.predict_file(tmp_path / "X.npz").values, found, rtol=1e-12)
    np.savez(tmp_path / "Xy.npz", X=X, y=y)
    scored = model.predict_file(tmp_path / "Xy.npz")
    assert scored.score == pytest.approx(1 - ((y - found) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def test_what_does_not_fit_is_refused_by_name(runs, table, tmp_path):
    model = reluopt.RunFolder.open(runs / "sold").load_model()
    new = table.iloc[45:]
    with pytest.raises(DataError, match="colour"):
        model.predict(new.drop(columns="colour"))
    with pytest.raises(DataError, match="violet"):
        model.predict(new.assign(colour="violet"))
    with pytest.raises(DataError, match="shape"):
        model.predict(np.zeros((3, 2)))
    holes = new.copy()
    holes.loc[holes.index[0], "size"] = np.nan
    holes.to_csv(tmp_path / "holes.csv", index=False)
    with pytest.raises(DataError, match="'size' is missing"):
        model.predict_file(tmp_path / "holes.csv")


def test_a_preparation_that_was_changed_is_refused(runs, tmp_path):
    run = reluopt.RunFolder.open(runs / "price")
    kept = run.preparation_file.read_text()
    try:
        for broken in ("{", "[]", kept.replace('"kept"', '"left"'), kept.replace('"shift": [', '"shift": ["a", ')):
            run.preparation_file.write_text(broken)
            with pytest.raises(CheckpointError):
                run.load_model()
        run.preparation_file.unlink()
        with pytest.raises(CheckpointError, match="earlier release"):
            run.load_model()
    finally:
        run.preparation_file.write_text(kept)


def test_the_preparation_survives_json(runs):
    for name in ("price", "sold"):
        stored = reluopt.RunFolder.open(runs / name).preparation()
        again = Preparation.from_mapping(json.loads(json.dumps(stored.to_mapping())))
        assert again.to_mapping() == stored.to_mapping()


def test_the_exported_torch_model_is_the_network(runs, table):
    model = reluopt.RunFolder.open(runs / "price").load_model()
    rows = model.preparation.transform(table)
    exported = model.to_sequential()
    features = torch.from_numpy(rows[:, :-1])  # the ones column has become a bias
    np.testing.assert_allclose(exported(features)[:, 0].detach().numpy(), model.outputs(table), atol=1e-12)
    again = reluopt.TwoLayerReLU(model.network.d, model.network.width)
    again.load_state_dict(model.network.state_dict())
    np.testing.assert_array_equal(again.weights()[0], model.network.weights()[0])


def test_onnx_says_what_is_missing_or_writes_the_network(runs, table, tmp_path):
    model, path = reluopt.RunFolder.open(runs / "price").load_model(), tmp_path / "model.onnx"
    try:
        import onnx
        from onnx.reference import ReferenceEvaluator
    except ImportError:
        with pytest.raises(ConfigError, match="onnx"):
            model.save_onnx(path)
        return
    model.save_onnx(path)
    rows = model.preparation.transform(table)[:, :-1].astype(np.float32)
    (f,) = ReferenceEvaluator(onnx.load(path)).run(None, {"X": rows})
    np.testing.assert_allclose(f[:, 0], model.outputs(table), rtol=1e-4, atol=1e-4)


def test_names_that_are_numbers_are_no_positions(tmp_path):
    """Columns '1', '2', '3': where the new table lacks '2', its second column is not taken for it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(30, 4)), columns=["1", "2", "3", "last"])
    frame.to_csv(tmp_path / "all.csv", index=False)
    call("train", tmp_path / "all.csv", "--header", "--target", "last", "--out", tmp_path / "run", *CHEAP)
    model = reluopt.RunFolder.open(tmp_path / "run").load_model()
    assert len(model.predict(frame[["3", "2", "1"]])) == 30
    for missing in ("1", "2", "3"):
        with pytest.raises(DataError, match=f"no column '{missing}', which the training data had"):
            model.predict(frame.drop(columns=missing))
