"""What becomes of the columns of a table: index, categories, dates, missing cells, constants; and the record of it."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from data_helpers import load, refuses
from hypothesis import given, settings
from hypothesis import strategies as st

from reluopt.data import DataConfig, Preparation, remarks
from reluopt.data.encoders import encode
from reluopt.data.encoding import Encoding, Fate
from reluopt.data.origin import Origin
from reluopt.data.table import Table, TableSettings
from reluopt.errors import ReluoptError

RAW = {"scaling": "none", "bias": False, "standardise_target": False}
N = 12
RNG = np.random.default_rng(0)
BASE = {"size": [round(v, 3) for v in RNG.standard_normal(N).tolist()], "y": (RNG.standard_normal(N)).tolist()}


@pytest.fixture
def table(tmp_path):
    """Writes columns, in their order, as a CSV file."""

    def write(columns, name="table.csv"):
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
        (tmp_path / name).write_text(text.getvalue())
        return tmp_path / name

    return write


def fates(data):
    return {rule.name: rule.fate for rule in data.preparation.columns()}


# -- index ---------------------------------------------------------------------------------------------------------

SHUFFLED = [7, 3, 11, 1, 0, 9, 2, 5, 4, 10, 8, 6]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("", range(N)),
        ("", range(1, N + 1)),
        ("", SHUFFLED),
        ("Unnamed: 0", range(N)),
        ("Unnamed: 0.1", SHUFFLED),
        ("id", SHUFFLED),
        ("rownames", range(1, N + 1)),
        ("row.names", [f"car {i}" for i in range(N)]),
        ("", [f"2020-01-{i + 1:02d}" for i in range(N)]),
        ("model", [f"car {i}" for i in range(N)]),
        ("X", range(1, N + 1)),
    ],
)
def test_an_index_is_left_out_and_said(table, name, cells):
    data = load(table({name: cells, **BASE}), target="y", **RAW)
    assert data.feature_names == ("size",)
    assert [rule.fate for rule in data.preparation.columns()] == [Fate.INDEX, Fate.NUMBER, Fate.TARGET]
    assert any("left out, the index" in remark for remark in remarks(data))
    assert load(table({name: cells, **BASE}), target="y", drop=name or "1", **RAW).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("name", "cells"),
    [("year", range(1990, 1990 + N)), ("id", [1, 1, 2, 2] * 3), ("X", SHUFFLED), ("id", np.arange(N) + 0.5)],
)
def test_what_may_be_a_feature_is_kept(table, name, cells):
    data = load(table({name: cells, **BASE}), target="y", **RAW)
    assert data.feature_names == (name, "size")


@pytest.mark.parametrize("name", ["review", "abstract", "comment"])
def test_sentences_in_the_first_column_are_text_and_not_names_of_rows(table, name):
    path = table({name: [f"the {i}th film that I saw in this year" for i in range(N)], **BASE})
    refuses(lambda: load(path, target="y"), f"'{name}'", "it holds text", "--drop")
    assert load(path, target="y", index_column=name, **RAW).feature_names == ("size",)


def test_an_index_by_name_by_place_and_none(table):
    path = table({"t": range(N), **BASE})
    assert any("'t' numbers the rows" in remark for remark in remarks(load(path, target="y")))
    assert load(path, target="y", index_column="t").feature_names == ("size", "bias")
    assert load(path, target="y", index_column="first").feature_names == ("size", "bias")
    path = table({"id": SHUFFLED, **BASE})
    assert load(path, target="y", index_column="none").feature_names == ("id", "size", "bias")
    refuses(lambda: load(path, target="y", index_column="idd"), "no column 'idd'", "--index-column", "id")


def test_an_index_that_is_the_only_feature_is_one(table):
    assert load(table({"id": range(1, N + 1), "y": BASE["y"]}), target="y", **RAW).feature_names == ("id",)
    refuses(lambda: load(table({"id": range(N), "y": BASE["y"]}), target="y", drop="id"), "no features")


def test_r_writes_no_name_above_row_names(tmp_path):
    path = tmp_path / "r.txt"
    path.write_text('"mpg" "cyl" "y"\n' + "".join(f'"car {i}" {i * i % 7}.5 {i % 3} {i}.5\n' for i in range(9)))
    data = load(path, target="y", **RAW)
    assert data.feature_names == ("mpg", "cyl") and data.n == 9


def test_columns_are_dropped_by_name_place_and_list(table):
    path = table({"a,b": BASE["size"], "c": range(3, 3 + N), **BASE})
    assert load(path, target="y", drop="a,b", **RAW).feature_names == ("c", "size")
    assert load(path, target="y", drop=["a,b", "size"], **RAW).feature_names == ("c",)
    assert load(path, target="y", drop="c,size", **RAW).feature_names == ("a,b",)
    assert load(path, target="y", drop=["1"], **RAW).feature_names == ("c", "size")
    refuses(lambda: load(path, target="y", drop="sise"), "no column 'sise'", "size")
    refuses(lambda: load(path, target="y", drop="y"), "'y' is also left out")
    config = DataConfig(dataset=str(path), target="y", drop=["a,b", "size"])
    assert DataConfig.from_mapping(config.to_mapping()) == config


# -- categories, dates, text ---------------------------------------------------------------------------------------


def test_categories_become_zeros_and_ones(table):
    kinds, sex = ["red", "blue", "green"] * 4, ["m", "f"] * 6
    path = table({"kind": kinds, "sex": sex, **BASE})
    for categorical in ("auto", "one-hot"):
        data = load(path, target="y", categorical=categorical, **RAW)
        assert data.feature_names == ("kind=blue", "kind=green", "kind=red", "sex=m", "size")
        expected = [[k == "blue", k == "green", k == "red", s == "m"] for k, s in zip(kinds, sex, strict=True)]
        np.testing.assert_array_equal(data.X[:, :4], np.array(expected, dtype=float))
    assert any("one-hot: kind (3 values), sex (2 values)" in remark for remark in remarks(data))
    refuses(lambda: load(path, target="y", categorical="refuse"), "line 2", "'kind'", "'red' is not a number")


@pytest.mark.parametrize(
    "cells",
    [
        [f"2020-01-{i + 1:02d}" for i in range(N)],
        [f"2020-01-{i % 3 + 1:02d}" for i in range(N)],
        [f"{i + 1}/2/2020" for i in range(N)],
        [f"{i + 1}.02.20" for i in range(N)],
        [f"{i + 1} Feb 2020" for i in range(N)],
        [f"2020-01-01T{i:02d}:00:00Z" for i in range(N)],
        [f"{i}:30" for i in range(N)],
        [f"200{i % 5}Q1" for i in range(N)],
    ],
)
@pytest.mark.parametrize("place", ["first", "later"])
def test_dates_are_refused_with_what_to_do(table, cells, place):
    columns = {"when": cells, **BASE} if place == "first" else {"size": BASE["size"], "when": cells, "y": BASE["y"]}
    refuses(lambda: load(table(columns), target="y"), "'when'", "dates or times", cells[0], "--drop when")
    assert load(table(columns), target="y", drop="when", **RAW).feature_names == ("size",)
    refuses(lambda: load(table(columns), target="when"), "line 2", "'when'", "date")


def test_free_text_is_refused_with_what_to_do(table):
    path = table({"size": BASE["size"], "said": [f"text {i}, long" for i in range(N)], "y": BASE["y"]})
    refuses(lambda: load(path, target="y"), "'said'", "12 different values in 12 rows", "--drop said", "one-hot")
    assert load(path, target="y", categorical="one-hot", **RAW).d == 13
    many = {"size": list(range(200)), "said": [f"t{i % 70}" for i in range(200)], "y": [i / 7 for i in range(200)]}
    refuses(lambda: load(table(many), target="y"), "'said'", "70 different values in 200 rows")


def test_one_bad_cell_among_numbers_is_no_category(table):
    cells = [*BASE["size"]]
    cells[4] = "oops"
    path = table({"a": cells, **BASE})
    refuses(lambda: load(path, target="y"), "line 6", "'a'", "'oops' is not a number", "one-hot")
    assert load(path, target="y", categorical="one-hot", **RAW).d == N + 1


def test_numbers_beside_letters_are_categories(table):
    data = load(table({"size": BASE["size"], "drive": ["4", "f", "r"] * 4, "y": BASE["y"]}), target="y", **RAW)
    assert data.feature_names == ("size", "drive=4", "drive=f", "drive=r")


def test_names_of_rows_may_stand_behind_the_index(table):
    data = load(table({"": range(N), "town": [f"town {i}" for i in range(N)], **BASE}), target="y", **RAW)
    assert data.feature_names == ("size",)


def test_columns_that_pandas_numbered_have_a_header(table):
    path = table({"": range(N), "0": BASE["size"], "1": BASE["y"]})
    data = load(path, target="last", **RAW)
    assert data.n == N and data.feature_names == ("0",)
    path = table({"": BASE["size"], "142.5": BASE["y"], "144.5": BASE["y"]})
    refuses(lambda: load(path, target="last"), "line 1", "empty", "say --header")


# -- missing -------------------------------------------------------------------------------------------------------

MISSING = ["", "NA", "na", "N/A", "NaN", "nan", "NULL", "null", "?", " ", "<NA>", "#N/A"]
MISSING += ["--", ".", "..", "missing", "NaT", "\\N", "n.a.", "N / A", "(null)", "#VALUE!", "#REF!", "undefined"]


@pytest.mark.parametrize("token", [*MISSING, "-", "None"])
def test_a_missing_number_is_refused_dropped_or_filled(table, token):
    cells = [*BASE["size"]]
    cells[3] = cells[7] = token
    path = table({"a": cells, **BASE})
    refuses(
        lambda: load(path, target="y"), "line 5", "'a'", "2 cells are missing, in 2 lines and 1 columns", "--missing"
    )
    dropped = load(path, target="y", missing="drop-rows", **RAW)
    kept = [i for i in range(N) if i not in (3, 7)]
    np.testing.assert_array_equal(dropped.X[:, 0], np.array([cells[i] for i in kept]))
    assert any("2 of 12 rows dropped: a cell is missing (first: line 5)" in remark for remark in remarks(dropped))
    filled = load(path, target="y", missing="mean", **RAW)
    assert filled.n == N and filled.X[3, 0] == filled.X[7, 0] == pytest.approx(np.mean([cells[i] for i in kept]))
    assert any("filled with the mean: a" in remark for remark in remarks(filled))


@pytest.mark.parametrize("token", MISSING)
@pytest.mark.parametrize("labels", [("yes", "no"), ("0.25", "7.5")])
def test_a_missing_label_is_never_a_class(table, token, labels):
    cells = [labels[i % 2] for i in range(N)]
    cells[5] = token
    path = table({"a": BASE["size"], "kind": cells})
    refuses(lambda: load(path, target="kind"), "line 7", "'kind'", "the target", "drop-rows")
    for missing in ("drop-rows", "mean"):
        data = load(path, target="kind", missing=missing)
        assert data.n == N - 1 and set(data.y) == {-1.0, 1.0}
    # of two labels, one of which is missing, there is one class only
    path = table({"a": BASE["size"], "kind": [token, labels[0]] * 6})
    refuses(lambda: load(path, target="kind", missing="drop-rows"), "constant" if labels[0] != "yes" else "1 different")


@pytest.mark.parametrize("token", ["-", "None", "nil"])
def test_a_label_that_may_be_a_missing_cell_is_asked_about(table, token):
    path = table({"a": BASE["size"], "kind": ["yes", "no", token] * 4})
    refuses(lambda: load(path, target="kind"), "line 4", "'kind'", "a class, or a missing cell?")
    assert len(load(path, target="kind", task="multiclass").labels) == 3
    assert load(table({"a": BASE["size"], "kind": ["+", "-"] * 6}), target="kind").labels == {"-1": "+", "+1": "-"}


def test_a_missing_category_is_a_gap(table):
    cells = ["red", "blue", "green"] * 4
    cells[2] = "NA"
    path = table({"kind": cells, **BASE})
    refuses(lambda: load(path, target="y"), "line 4", "'kind'", "missing ('NA')")
    filled = load(path, target="y", missing="mean", **RAW)
    np.testing.assert_allclose(filled.X[2, :3], [4 / 11, 3 / 11, 4 / 11])
    assert (
        "None" in load(table({"kind": ["None", "Gable"] * 6, **BASE}), target="y").preparation.columns()[0].categories
    )


def test_empty_and_constant_columns_are_left_out_and_said(table):
    path = table({"gone": ["NA"] * N, "same": [3] * N, "word": ["a"] * N, **BASE})
    data = load(path, target="y")
    assert fates(data) == {
        "gone": Fate.EMPTY,
        "same": Fate.CONSTANT,
        "word": Fate.CONSTANT,
        "size": Fate.NUMBER,
        "y": Fate.TARGET,
    }
    said = " ".join(remarks(data))
    assert "left out, empty: gone" in said and "left out, constant: same, word" in said


def test_every_row_with_a_gap(table):
    path = table({"a": ["NA", 1] * 6, "b": [1, "NA"] * 6, **BASE})
    refuses(lambda: load(path, target="y", missing="drop-rows"), "every row has a missing cell")


# -- classes or numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 6, 10, 20])
def test_whole_numbers_with_a_few_values_are_asked_about(table, tmp_path, count):
    y = np.arange(60) % count
    X = RNG.standard_normal(60)
    np.savez(tmp_path / "a.npz", X=X[:, None], y=y)
    for path, settings_ in ((table({"a": X, "y": y}), {"target": "y"}), (tmp_path / "a.npz", {})):
        refuses(lambda p=path, s=settings_: load(p, **s), f"{count} different", "--task regression", "--positive")
        numbers = load(path, task="regression", standardise_target=False, **settings_)
        np.testing.assert_array_equal(numbers.y, y)
        one = load(path, positive="2", **settings_)
        np.testing.assert_array_equal(one.y, np.where(y == 2, 1.0, -1.0))
        assert any("+1 is 2" in remark for remark in remarks(one))
        refuses(lambda p=path, s=settings_: load(p, positive="99", **s), "no target is '99'")
        for task in ("classification", "multiclass"):
            np.testing.assert_array_equal(load(path, task=task, **settings_).y, np.eye(count)[y])


def test_numbers_that_are_no_classes_are_not_asked_about(table):
    for y in (np.arange(60) % 21, np.arange(60), np.arange(60) % 4 + 0.5):
        assert load(table({"a": RNG.standard_normal(60), "y": y}), target="y").preparation.target.labels is None


def test_the_positive_label_is_chosen(table):
    kinds = ["setosa", "virginica", "versicolor"] * 4
    path = table({"a": BASE["size"], "kind": kinds})
    np.testing.assert_array_equal(load(path, target="kind").y, np.eye(3)[[0, 2, 1] * 4])
    for kind in set(kinds):
        np.testing.assert_array_equal(
            load(path, target="kind", positive=kind).y, [1.0 if k == kind else -1.0 for k in kinds]
        )
    path = table({"a": BASE["size"], "kind": ["b", "a"] * 6})
    np.testing.assert_array_equal(load(path, target="kind").y, [1.0, -1.0] * 6)
    np.testing.assert_array_equal(load(path, target="kind", positive="a").y, [-1.0, 1.0] * 6)
    refuses(lambda: load(path, target="kind", positive="a", task="regression"), "regression")
    path = table({"a": BASE["size"], "kind": [f"name {k}" for k in range(len(kinds))]})
    refuses(lambda: load(path, target="kind"), "12 different", "name 0, name 1", "--task multiclass", "--positive")


@pytest.mark.parametrize("labels", [("1", "X", "2"), ("0", "1", "2", "A", "B", "C"), ("5%", "10%", "20%"), ("1", "X")])
def test_letters_beside_digits_are_labels_when_told(table, labels):
    cells = [labels[i % len(labels)] for i in range(N)]
    path = table({"a": BASE["size"], "kind": cells})
    refuses(lambda: load(path, target="kind"), "'kind'", "--task multiclass", "--positive LABEL")
    order = sorted(labels)
    for task in ("multiclass", "classification"):
        data = load(path, target="kind", task=task)
        assert list(data.labels.values()) == order
        if data.y.ndim == 2:
            np.testing.assert_array_equal(data.y, np.eye(len(labels))[[order.index(cell) for cell in cells]])
    one = load(path, target="kind", positive=labels[1])
    np.testing.assert_array_equal(one.y, [1.0 if cell == labels[1] else -1.0 for cell in cells])
    refuses(lambda: load(path, target="kind", task="regression"), "'kind'")


# -- the record ----------------------------------------------------------------------------------------------------


def test_the_preparation_is_stored_and_makes_the_same_rows_again(table):
    cells = [*BASE["size"]]
    cells[3] = "NA"
    columns = {"": range(N), "a": cells, "kind": ["red", "blue", "green"] * 4, "same": [1] * N, **BASE}
    path = table(columns)
    for settings_ in ({}, {"scaling": "unit_rows"}, {"scaling": "centre", "bias": False}, RAW):
        data = load(path, target="y", missing="mean", **settings_)
        stored = json.loads(json.dumps(data.preparation.to_mapping()))
        again = Preparation.from_mapping(stored)
        assert again.to_mapping() == data.preparation.to_mapping()
        assert again.feature_names == data.feature_names
        raw = Table(tuple(columns), tuple(pa.array([str(c) for c in v]) for v in columns.values()), Origin("again"))
        encoding = again.reading.encoding
        X = again.features.apply(encoding.filled(encoding.features(raw)), raw.origin)
        np.testing.assert_array_equal(X, data.X)


def test_a_category_that_was_not_there_is_named(table):
    data = load(table({"kind": ["red", "blue"] * 6, **BASE}), target="y")
    encoding = data.preparation.reading.encoding
    new = Table(
        ("kind", "size", "y"), (pa.array(["red", "pink"]), pa.array(["1", "2"]), pa.array(["1", "2"])), Origin()
    )
    refuses(lambda: encoding.features(new), "row 1", "'kind'", "'pink' is not among the known", "blue, red")


cell = st.one_of(
    st.integers(-5, 5).map(str),
    st.floats(-1e3, 1e3).map(repr),
    st.sampled_from(["", "NA", "?", "a", "b", "yes", "1,5", "1,200", "inf", "2020-01-01", "x" * 80, "\u202e", "None"]),
)


@given(
    st.integers(1, 4).flatmap(lambda d: st.lists(st.lists(cell, min_size=d + 1, max_size=d + 1), max_size=8)), st.data()
)
@settings(max_examples=300, deadline=None)
def test_whatever_the_table_its_samples_are_sound_or_refused(rows, data):
    names = tuple("abcde"[: len(rows[0])]) if rows else ("a", "b")
    columns = tuple(pa.array([row[j] for row in rows], pa.string()) for j in range(len(names)))
    chosen = TableSettings(
        target=data.draw(st.sampled_from(["first", "last"])),
        missing=data.draw(st.sampled_from(["refuse", "drop-rows", "mean"])),
        categorical=data.draw(st.sampled_from(["auto", "one-hot", "refuse"])),
    )
    try:
        samples = encode(Table(names, columns, Origin("made up")), chosen)
    except ReluoptError as error:
        assert all(sign.isprintable() or sign == "\n" for sign in str(error))
        return
    assert samples.gaps == (chosen.missing == "mean") and len(samples.X) == len(samples.y) <= len(rows)
    assert samples.gaps or not np.isnan(samples.X).any()  # gaps are filled once it is known what is trained on
    assert samples.X.shape[1] == len(samples.feature_names)
    assert samples.y.dtype.kind != "U" or (samples.y != "").all()
    encoding = samples.reading.encoding
    assert Encoding.from_mapping(json.loads(json.dumps(encoding.to_mapping()))) == encoding
