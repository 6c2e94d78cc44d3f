"""NPZ and IDX files."""

import gzip
import struct

import numpy as np
import pytest
from data_helpers import RNG, X0, Y0, load, refuses


def test_npz_is_taken_as_it_is(tmp_path):
    np.savez(tmp_path / "a.npz", X=X0.astype(np.float32), y=Y0)
    data = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(data.X, X0.astype(np.float32))
    np.testing.assert_array_equal(data.y, Y0)
    assert data.name == "a"


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a", "b", ""] * 4, ["row 2", "label is missing"]),
        (["a", "b", "NA"] * 4, ["row 2", "label is missing"]),
        ([b"a", b"b"] * 6, ["bytes", "label.decode()"]),
        (2**60 + np.arange(12), ["not tell apart", "Subtract"]),
    ],
)
def test_npz_targets_that_are_no_labels_and_no_numbers(tmp_path, y, words):
    np.savez(tmp_path / "a.npz", X=X0, y=np.array(y))
    refuses(lambda: load(tmp_path / "a.npz", task="multiclass"), "a.npz", *words)


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
    for damaged in (whole[: len(whole) // 2], b"garbage", whole[:200] + b"\xff" * 40 + whole[240:]):
        path.write_bytes(damaged)
        refuses(lambda: load(path), "a.npz", "cannot be read")
    path.write_bytes(b"")
    refuses(lambda: load(path), "a.npz", "0 bytes")


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


def test_idx_digits_as_one_output_each(idx_folder):
    data = load(idx_folder("train"), task="multiclass")
    present = sorted(set(DIGITS.tolist()))
    assert list(data.labels.values()) == [str(digit) for digit in present]
    np.testing.assert_array_equal(data.y.argmax(axis=1), np.searchsorted(present, DIGITS))


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
    refuses(lambda: load(idx_folder(labels=idx_bytes(DIGITS + 7))), "image 3", "10, not a digit", "--task multiclass")
    assert load(idx_folder(labels=idx_bytes(DIGITS + 7)), task="multiclass").y.shape == (40, 10)
    refuses(lambda: load(idx_folder(labels=idx_bytes(DIGITS % 5))), "constant")
    refuses(lambda: load(idx_folder(), split="train"), "train images")
    refuses(lambda: load(tmp_path), "no IDX file of train or t10k images")
    (tmp_path / "config.toml").touch()
    refuses(lambda: load(tmp_path), "is a run, not data", "certify")
    (tmp_path / "config.toml").unlink()
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


def test_gzip_by_the_name_and_by_the_content(tmp_path):
    text = b"x,y\n1,2\n2,3\n4,7\n"
    path = tmp_path / "a.csv.gz"
    for content, words in (
        (text, ["not packed by gzip", "Take .gz off"]),
        (gzip.compress(text) + b"garbage", ["cannot be unpacked", "behind its end"]),
        (gzip.compress(text)[:-9], ["cannot be unpacked", "truncated"]),
    ):
        path.write_bytes(content)
        refuses(lambda words=words: load(path, target="y"), "a.csv.gz", *words)
    for content in (gzip.compress(text) + bytes(100), gzip.compress(text[:9]) + gzip.compress(text[9:])):
        path.write_bytes(content)
        assert load(path, target="y").n == 3
        refuses(lambda: load(path, target="y", max_bytes=15), "a.csv.gz", "--max-bytes")
    (tmp_path / "a.csv").write_bytes(gzip.compress(text))
    refuses(lambda: load(tmp_path / "a.csv", target="y"), "a.csv is packed by gzip", ".gz")


def test_real_mnist(shared):
    if not (shared / "data" / "mnist").is_dir():
        pytest.skip("the MNIST files are not here")
    data = load(shared / "data" / "mnist", subset=500, subset_seed=1)
    assert data.n == 500 and data.has_bias_column and set(data.y) == {-1.0, 1.0}
    assert data.preprocessing["samples_in_source"] == 10_000
    assert data.d == 785 - len(data.preprocessing["dropped_constant_features"])
