"""Damaged and made-up files from fixed seeds (`make thorough`: 2,000 a kind): what comes out is data or our error."""

from __future__ import annotations

import gzip
import io
import struct
import warnings

import numpy as np
import pytest
from counts import tries
from data_helpers import load

from reluopt.errors import ReluoptError

INPUTS = tries(400, 2000)
RNG = np.random.default_rng(5)


def npz(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    save = np.savez if rng.random() < 0.7 else np.savez_compressed
    X = RNG.standard_normal((6, 2)).astype(rng.choice(["f4", "f8", "i2", "c8", "U3", "S2", "?"]))
    save(file, X=X, y=RNG.standard_normal(6))
    return file.getvalue()


def images(rng: np.random.Generator) -> bytes:
    content = bytes([0, 0, 8, 3]) + struct.pack(">3I", 6, 2, 2) + bytes(rng.integers(0, 256, 24, dtype=np.uint8))
    return gzip.compress(content, mtime=0)


WORDS = [
    *("a", "1", "-2.5", "", "NA", "?", '"', '""', ",", ";", "\t", "|", " ", "\n", "\r\n", "#", "sep=;", "1,5", "1_0"),
    *("inf", "nan", "1e999", "2020-01-01", "é", "\ufeff", "\x00", "yes", "no", "'", "[bold]", "\\", "0x1", "1 000"),
]


def csv(rng: np.random.Generator) -> bytes:
    if rng.random() < 0.5:
        return "".join(rng.choice(WORDS, rng.integers(1, 60))).encode(rng.choice(["utf-8", "utf-16"]))
    n = int(rng.integers(3, 9))
    columns = [rng.integers(-9, 9, n), rng.choice(WORDS[:6], n), rng.choice(["u", "v"], n), rng.standard_normal(n)]
    rows = zip(*columns, strict=True)
    return ("a,b,c,y\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n").encode()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with a few bytes changed, left out, repeated, or cut off."""
    out = bytearray(content)
    for _ in range(rng.integers(0, 4)):
        if not out:
            break
        at = int(rng.integers(len(out)))
        kind = rng.integers(4)
        if kind == 0:
            out[at] = int(rng.integers(256))
        elif kind == 1:
            del out[at : at + int(rng.integers(1, 20))]
        elif kind == 2:
            out[at:at] = out[at : at + int(rng.integers(1, 20))]
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize("kind", ["npz", "idx", "csv"])
def test_only_data_or_an_error_of_ours_comes_out(tmp_path, kind):
    make = {"npz": npz, "idx": images, "csv": csv}[kind]
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 6, 1, 7, 2, 8, 3, 9]))
    path = tmp_path / {"npz": "a.npz", "idx": "train-images-idx3-ubyte.gz", "csv": "a.csv"}[kind]
    settings = {"csv": {"target": "last"}, "idx": {}, "npz": {}}[kind]
    rng = np.random.default_rng(2000)
    loaded = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(INPUTS):
            path.write_bytes(damaged(make(rng), rng))
            policy = {"missing": str(rng.choice(["refuse", "drop-rows", "mean"]))} if kind == "csv" else {}
            try:
                data = load(tmp_path if kind == "idx" else path, max_bytes=10**7, **settings, **policy)
            except ReluoptError as error:
                assert all(sign.isprintable() or sign == "\n" for sign in str(error)), repr(str(error))
                continue
            loaded += 1
            assert np.isfinite(data.X).all() and np.isfinite(data.y).all() and data.n >= 2
    assert loaded > INPUTS // 100, "hardly any input is data, so little is tested"
