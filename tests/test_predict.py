"""New samples: what a run keeps of its preparation is enough to predict raw ones, in every kind of file."""

from __future__ import annotations

import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import reluopt
from reluopt.cli.main import app
from reluopt.data.further import read_further
from reluopt.data.labels import map_labels
from reluopt.data.origin import Origin
from reluopt.data.preparation import Preparation
from reluopt.data.samples import Samples
from reluopt.data.table import TableSettings
from reluopt.errors import CheckpointError, ConfigError, DataError
from reluopt.losses import make_loss
from reluopt.model import Model

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
    shown = pd.read_csv(io.StringIO(call("predict", runs / "price", new).split("... and")[0]))
    np.testing.assert_array_equal(shown, written[:10])  # to the last digit
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


#: Changes of preparation.json by hand; where they can be seen without knowing how it was, the words that say so.
CHANGES = {
    "no JSON": (lambda text: text[:-3], "JSON"), "empty": (lambda text: "", "JSON"),
    "nothing": (lambda text: "{}", "not as"),
    "a list": (lambda text: "[]", "not as"), "a key": (lambda text: text.replace('"kept"', '"left"'), "kept"),
    "no number": (lambda text: text.replace('"shift": [', '"shift": ["a", '), "ValueError"),
    "swapped": (lambda text: text.replace("weight", "w").replace("size", "weight").replace('"w"', '"size"'), None),
    "divisor": (lambda text: text.replace('"divisor": 1.0', '"divisor": 0.0'), "divisor"),
    "kept": (lambda text: text.replace('"kept": [true, ', '"kept": ['), "kept"),
    "shift": (lambda text: text.replace('"shift": [', '"shift": [1.0, '), "shift|TypeCheck"),
    "scale": (lambda text: re.sub(r'"scale": \[[^,]*', '"scale": [0.0', text), "scale"),
    "infinite": (lambda text: re.sub('"target_mean": [^,]*', '"target_mean": Infinity', text), "target_mean"),
    "another": (lambda text: re.sub('"target_std": [^,]*', '"target_std": 17.0', text), None),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_preparation_that_was_changed_is_refused(runs, tmp_path, change):
    run = reluopt.RunFolder(shutil.copytree(runs / "price", tmp_path / "run"))
    kept, (changed, words) = run.preparation_file.read_text(), CHANGES[change]
    run.preparation_file.write_text(changed(kept))
    assert run.preparation_file.read_text() != kept
    with pytest.raises(CheckpointError, match="another sha256" if words is None else words):
        run.load_model()
    said = CliRunner().invoke(app, ["train", "--resume", str(run.path)])
    assert isinstance(said.exception, CheckpointError), "training finds it before it goes on"
    config = run.config_file.read_text()
    run.config_file.write_text(re.sub("\npreparation = .*", "", config))  # as an earlier release left it
    if words is not None:
        with pytest.raises(CheckpointError, match=words):
            run.load_model()
    run.config_file.write_text(config)
    run.preparation_file.write_text(json.dumps(json.loads(kept), indent=2))  # put back, laid out anew
    run.load_model()
    call("train", "--resume", run.path, "--quiet")


def test_a_preparation_that_is_missing_is_said(runs, tmp_path):
    run = reluopt.RunFolder(shutil.copytree(runs / "price", tmp_path / "run"))
    run.preparation_file.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        run.load_model()
    run.config_file.write_text(re.sub("\npreparation = .*", "", run.config_file.read_text()))
    with pytest.raises(CheckpointError, match="earlier release"):
        run.load_model()
    call("train", "--resume", run.path, "--quiet")


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


# -- files that were written otherwise than the training's -----------------------------------------------------------


def loaded(folder, text, **settings):
    """The data set of a text."""
    path = folder / "training.csv"
    path.write_text(text)
    return reluopt.load_dataset(reluopt.DataConfig(dataset=str(path), target="last", **settings))


def further(folder, text, data, **settings):
    path = folder / "new.csv"
    path.write_text(text)
    return read_further(path, data.preparation, TableSettings(**settings))


def rows(*columns):
    return "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


NUMBERS = np.random.default_rng(3).normal(size=(3, 12)).round(3)


@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_file_without_a_header_may_lack_the_target_wherever_it_was(tmp_path, target):
    path = tmp_path / "all.csv"
    path.write_text(rows(*NUMBERS))
    data = reluopt.load_dataset(reluopt.DataConfig(dataset=str(path), target=str(target + 1)))
    others = [column for j, column in enumerate(NUMBERS) if j != target]
    found = further(tmp_path, rows(*others), data)
    np.testing.assert_array_equal(found.X, data.X)
    assert found.y is None
    whole = further(tmp_path, rows(*NUMBERS), data)
    np.testing.assert_array_equal(whole.X, data.X)
    np.testing.assert_array_equal(whole.y, data.y)


@pytest.mark.parametrize(
    ("settings", "columns"),
    [({}, NUMBERS[:1]), ({}, [*NUMBERS, NUMBERS[0]]), ({"drop": "1"}, NUMBERS[1:]), ({"drop": "1"}, NUMBERS[:2])],
)
def test_a_file_without_a_header_that_may_be_shifted_is_refused(tmp_path, settings, columns):
    data = loaded(tmp_path, rows(*NUMBERS), **settings)
    with pytest.raises(DataError, match=r"without a header they are told apart.*\n.*cells of the target may be empty"):
        further(tmp_path, rows(*columns), data)
    found = further(tmp_path, rows(*NUMBERS[:2], [""] * 12), data)  # what the message says
    np.testing.assert_array_equal(found.X, data.X)
    # where the file has the target all columns are needed, as in a file to test on
    with pytest.raises(DataError, match="training data 3 columns"):
        further(tmp_path, rows(*NUMBERS[1:]), data, target="last")


def test_a_file_to_test_on_without_a_header_is_never_read_shifted(tmp_path):
    (tmp_path / "test.csv").write_text(rows(*NUMBERS[1:]))
    (tmp_path / "all.csv").write_text(rows(*NUMBERS))
    with pytest.raises(DataError, match=r"test.csv has 2 columns.*\n.*the target included"):
        reluopt.load_dataset(
            reluopt.DataConfig(dataset=str(tmp_path / "all.csv"), target="first", test_file=str(tmp_path / "test.csv"))
        )


def test_one_file_has_a_header_and_the_other_has_none(tmp_path):
    colours, sizes = ["red", "blue"] * 6, ["small", "large", "large"] * 4
    data = loaded(tmp_path, rows(colours, sizes, NUMBERS[0]))
    new = "red,small\nblue,large\n"  # a header, by all that can be seen
    with pytest.raises(DataError, match=r"read as one: red, small\.\n.*--no-header.*x1, x2"):
        further(tmp_path, new, data)
    found = further(tmp_path, new, data, header=False)
    np.testing.assert_array_equal(further(tmp_path, "x2,x1\nsmall,red\nlarge,blue\n", data).X, found.X)
    # names that the table has only because it has no header are no names: its second column is not x1
    data = loaded(tmp_path, "price,x1,x2\n" + rows(*NUMBERS), drop="price")
    with pytest.raises(DataError, match=r"no header.*\n.*price, x1, x2.*--header"):
        further(tmp_path, rows(*NUMBERS), data)


CODES = ["01", "02", "1", "1A"] * 3


def test_a_code_is_the_same_whatever_stands_beside_it(tmp_path):
    text = "x,code,y\n" + rows(NUMBERS[0], CODES, NUMBERS[1])
    data = loaded(tmp_path, text)
    for i in range(len(CODES)):
        one = further(tmp_path, f"x,code\n{NUMBERS[0][i]},{CODES[i]}\n", data)
        np.testing.assert_array_equal(one.X, data.X[i : i + 1])
    held = tmp_path / "held.csv"
    held.write_text("x,code,y\n" + rows(NUMBERS[0][:1], ["02"], NUMBERS[1][:1]) * 2)
    tested = loaded(tmp_path, text, test_file=str(held))
    assert (tested.test_X[:, tested.feature_names.index("code=02")] > 0).all()


ONE_HOT = {"categorical": "one-hot"}


@pytest.mark.parametrize(("value", "clear"), [(1, False), (2, False), (1.0, False), (3, True), (3.0, True)])
def test_a_number_is_no_code_unless_that_is_clear(tmp_path, value, clear):
    """A data frame, or a Parquet file, that has lost the zeros of 01."""
    data = loaded(
        tmp_path, "x,code,y\n" + rows(NUMBERS[0], ["01", "1", "02", "3", "1A", "3"] * 2, NUMBERS[1]), **ONE_HOT
    )
    frame = pd.DataFrame({"x": [NUMBERS[0][3]], "code": [value]})
    if clear:
        np.testing.assert_array_equal(data.transform(frame), data.X[3:4])
        return
    with pytest.raises(DataError, match=r"column 'code': the value [12] may be '0[12]' or '[12]'.*\n.*dtype=str"):
        data.transform(frame)
    again = pd.read_csv(tmp_path / "training.csv", dtype=str)  # what the message says
    np.testing.assert_array_equal(data.transform(again), data.X)


def test_labels_are_codes_too(tmp_path):
    codes = ["01", "1", "X"] * 4
    data = loaded(tmp_path, rows(["x", *NUMBERS[0]], ["y", *codes]), task="multiclass")
    for i in range(3):
        one = further(tmp_path, rows(["x", NUMBERS[0][i]], ["y", codes[i]]), data)
        np.testing.assert_array_equal(one.y, data.y[i : i + 1])
    target = data.preparation.target
    with pytest.raises(DataError, match="the label 1 may be '01' or '1'"):
        target.apply(np.array([1.0]), Origin())
    with pytest.raises(DataError, match="label '2' is not among"):
        target.apply(np.array([2.0]), Origin())


def truths(folder, kind, values):
    path = folder / f"truths.{kind}"
    frame = pd.DataFrame({"x": NUMBERS[0], "smoker": values, "y": NUMBERS[1]})
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    return path


@pytest.mark.parametrize("kinds", [("csv", "parquet"), ("parquet", "csv"), ("csv", "csv"), ("parquet", "parquet")])
@pytest.mark.parametrize("target", ["y", "smoker"])
def test_truth_values_are_the_same_in_every_kind_of_file(tmp_path, kinds, target):
    values = np.arange(12) % 3 == 0
    first = truths(tmp_path, kinds[0], values)
    data = reluopt.load_dataset(reluopt.DataConfig(dataset=str(first), target=target))
    if target == "smoker":
        assert data.labels == {"-1": "False", "+1": "True"}
    else:
        np.testing.assert_array_equal(data.transform(pd.read_csv(truths(tmp_path, "csv", values))), data.X)
    stored = Preparation.from_mapping(json.loads(json.dumps(data.preparation.to_mapping())))
    found = read_further(truths(tmp_path, kinds[1], values), stored)
    np.testing.assert_array_equal(found.X, data.X)
    np.testing.assert_array_equal(found.y, data.y)


def test_truth_values_of_arrays_are_labels_and_one_of_them_may_be_chosen(tmp_path):
    values = np.arange(12) % 3 == 0
    data = reluopt.Dataset.from_arrays(NUMBERS[:1].T, values, task="classification")
    assert data.labels == {"-1": "False", "+1": "True"}
    np.testing.assert_array_equal(data.y, np.where(values, 1.0, -1.0))
    np.testing.assert_array_equal(reluopt.Dataset.from_arrays(NUMBERS[:1].T, values).y, values)
    path = truths(tmp_path, "parquet", values)
    for word, label in (("False", "False"), ("false", "False"), ("0", "False"), ("1", "True")):
        chosen = reluopt.load_dataset(reluopt.DataConfig(dataset=str(path), target="smoker", positive=word))
        np.testing.assert_array_equal(chosen.y, np.where(values == (label == "True"), 1.0, -1.0))
        assert chosen.labels["+1"] == label
        found = read_further(truths(tmp_path, "csv", values), chosen.preparation)
        np.testing.assert_array_equal(found.y, chosen.y)


@pytest.mark.parametrize("settings", [{}, {"task": "multiclass"}, {"positive": "no"}, {"task": "regression"}])
@pytest.mark.parametrize("gap", ["", "?", "NA"])
def test_a_target_that_is_empty_everywhere_is_none(tmp_path, settings, gap):
    cells = NUMBERS[1] if "regression" in settings.values() else ["yes", "no", "no"] * 4
    data = loaded(tmp_path, "x,y\n" + rows(NUMBERS[0], cells), **settings)
    found = further(tmp_path, "x,y\n" + rows(NUMBERS[0], [gap] * 12), data)
    np.testing.assert_array_equal(found.X, data.X)
    assert found.y is None
    some = further(tmp_path, "x,y\n" + rows(NUMBERS[0], [gap, *cells[1:]]), data)
    np.testing.assert_array_equal(some.y[1:], data.y[1:])
    assert np.isnan(some.y[0]).all()


LONG = "the quick brown fox jumps over the lazy dog and then some more words to pass sixty "
LABELS = [
    ("1000001", "1000002"),
    ("0.12345678", "0.12345679"),
    ("-1000001", "1", "1000001", "1000002"),
    (LONG + "A", LONG + "B"),
    (LONG + "A", LONG + "B", LONG + "C"),
]


@pytest.mark.parametrize("labels", LABELS)
def test_predicted_labels_are_those_of_the_data(tmp_path, labels):
    cells = [labels[i % len(labels)] for i in range(12)]
    data = loaded(tmp_path, "x,y\n" + rows(NUMBERS[0], cells), task="multiclass")
    assert list(data.labels.values()) == list(labels)
    stored = data.preparation.to_mapping()
    stored["target"]["labels"] = dict.fromkeys(data.labels, "1e+06")  # as earlier releases stored them
    preparation = Preparation.from_mapping(json.loads(json.dumps(stored)))
    network = reluopt.TwoLayerReLU(data.d, 9, outputs=len(labels))
    model, frame = Model(network, preparation, make_loss("squared")), pd.DataFrame({"x": NUMBERS[0]})
    assert model.predict(frame).tolist() == [labels[k] for k in model.outputs(frame).argmax(axis=1)]


@pytest.mark.parametrize("labels", [labels for labels in LABELS if len(labels) == 2])
def test_two_labels_are_those_of_the_data(labels):
    numeric = labels[0] != LABELS[3][0]
    y = np.array([labels[i % 2] for i in range(12)], dtype=np.float64 if numeric else np.str_)
    samples = Samples(NUMBERS[:1].T, y, ("x",), Origin())
    assert map_labels(samples, "auto")[1] == {"-1": labels[0], "+1": labels[1]}
    assert map_labels(samples, "classification", labels[0])[1] == {"-1": labels[1], "+1": labels[0]}


def test_preparations_of_earlier_releases_are_read(tmp_path):
    """They say nothing of truth values, nor whether the target is text."""
    data = loaded(tmp_path, "x,kind,y\n" + rows(NUMBERS[0], ["a", "b"] * 6, ["01", "1A"] * 6), task="multiclass")
    stored = json.loads(json.dumps(data.preparation.to_mapping()))
    del stored["reading"]["encoding"]["text_target"]
    for rule in stored["reading"]["encoding"]["columns"]:
        del rule["truth"]
    assert Preparation.from_mapping(stored).to_mapping() == data.preparation.to_mapping()
