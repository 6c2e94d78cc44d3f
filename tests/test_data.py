"""Data: what is built in, what is checked, how it is prepared, and what identifies it."""

import gzip
import hashlib
import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from reluopt.data import DataConfig, Dataset, Origin, check_data, describe, gaussian, load_dataset, planted
from reluopt.errors import ConfigError, DataError, ReluoptError

RNG = np.random.default_rng(7)
X0, Y0 = RNG.standard_normal((12, 3)), RNG.standard_normal(12)

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
matrices = arrays.arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 6)), elements=finite)


def load(dataset, **settings):
    return load_dataset(DataConfig(dataset=str(dataset), **settings))


def refuses(call, *words):
    """The call raises a DataError that holds all the words and a remedy."""
    with pytest.raises(DataError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), f"'{word}' is not in: {caught.value}"
    assert len(caught.value.remedy) > 10


# -- built in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"), [("breast_cancer", (569, 31)), ("diabetes", (442, 11)), ("digits", (1797, 62))]
)
def test_built_in_data_is_standardised_with_a_ones_column(name, shape):
    data = load(name)
    assert (data.n, data.d) == data.X.shape == shape
    assert data.has_bias_column and data.feature_names[-1] == "bias" and len(data.feature_names) == data.d
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.X[:, :-1].std(axis=0), 1, rtol=1e-12)
    assert data.X.dtype == data.y.dtype == np.float64 and data.X.flags.c_contiguous


def test_built_in_targets():
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

    np.testing.assert_array_equal(load("breast_cancer").y, 2.0 * load_breast_cancer().target - 1)
    np.testing.assert_array_equal(load("digits").y, np.where(load_digits().target < 5, -1.0, 1.0))
    y = load_diabetes().target
    np.testing.assert_allclose(load("diabetes").y, (y - y.mean()) / y.std(), rtol=1e-12)


def test_standardising_is_the_textbook_formula():
    from sklearn.datasets import load_diabetes

    raw = load_diabetes().data
    np.testing.assert_allclose(load("diabetes").X[:, :-1], (raw - raw.mean(0)) / raw.std(0), rtol=0, atol=1e-12)


def test_reference_instances_load_as_they_are(shared):
    path = shared / "reference" / "bc_100x31_b0.1.npz"
    with np.load(path) as stored:
        np.testing.assert_array_equal(load(path).X, stored["X"])
        np.testing.assert_array_equal(load(path).y, stored["y"])


def test_made_up_data_follows_its_seed():
    assert gaussian(20, 3, 1).fingerprint == gaussian(20, 3, 1).fingerprint != gaussian(20, 3, 2).fingerprint
    assert load("gaussian", n=20, d=3, data_seed=1).fingerprint == gaussian(20, 3, 1).fingerprint
    same = load("planted", n=20, d=3, teacher_width=4, noise=0.5, data_seed=1)
    assert same.fingerprint == planted(20, 3, width=4, noise=0.5, seed=1).fingerprint
    assert not same.has_bias_column


def test_planted_noise_is_relative_to_the_clean_target():
    clean, noisy = planted(4000, 5, noise=0.0, seed=3), planted(4000, 5, noise=0.25, seed=3)
    np.testing.assert_array_equal(clean.X, noisy.X)
    assert (noisy.y - clean.y).std() == pytest.approx(0.25 * clean.y.std(), rel=0.05)


def test_planted_without_noise_is_a_small_relu_network():
    data = planted(30, 1, width=2, noise=0.0, seed=0)  # on the line, ReLU networks are linear on each side of 0
    for side in (data.X[:, 0] > 0, data.X[:, 0] < 0):
        slopes = data.y[side] / data.X[side, 0]
        np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [{"n": 1}, {"d": 0}, {"width": 0}, {"noise": -1.0}, {"seed": -1}])
def test_made_up_data_refuses_impossible_sizes(bad):
    with pytest.raises(ConfigError):
        planted(**{"n": 10, "d": 2} | bad)


# -- names and settings --------------------------------------------------------------------------------------------


def test_an_unknown_name_lists_the_known_and_the_close_ones():
    refuses(lambda: load("brest_cancer"), "brest_cancer", "Did you mean breast_cancer", "diabetes", "planted")


def test_a_setting_that_the_data_set_does_not_use_is_refused():
    with pytest.raises(ConfigError, match=r"'n' is set.*'breast_cancer'"):
        load("breast_cancer", n=100)
    with pytest.raises(ConfigError, match="'target'"):
        load("gaussian", target="y")


@pytest.mark.parametrize("bad", [{"scaling": "standardize"}, {"labels": "3"}, {"subset": 1}, {"split": "test"}])
def test_a_setting_outside_of_what_is_allowed_is_refused(bad):
    with pytest.raises(ConfigError):
        DataConfig(**bad)


def test_the_configuration_round_trips_through_a_mapping():
    config = DataConfig(dataset="digits", subset=50, bias=False)
    assert DataConfig.from_mapping(config.to_mapping()) == config


def test_unset_choices_are_the_usual_ones_and_set_choices_win():
    data = load("breast_cancer", scaling="centre", bias=False)
    assert data.d == 30 and not data.has_bias_column
    np.testing.assert_allclose(data.X.mean(axis=0), 0, atol=1e-9)
    assert data.X.std(axis=0).max() > 100
    assert load("gaussian", n=10, d=2, bias=True).d == 3
    assert set(load("digits", labels="real", standardise_target=False).y) == set(range(10))


# -- CSV -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def csv_file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "houses.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


GOOD = "rooms,price,age\n3,200,10\n4,300,20\n5,350,5\n2,150,30\n"


def test_csv_takes_the_target_by_name(csv_file):
    data = load(csv_file(GOOD), target="price", scaling="none", bias=False, standardise_target=False)
    np.testing.assert_array_equal(data.X, [[3, 10], [4, 20], [5, 5], [2, 30]])
    np.testing.assert_array_equal(data.y, [200, 300, 350, 150])
    assert data.feature_names == ("rooms", "age") and data.name == "houses"


def test_csv_is_standardised_as_a_rule(csv_file):
    data = load(csv_file(GOOD), target="price")
    assert data.d == 3 and data.has_bias_column
    assert data.y.mean() == pytest.approx(0, abs=1e-12) and data.y.std() == pytest.approx(1)
    assert data.preprocessing["target_mean"] == 250


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "pipe"), (",", "comma")])
def test_csv_delimiters_are_found_or_named(csv_file, sign, name):
    plain = load(csv_file(GOOD), target="price")
    path = csv_file(GOOD.replace(",", sign))
    assert load(path, target="price").fingerprint == plain.fingerprint
    assert load(path, target="price", delimiter=name).fingerprint == plain.fingerprint


def test_csv_reads_quotes_blank_lines_a_byte_order_mark_and_windows_line_ends(csv_file):
    text = '"rooms, all","price",age\n"3",200,10\n\n4,300,20\n5,"350",5\n2,150,30\n\n'
    data = load(csv_file(text.replace("\n", "\r\n"), "utf-8-sig"), target="price")
    assert data.feature_names[:2] == ("rooms, all", "age")
    assert data.fingerprint == load(csv_file(GOOD), target="price").fingerprint


def test_csv_text_labels_become_two_classes(csv_file):
    data = load(csv_file("a,kind\n1,yes\n2,no\n3,yes\n"), target="kind")
    np.testing.assert_array_equal(data.y, [1, -1, 1])
    assert data.preprocessing["labels"] == {"-1": "no", "+1": "yes"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("4,300,20", "4,300,old"), ["houses.csv", "line 3", "'age'", "'old' is not a number"]),
        (GOOD.replace("4,300,20", "\n4,300,old"), ["line 4"]),  # a blank line counts, as in an editor
        (GOOD.replace("4,300,20", "\n4,300,nan"), ["line 4", "'age'", "NaN"]),
        (GOOD.replace("4,300,20", "4,300,"), ["line 3", "'age'", "empty"]),
        (GOOD.replace("4,300,20", ",,"), ["line 3", "'rooms'", "empty"]),
        (GOOD.replace("4,300,20", "4,cheap,20"), ["line 3", "'price'", "'cheap' is not a number"]),
        (GOOD.replace("4,300,20", "4,,20"), ["line 3", "'price'", "empty"]),
        (GOOD.replace("4,300,20", "nan,300,20"), ["houses.csv", "line 3", "'rooms'", "NaN"]),
        (GOOD.replace("4,300,20", "4,300,inf"), ["line 3", "'age'", "infinite"]),
        (GOOD.replace("4,300,20", "4,nan,20"), ["line 3", "target", "NaN"]),
        (GOOD.replace("4,300,20", "4,300,1e200"), ["line 3", "'age'", "1e+200", "overflow"]),
        (GOOD.replace("4,300,20", "4,300"), ["line 3", "2 cells", "3"]),
        (GOOD.replace("price", "age"), ["'age'", "more than once"]),
        (GOOD.replace("price", "cost"), ["houses.csv", "no column 'price'", "rooms, cost, age"]),
        (GOOD.removeprefix("rooms,price,age\n"), ["line 1", "header"]),
        ("rooms,price,age\n", ["houses.csv", "empty"]),
        ("", ["houses.csv", "empty"]),
        ("rooms,price,age\n3,200,10\n", ["houses.csv", "one sample"]),
        ("price\n3\n4\n", ["no features"]),
        ("a,price\n1,7\n2,7\n3,7\n", ["houses.csv", "constant", "y = 7"]),
        ("a,price\n5,1\n5,2\n5,3\n", ["every feature is constant"]),
        ('a,price\n"5,1\n5,2\n5,3\n', ["houses.csv", "not a proper CSV"]),
    ],
)
def test_csv_bad_input_is_named(csv_file, text, words):
    refuses(lambda: load(csv_file(text), target="price"), *words)


def test_csv_other_bad_input(csv_file, tmp_path):
    refuses(lambda: load(csv_file(GOOD)), "no target column", "rooms, price, age")
    refuses(lambda: load(tmp_path / "none.csv", target="y"), "none.csv", "does not exist")
    refuses(lambda: load(csv_file("a;price\n1,5;2\n3;4\n"), target="price"), "'a'", "'1,5'", "point, not a comma")
    refuses(lambda: load(csv_file("ä,price\n1,2\n", "latin-1"), target="price"), "UTF-8")
    refuses(lambda: load(csv_file("a,k\n1,x\n2,y\n3,z\n"), target="k"), "3 different values", "'x', 'y', 'z'", "two")
    refuses(lambda: load(csv_file("a,k\n1,1\n2,2\n3,3\n"), target="k", labels="binary"), "3 different", "two")
    refuses(lambda: load(csv_file("a,k\n1,x\n2,y\n"), target="k", labels="real"), "line 2", "'x' is not a number")


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "data.xls"
    path.write_text("?")
    refuses(lambda: load(path), "data.xls", "no known kind")


# -- NPZ -----------------------------------------------------------------------------------------------------------


def test_npz_is_taken_as_it_is(tmp_path):
    np.savez(tmp_path / "a.npz", X=X0.astype(np.float32), y=Y0)
    data = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(data.X, X0.astype(np.float32))
    np.testing.assert_array_equal(data.y, Y0)
    assert data.name == "a"


def test_npz_bad_input(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=X0, target=Y0)
    refuses(lambda: load(path), "a.npz", "'y'", "X, target")
    np.savez(path, X=X0, y=Y0[:-1])
    refuses(lambda: load(path), "a.npz", "12 samples", "11")
    np.savez(path, X=np.array([{}, 1], dtype=object), y=Y0)
    refuses(lambda: load(path), "a.npz", "plain arrays")
    np.savez(path, X=X0, y=np.where(np.arange(12) == 5, np.nan, Y0))
    refuses(lambda: load(path), "a.npz", "row 5", "target", "NaN")
    np.savez(path, X=np.where(np.arange(12)[:, None] == 4, 0.0, X0), y=Y0)
    refuses(lambda: load(path), "a.npz", "row 4", "zero")
    refuses(lambda: load(path, scaling="unit_rows"), "a.npz", "row 4", "zero")
    refuses(lambda: load(tmp_path / "b.npz"), "b.npz", "does not exist")
    np.savez(path, X=X0, y=Y0)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"garbage", whole[:200] + b"\xff" * 40 + whole[240:]):
        path.write_bytes(damaged)
        refuses(lambda: load(path), "a.npz", "cannot be read")


# -- IDX -----------------------------------------------------------------------------------------------------------

PIXELS = RNG.integers(0, 256, (40, 3, 2)).astype(np.uint8)
DIGITS = (np.arange(40) % 10).astype(np.uint8)


def idx_bytes(values):
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    def write(split="t10k", images=None, labels=None, zipped=True):
        folder = tmp_path / "digits-files"
        folder.mkdir(exist_ok=True)
        contents = {
            "images-idx3": idx_bytes(PIXELS) if images is None else images,
            "labels-idx1": idx_bytes(DIGITS) if labels is None else labels,
        }
        for what, content in contents.items():
            name = f"{split}-{what}-ubyte"
            (folder / name).unlink(missing_ok=True)
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
        return folder

    return write


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("split", ["train", "t10k"])
def test_idx_pixels_are_scaled_and_digits_halved(idx_folder, split, zipped):
    data = load(idx_folder(split, zipped=zipped), scaling="none", bias=False)
    np.testing.assert_array_equal(data.X, PIXELS.reshape(40, 6) / 255.0)
    np.testing.assert_array_equal(data.y, np.where(DIGITS < 5, -1.0, 1.0))
    assert data.name == f"digits-files/{split}" and data.feature_names[3] == "pixel_1_1"


def test_idx_takes_train_unless_told_otherwise(idx_folder):
    idx_folder("t10k")
    folder = idx_folder("train", labels=idx_bytes(DIGITS[::-1]))
    assert load(folder).name.endswith("train") and load(folder, split="t10k").name.endswith("t10k")
    assert load(folder).fingerprint != load(folder, split="t10k").fingerprint


def test_idx_bad_input(idx_folder, tmp_path):
    whole = idx_bytes(PIXELS)
    refuses(lambda: load(idx_folder(images=whole[:-1])), "t10k-images", "239 bytes", "40×3×2", "truncated")
    refuses(lambda: load(idx_folder(images=whole + b"\0")), "t10k-images", "left over")
    refuses(lambda: load(idx_folder(images=whole[:9])), "t10k-images", "header")
    refuses(lambda: load(idx_folder(images=b"\1" + whole[1:])), "t10k-images", "01 00 08 03", "00 00 08 03")
    refuses(lambda: load(idx_folder(images=idx_bytes(DIGITS))), "t10k-images", "exchanged")
    refuses(lambda: load(idx_folder(images=b"")), "t10k-images", "(none)")
    refuses(lambda: load(idx_folder(labels=idx_bytes(DIGITS[:-1]))), "40 images", "39 labels")
    refuses(lambda: load(idx_folder(labels=idx_bytes(DIGITS + 7))), "image 3", "10, not a digit")
    refuses(lambda: load(idx_folder(labels=idx_bytes(DIGITS % 5))), "constant")
    refuses(lambda: load(idx_folder(), split="train"), "train images")
    refuses(lambda: load(tmp_path), "no IDX file of train or t10k images")
    folder = idx_folder()
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    refuses(lambda: load(folder), "t10k labels")


@pytest.mark.parametrize("cut", [0, 5, 30, -4])
def test_a_truncated_gz_is_named(idx_folder, cut):
    folder = idx_folder()
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:cut])
    refuses(lambda: load(folder), "t10k-images-idx3-ubyte.gz", "ownload")


def test_a_garbled_gz_is_named(idx_folder):
    folder = idx_folder()
    path = folder / "t10k-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(255 - b for b in content[60:90]) + content[90:])
    refuses(lambda: load(folder), "t10k-images-idx3-ubyte.gz")


def test_real_mnist(shared):
    if not (shared / "data" / "mnist").is_dir():
        pytest.skip("the MNIST files are not here")
    data = load(shared / "data" / "mnist", subset=500, subset_seed=1)
    assert data.n == 500 and data.has_bias_column and set(data.y) == {-1.0, 1.0}
    assert data.preprocessing["samples_in_source"] == 10_000
    assert data.d == 785 - len(data.preprocessing["dropped_constant_features"])


# -- arrays and checks ---------------------------------------------------------------------------------------------


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
    data = Dataset.from_arrays(X0, ["no", "yes"] * 6, labels="binary")
    np.testing.assert_array_equal(data.y, [-1.0, 1.0] * 6)
    assert set(Dataset.from_arrays(X0, ["1", "2.5"] * 6).y) == {1.0, 2.5}
    np.testing.assert_array_equal(Dataset.from_arrays(X0, [True, False] * 6, labels="binary").y, [1.0, -1.0] * 6)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (X0, Y0[:5], ["12 samples", "5"]),
        (X0[:1], Y0[:1], ["one sample"]),
        (X0[:0], Y0[:0], ["empty", "no samples"]),
        (X0[:, :0], Y0, ["empty", "no features"]),
        (X0[:, 0], Y0, ["shape (12,)", "reshape(-1, 1)"]),
        (X0[None], Y0, ["shape (1, 12, 3)"]),
        (X0, X0, ["y has shape (12, 3)"]),
        (X0, np.ones(12), ["constant"]),
        (X0 + 1j, Y0, ["complex128"]),
        (X0, np.array([b"no", b"yes"] * 6), ["y holds", "real numbers"]),
        (np.ma.masked_array(X0, np.eye(12, 3, dtype=bool)), Y0, ["row 0", "'x0'", "NaN", "3 such values"]),
        ([[1, 2], [3]], [1, 2], ["same length"]),
        ([[1, "a"], [3, 4]], [1, 2], ["row 0", "column 1", "'a'"]),
        (np.array([[1, None], [3, 4]]), [1, 2], ["row 0"]),
        ([[1, 10**400], [3, 4]], [1, 2], ["row 0", "column 1"]),
        (X0, ["no", "yes"] * 6, ["'no' is not a number", "binary"]),
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


# -- preprocessing -------------------------------------------------------------------------------------------------


def varied(X):
    """Columns that vary enough for rounding not to matter."""
    return np.ptp(X, axis=0).min() > 1e-6 * max(1.0, np.abs(X).max())


@given(matrices)
def test_standardise_gives_mean_zero_and_deviation_one(X):
    assume(varied(X))
    data = Dataset.from_arrays(X, np.arange(len(X)), scaling="standardise", bias=True, standardise_target=True)
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(data.X[:, :-1].std(axis=0), 1, atol=1e-8)
    assert data.y.mean() == pytest.approx(0, abs=1e-12) and data.y.std() == pytest.approx(1)


@given(matrices)
def test_centre_gives_mean_zero_and_keeps_differences(X):
    assume(varied(X))
    data = Dataset.from_arrays(X, np.arange(len(X)), scaling="centre", bias=True)
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-9 * max(1, np.abs(X).max()))
    np.testing.assert_allclose(np.diff(data.X[:, :-1], axis=0), np.diff(X, axis=0), atol=1e-9 * np.abs(X).max())


@given(matrices, st.floats(-100, 100))
def test_unit_rows_have_norm_one_and_the_same_direction(X, exponent):
    X = X * 10.0**exponent
    assume((np.abs(X).max(axis=1) > 0).all())
    unit = Dataset.from_arrays(X, np.arange(len(X)), scaling="unit_rows").X
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-12)
    size = np.abs(X).max(axis=1, keepdims=True)
    np.testing.assert_allclose(unit / np.abs(unit).max(axis=1, keepdims=True), X / size, rtol=1e-12, atol=1e-300)


@given(matrices, st.sampled_from(["standardise", "centre", "unit_rows", "none"]), st.booleans())
@settings(max_examples=200)
def test_whatever_the_data_the_outcome_is_sound_or_refused(X, scaling, bias):
    try:
        data = Dataset.from_arrays(X, np.arange(len(X)), scaling=scaling, bias=bias)
    except ReluoptError:
        return
    assert np.isfinite(data.X).all() and (data.X != 0).any(axis=1).all()
    assert data.d == len(data.feature_names) == X.shape[1] + bias - len(data.preprocessing["dropped_constant_features"])


def test_constant_features_are_dropped_and_recorded():
    X = np.column_stack([X0, np.full(12, 0.1), np.full(12, 1.0)])
    data = Dataset.from_arrays(X, Y0, scaling="standardise", bias=True)
    assert data.d == 4 and data.preprocessing["dropped_constant_features"] == ["x3", "x4"]
    assert Dataset.from_arrays(X, Y0, bias=True).d == 4  # a ones column is not doubled
    assert Dataset.from_arrays(X, Y0).d == 5  # taken as given


def test_rounding_noise_is_not_blown_up_to_a_feature():
    X = np.column_stack([X0, 1e6 + np.arange(12) % 2 * 1e-10])
    assert np.ptp(X[:, 3]) > 0
    assert Dataset.from_arrays(X, Y0, scaling="standardise").d == 3


def test_a_subset_is_seeded_ordered_and_scaled_by_itself():
    data = load("breast_cancer", subset=100, subset_seed=3)
    assert data.n == 100 and data.fingerprint == load("breast_cancer", subset=100, subset_seed=3).fingerprint
    assert data.fingerprint != load("breast_cancer", subset=100, subset_seed=4).fingerprint
    np.testing.assert_allclose(data.X[:, :-1].mean(axis=0), 0, atol=1e-12)
    rows = Dataset.from_arrays(np.arange(50.0)[:, None] + 1, np.arange(50), subset=20, subset_seed=1).y
    assert (np.diff(rows) > 0).all()
    assert load("breast_cancer", subset=569).fingerprint == load("breast_cancer").fingerprint
    refuses(lambda: load("breast_cancer", subset=570), "570", "569")


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "digits", "gaussian"])
def test_the_record_of_preprocessing_is_plain_json(name):
    record = load(name, subset=60).preprocessing
    assert json.loads(json.dumps(record)) == record
    assert record["subset"] == 60 and record["source"] == name


# -- fingerprint ---------------------------------------------------------------------------------------------------


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


# -- description ---------------------------------------------------------------------------------------------------


def test_the_description_counts_what_is_there():
    X = np.vstack([X0, X0[:2], X0[0]])
    X = np.column_stack([X, X[:, 0] + X[:, 1], np.zeros(15)])
    y = np.concatenate([Y0, [Y0[0], 9.0, Y0[0]]])
    told = describe(Dataset.from_arrays(X, y))
    assert (told.n, told.d, told.rank, told.zero_columns) == (15, 5, 3, 1)
    assert told.duplicate_rows == 3 and told.contradicting_rows == 1
    assert told.largest_singular_value == pytest.approx(np.linalg.norm(X, 2))
    norms = np.linalg.norm(X, axis=1)
    assert (told.row_norm_min, told.row_norm_max) == pytest.approx((norms.min(), norms.max()))
    assert told.classes is None and told.target_norm == pytest.approx(np.linalg.norm(y))
    assert json.loads(json.dumps(told.to_mapping()))["rank"] == 3


def test_the_description_counts_the_classes():
    assert describe(load("breast_cancer")).classes == {"-1": 212, "+1": 357}
