"""What is refused before it is read: pipes, folders, kernel files, and what is or becomes larger than is allowed."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_helpers import load, refuses

from reluopt.data import DataConfig
from reluopt.data.gate import MAX_BYTES

ENDINGS = (".csv", ".csv.gz", ".npz", ".parquet", ".feather")


def refused_cheaply(call, *words, most=20_000_000):
    """Refused with these words, and without more memory than ``most`` bytes."""
    tracemalloc.start()
    try:
        error = refuses(call, *words)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    return error


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pipe_is_refused_without_waiting(tmp_path, ending):
    os.mkfifo(tmp_path / f"a{ending}")
    refuses(lambda: load(tmp_path / f"a{ending}", **target(ending)), "no regular file")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_an_empty_and_a_missing_file(tmp_path, ending):
    (tmp_path / f"a{ending}").mkdir()
    refuses(lambda: load(tmp_path / f"a{ending}", **target(ending)), "is a folder")
    (tmp_path / f"b{ending}").touch()
    refuses(lambda: load(tmp_path / f"b{ending}", **target(ending)), "0 bytes")
    refuses(lambda: load(tmp_path / f"c{ending}", **target(ending)), "does not exist")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_sparse_file_is_refused_by_its_size(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    refused_cheaply(lambda: load(path, **target(ending)), "at most 537 MB", f"--max-bytes {MAX_BYTES + 1}")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")
@pytest.mark.parametrize("kernel", ["/proc/self/maps", "/proc/self/mem", "/dev/zero", "/dev/null"])
def test_files_of_the_kernel_are_refused(tmp_path, kernel):
    for ending in ENDINGS:
        (tmp_path / f"a{ending}").symlink_to(kernel)
        refuses(lambda e=ending: load(tmp_path / f"a{e}", **target(e)))


@pytest.mark.parametrize(
    "name", ["a\0b.csv", "x" * 5000 + ".csv", "x" * 5000, "~nobody-of-this-name/a", "a/\ud800.csv"]
)
def test_what_is_no_path_is_said_to_be_none(name):
    refuses(lambda: load(name, target="y"))


def test_a_small_npz_that_unpacks_to_much(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.zeros((1000, 1000)), y=np.arange(1000.0))
    refused_cheaply(lambda: load(path, max_bytes=10**6), "the array X", "8 MB", "--max-bytes", most=2_000_000)
    # the size that the array's header states, and the one that the archive states, are both held
    for shape, words in (((10**5, 10**5), "needed"), ((10, 1), "needed"), ((-1, 5), ""), ((2**40, 2**40), "needed")):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("X.npy", header.getvalue() + bytes(8 * 12))
            packed.writestr("y.npy", b"")
        refused_cheaply(lambda: load(path), "cannot be read", words, most=2_000_000)


def test_npz_members_that_are_no_arrays(tmp_path):
    path = tmp_path / "a.npz"
    for members in ({"X": b"1 2 3", "y": b"1"}, {"X.npy": b"1 2 3", "y.npy": b"1"}, {"X.npy": b"", "y.npy": b""}):
        with zipfile.ZipFile(path, "w") as packed:
            for name, content in members.items():
                packed.writestr(name, content)
        refuses(lambda: load(path), "a.npz")


def test_a_small_gzip_file_that_unpacks_to_much(tmp_path):
    text = b"a,y\n" + b"1,2\n" * 500_000
    packed = gzip.compress(text)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(packed)
    refused_cheaply(lambda: load(path, target="y", max_bytes=10**5), "2 MB", most=2_000_000)
    path.write_bytes(packed[:-4] + struct.pack("<I", 10))  # the size that it states is a lie
    refused_cheaply(lambda: load(path, target="y", max_bytes=10**5), most=2_000_000)
    path.write_bytes(packed)
    refuses(lambda: load(path, target="y", max_bytes=10**7), "constant")


def idx_folder(tmp_path, shape, content, labels=b"", zipped=True):
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", *shape)
    counted = bytes([0, 0, 8, 1]) + struct.pack(">I", shape[0]) + labels
    pack, end = (gzip.compress, ".gz") if zipped else (bytes, "")
    (tmp_path / f"train-images-idx3-ubyte{end}").write_bytes(pack(header + content))
    (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(pack(counted))
    return tmp_path


@pytest.mark.parametrize("shape", [(1, 10**5, 10**5), (60_000, 300, 300), (2**32 - 1,) * 3])
@pytest.mark.parametrize("zipped", [True, False])
def test_idx_that_states_or_unpacks_to_much(tmp_path, shape, zipped):
    folder = idx_folder(tmp_path, shape, bytes(10**6), zipped=zipped)
    refused_cheaply(lambda: load(folder), "train-images", "at most", most=2_000_000)


@pytest.mark.parametrize("shape", [(0, 10**5, 10**5), (0, 0, 0), (5, 0, 3), (2, 2048, 2048), (2, 1, 2**21)])
def test_idx_images_of_impossible_sizes(tmp_path, shape):
    size = shape[0] * shape[1] * shape[2]
    folder = idx_folder(tmp_path, shape, bytes(size), labels=bytes(range(shape[0])))
    refused_cheaply(lambda: load(folder), "train-images", "pixels", most=30_000_000)


def test_idx_never_reads_more_than_it_states(tmp_path):
    folder = idx_folder(tmp_path, (2, 2, 2), bytes(range(8)) + bytes(10**8), labels=bytes([1, 7]))
    refused_cheaply(lambda: load(folder), "more bytes of data", most=2_000_000)


def test_a_small_parquet_file_that_unpacks_to_much(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"a": pa.array(np.zeros(10**6)), "y": pa.array(np.zeros(10**6))}), path)
    assert path.stat().st_size < 10**5
    refused_cheaply(lambda: load(path, target="y", max_bytes=10**6), "16 MB", most=2_000_000)


def test_the_cap_can_be_raised(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,y\n1,2\n3,5\n")
    refuses(lambda: load(path, target="y", max_bytes=11), "12 bytes", "--max-bytes 12")
    assert load(path, target="y", max_bytes=12).n == 2
    assert DataConfig(dataset="x.csv", max_bytes=12).to_mapping()["max_bytes"] == 12


def target(ending):
    return {} if ending == ".npz" else {"target": "y"}
