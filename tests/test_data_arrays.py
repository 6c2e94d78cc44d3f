"""A user's own arrays, the checks, and the fingerprint."""

import hashlib
import math
import struct

import numpy as np
import pandas as pd
import pytest
import torch
from arrays import REFUSED, TAKEN
from data_helpers import X0, Y0, refuses
from hypothesis import given
from hypothesis import strategies as st

from reluopt.data import Dataset, Origin, check_data
from reluopt.errors import ConfigError, DataError


def test_arrays_of_every_kind_give_the_same_data():
    class Frame:  # quacks like a data frame
        columns = ("a", "b", "c")

        def to_numpy(self):
            return X0.astype(np.float32)

    X = X0.astype(np.float32)
    plain = Dataset.from_arrays(X, Y0)
    tensor = Dataset.from_arrays(torch.tensor(X, requires_grad=True), torch.tensor(Y0)[:, None])
    lists = Dataset.from_arrays(X.tolist(), list(Y0))
    frame = Dataset.from_arrays(Frame(), Y0)
    objects = Dataset.from_arrays(X.astype(object), Y0.astype(object))
    assert {d.fingerprint for d in (tensor, lists, frame, objects)} == {plain.fingerprint}
    assert frame.feature_names == ("a", "b", "c") and plain.feature_names == ("x0", "x1", "x2")


def test_arrays_are_copied_and_left_alone():
    X, y = X0.copy(), Y0.copy()
    data = Dataset.from_arrays(X, y)
    before = data.fingerprint
    assert not np.shares_memory(data.X, X) and not np.shares_memory(data.y, y)
    Dataset.from_arrays(X, y, scaling="standardise", standardise_target=True, bias=True)
    np.testing.assert_array_equal(X, X0)
    assert Dataset.from_arrays(X, y).fingerprint == before


def test_arrays_take_text_labels():
    data = Dataset.from_arrays(X0, ["no", "yes"] * 6, task="classification")
    np.testing.assert_array_equal(data.y, [-1.0, 1.0] * 6)
    assert set(Dataset.from_arrays(X0, ["1", "2.5"] * 6).y) == {1.0, 2.5}
    np.testing.assert_array_equal(Dataset.from_arrays(X0, [True, False] * 6, task="classification").y, [1.0, -1.0] * 6)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (X0, Y0[:5], ["12 samples", "5"]),
        (X0[:1], Y0[:1], ["one sample"]),
        (X0[:0], Y0[:0], ["empty", "no samples"]),
        (X0[:, :0], Y0, ["empty", "no features"]),
        (X0[:, 0], Y0, ["shape (12,)", "reshape(-1, 1)"]),
        (X0[None], Y0, ["shape (1, 12, 3)", "--patches"]),
        (X0, X0[None], ["y has shape (1, 12, 3)"]),
        (X0, np.ones(12), ["constant"]),
        (X0 + 1j, Y0, ["complex128"]),
        (X0, np.array([b"no", b"yes"] * 6), ["y holds", "real numbers"]),
        (np.ma.masked_array(X0, np.eye(12, 3, dtype=bool)), Y0, ["row 0", "'x0'", "NaN", "3 such values"]),
        ([[1, 2], [3]], [1, 2], ["same length"]),
        ([[1, "a"], [3, 4]], [1, 2], ["row 0", "column 1", "'a'"]),
        (np.array([[1, None], [3, 4]]), [1, 2], ["row 0"]),
        ([[1, 10**400], [3, 4]], [1, 2], ["row 0", "column 1"]),
        (X0, ["no", "yes"] * 6, ["'no' is not a number", "classification"]),
        (np.where(X0[3, 1] == X0, np.inf, X0), Y0, ["row 3", "'x1'", "infinite"]),
        (np.where(X0[3, 1] == X0, np.nan, X0), Y0, ["row 3", "'x1'", "NaN"]),
        (np.where(X0[3, 1] == X0, -1e155, X0), Y0, ["row 3", "'x1'", "overflow"]),
        (X0, np.where(Y0[2] == Y0, 1e155, Y0), ["row 2", "target", "overflow"]),
        (X0 * (np.arange(12)[:, None] != 9), Y0, ["row 9", "zero", "bias"]),
        (X0 * np.where(np.arange(12)[:, None] == 9, 1e-170, 1), Y0, ["row 9", "squared norm 0"]),
    ],
)
def test_bad_arrays_are_named(X, y, words):
    refuses(lambda: Dataset.from_arrays(X, y, name="mine"), *words)


def test_several_bad_values_are_counted():
    refuses(lambda: Dataset.from_arrays(np.where(X0 > 0, np.nan, X0), Y0), f"{(X0 > 0).sum()} such values")


def test_a_row_keeps_its_number_in_a_subset():
    X = np.zeros((50, 2))
    X[:, 0] = np.arange(50) - 25.0  # row 25 is zero
    y = np.arange(50.0)
    for seed in range(20):
        kept = set(np.sort(np.random.default_rng(seed).choice(50, 25, replace=False)))
        if 25 in kept:
            refuses(lambda seed=seed: Dataset.from_arrays(X, y, subset=25, subset_seed=seed), "row 25")
            return
    raise AssertionError("no subset held the zero row")


def test_a_bias_column_cures_zero_rows():
    X = X0.copy()
    X[4] = 0
    assert Dataset.from_arrays(X, Y0, bias=True).has_bias_column


def test_making_a_dataset_runs_the_checks():
    names = ("a", "b", "c")
    refuses(lambda: Dataset(X0, np.ones(12), "mine", names), "constant")
    refuses(lambda: Dataset(X0, Y0, "mine", names[:2]), "3 features have 2 names")
    refuses(lambda: check_data(X0, Y0 * np.nan, names, Origin("mine")), "mine", "12 such values")
    check_data(X0, Y0, names, Origin("mine"))


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ConfigError, match="unknown setting 'scale'"):
        Dataset.from_arrays(X0, Y0, scale="none")


def test_the_fingerprint_has_the_documented_layout():
    data = Dataset.from_arrays(X0, Y0)
    numbers = struct.pack("<QQ", 12, 3) + struct.pack("<36d", *X0.ravel()) + struct.pack("<12d", *Y0)
    assert data.fingerprint == hashlib.sha256(numbers).hexdigest()


@given(st.integers(0, 47), st.integers(0, 63))
def test_the_fingerprint_changes_with_any_bit(position, bit):
    values = np.concatenate([X0.ravel(), Y0])
    values.view(np.uint64)[position] ^= np.uint64(1 << bit)
    try:
        changed = Dataset.from_arrays(values[:36].reshape(12, 3), values[36:])
    except DataError:  # the bit made a NaN, an infinity, or a huge value
        return
    assert changed.fingerprint != Dataset.from_arrays(X0, Y0).fingerprint


def test_the_fingerprint_knows_shape_but_not_memory_order_or_names():
    data = Dataset.from_arrays(X0, Y0)
    names = ("a", "b", "c")
    assert Dataset(np.asfortranarray(X0), Y0, "other", names).fingerprint == data.fingerprint
    strided = np.repeat(X0, 2, axis=1)[:, ::2]
    assert Dataset(strided, Y0[::-1][::-1], "other", names).fingerprint == data.fingerprint
    swapped = Dataset(X0.astype(">f8").astype("<f8"), Y0, "other", names)
    assert swapped.fingerprint == data.fingerprint
    numbers = np.arange(1.0, 19.0)  # the same eighteen numbers in a row, once as n=6, d=2 and once as n=9, d=1
    assert (
        Dataset.from_arrays(numbers[:12].reshape(6, 2), numbers[12:]).fingerprint
        != Dataset.from_arrays(numbers[:9].reshape(9, 1), numbers[9:]).fingerprint
    )


# -- the one gate ------------------------------------------------------------------------------------------------------

#: Small whole numbers, no row of zeros.
WHOLE = np.column_stack([np.arange(12) % 3 + 1, np.arange(12) % 4, np.arange(12) % 5]).astype(float)
NAMES = ("a", "b", "c")
#: Every way to data, in the same float64.
ENTRIES = {
    "from_arrays": lambda X: Dataset.from_arrays(X, Y0, feature_names=NAMES).X,
    "Dataset": lambda X: Dataset(X, Y0, "mine", NAMES).X,
    "transform": lambda X: Dataset.from_arrays(WHOLE, Y0, feature_names=NAMES).transform(X),
    "test_X": lambda X: Dataset(WHOLE, Y0, "mine", NAMES, test_X=X, test_y=Y0).test_X,
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of what is in beta there
@pytest.mark.parametrize("kind", TAKEN)
def test_every_way_to_data_takes_the_same_kinds(entry, kind):
    if entry == "transform" and kind == "nullable":
        return  # a frame is read by its columns
    np.testing.assert_array_equal(ENTRIES[entry](TAKEN[kind](WHOLE)), WHOLE)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_every_way_to_data_refuses_the_same_kinds(entry, kind):
    make, words = REFUSED[kind]
    if (entry, kind) in (("transform", "NA"), ("test_X", "nothing")):
        return  # a frame is read by its columns; there need be no test samples
    with pytest.raises(DataError, match=f"(?s){words}"):
        ENTRIES[entry](make(WHOLE))


def test_a_dataset_takes_targets_as_from_arrays_does():
    for y in (torch.tensor(Y0, requires_grad=True), Y0[:, None], Y0.tolist(), pd.Series(Y0)):
        np.testing.assert_array_equal(Dataset(WHOLE, y, "mine", NAMES).y, Y0)
    refuses(lambda: Dataset(WHOLE, Y0 + 1j, "mine", NAMES), "y holds complex")
    refuses(lambda: Dataset(WHOLE, np.ma.array(Y0, mask=Y0 > 0), "mine", NAMES), "row", "missing")
    refuses(lambda: Dataset.from_arrays(WHOLE, 2**60 + np.arange(12)), "y has the whole numbers", "Subtract")
    assert Dataset.from_arrays(WHOLE, 2**60 + np.arange(12) - 2**60).y[3] == 3.0
    assert Dataset.from_arrays(WHOLE, 2**60 * np.arange(12)).y[1] == 2.0**60


@pytest.mark.parametrize("missing", [None, math.nan, "", "NA", " n/a ", "?", pd.NA, pd.NaT, np.ma.masked])
def test_a_missing_label_is_no_class(missing):
    y = ["no", "yes", missing, *["no", "yes", "no"] * 3]
    if missing is np.ma.masked:
        y = np.ma.array(["no", "yes"] * 6, mask=np.arange(12) == 2)
    for task in ("classification", "multiclass"):
        refuses(lambda task=task: Dataset.from_arrays(WHOLE, y, task=task), "row 2", "label is missing", "Leave")


def test_labels_of_other_kinds():
    labels = ["no", "yes"] * 6
    for y in (
        np.array(labels, dtype=np.dtypes.StringDType()),
        pd.Series(labels).astype("category"),
        np.ma.array(labels),
    ):
        np.testing.assert_array_equal(Dataset.from_arrays(WHOLE, y, task="classification").y, [-1.0, 1.0] * 6)
    for y in (np.array([b"no", b"yes"] * 6), [b"no", b"yes"] * 6):
        refuses(lambda y=y: Dataset.from_arrays(WHOLE, y, task="classification"), "bytes", "label.decode()")
        decoded = Dataset.from_arrays(WHOLE, [label.decode() for label in y], task="classification")
        assert decoded.labels == {"-1": "no", "+1": "yes"}
    refuses(lambda: Dataset.from_arrays(WHOLE, [1, "yes"] * 6), "row 0", "beside labels that are text")


def test_a_data_set_gives_its_x_and_y():
    raw = Dataset.from_arrays(X0, Y0, feature_names=NAMES)
    scaled = Dataset.from_arrays(raw, scaling="standardise", bias=True)
    assert scaled.feature_names == (*NAMES, "bias")
    np.testing.assert_array_equal(scaled.X, Dataset.from_arrays(X0, Y0, scaling="standardise", bias=True).X)
    np.testing.assert_array_equal(scaled.transform(raw), scaled.X)
    refuses(lambda: scaled.transform(scaled), "prepared already")
