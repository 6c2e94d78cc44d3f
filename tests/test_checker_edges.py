"""The checker and the package's rounding at the edges of float64, and in front of files that were made to hurt."""

import gzip
import io
import json
import math
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import test_checker as oracle
from counts import tries

from reluopt.certificate import checker
from reluopt.certificate.checker import numbers, regions
from reluopt.certificate.checker.command import answer
from reluopt.losses import make_loss
from reluopt.problem import Problem
from reluopt.rigor import rounding

# -- the objective, anywhere in float64 ------------------------------------------------------------------------------


def wild_numbers(rng, *shape, reach=1070):
    """Numbers of any size from 2^−1074 to 2^reach, some of them 0, in patterns that cancel, vanish or overflow."""
    kind = rng.integers(4)
    if kind == 0:
        exponents = rng.integers(-1074, reach + 1, shape)
    elif kind == 1:
        exponents = rng.integers(-3, 4, shape) + int(rng.integers(-1070, reach - 3))
    elif kind == 2:
        exponents = rng.choice([-1074, -1022, -540, -260, 0, 127, 250, 500, min(900, reach)], shape)
    else:
        exponents = rng.integers(-60, 61, shape)
    with np.errstate(over="ignore"):
        values = np.ldexp(rng.choice([-1.0, 1.0], shape) * rng.integers(2**52, 2**53, shape), exponents - 52)
    values[rng.random(shape) < 0.1] = 0.0
    return np.where(np.isfinite(values), values, 1.7e308)


def wild_objective(rng, loss):
    """(X, y, κ, U, α, β): half of the problems have numbers that the checker's domain allows."""
    n, d, m = (int(k) for k in rng.integers(1, 5, 3))
    reach = int(rng.choice([250, 1020]))
    X, U, alpha = (wild_numbers(rng, *shape, reach=reach) for shape in ((n, d), (m, d), (m,)))
    y = rng.choice([-1.0, 1.0], n) if loss["name"] in ("hinge", "squared_hinge", "logistic") else wild_numbers(rng, n)
    if reach == 250:
        y = np.clip(y, -(2.0**256), 2.0**256)
    return X, y, np.abs(wild_numbers(rng, n, reach=100)), U, alpha, float(abs(wild_numbers(rng, 1)[0])) or 5e-324


def problem_of(X, y, beta, loss=oracle.SQUARED, kappa=None):
    """The package's problem of such numbers, past the gate that would refuse the largest."""
    spec = ":".join(str(part) for part in loss.values())
    gated = Problem(np.ones((2, 1)), np.arange(2.0))
    weights = np.ones(len(X)) if kappa is None else kappa
    return gated._with(X=X, targets=y, loss=make_loss(spec), beta=beta, weights=weights)


def checked_objective(rng, loss):
    """Hold the two upper bounds of one wild problem against exact fractions; returns how many of them were finite."""
    X, y, kappa, U, alpha, beta = wild_objective(rng, loss)
    finite = 0
    bound = problem_of(X, y, beta, loss, kappa).objective_upper(U, alpha)
    if math.isfinite(bound):
        finite += 1
        assert Fraction(bound) >= oracle.exact_objective(X, y, U, alpha, beta, loss, kappa)
    c = oracle.made(X, {"U": U, "alpha": alpha}, beta, loss)
    try:
        for values, name in ((X, "X"), (y, "y"), (kappa, "weights")):
            numbers.within_domain(values, name)
        U, alpha = c.tensor("U", None, X.shape[1]), c.tensor("alpha", None)
        with np.errstate(all="ignore"):
            bound = checker.objective_upper(X, y, kappa, c.problem.loss, beta, U, alpha)
    except checker.Refused:
        return finite
    assert bound >= oracle.exact_objective(X, y, U, alpha, beta, loss, kappa)
    return finite + 1


@pytest.mark.parametrize("loss", oracle.LOSSES, ids=lambda loss: loss["name"])
def test_no_objective_is_above_its_bound(loss):
    rng = np.random.default_rng(0)
    count = tries(60, 150)
    assert sum(checked_objective(rng, loss) for _ in range(count)) > count // 8


def test_an_overflow_to_minus_infinity_is_no_zero():
    X, y = np.full((1, 5), 1.5e200), np.ones(1)
    U, alpha = np.array([[-1e108, -1e108, 1e108, 1e108, 1e108]]), np.array([1e-300])
    # partial sums overflow in some orders of summation and not in others; the sum itself does not
    f = sum(Fraction(a) * Fraction(b) for a, b in zip(X[0], U[0], strict=True)) * Fraction(alpha[0])
    value = problem_of(X, y, 1e-300).objective_upper(U, alpha)
    assert value == math.inf or Fraction(value) >= (f - 1) ** 2 / 2
    for sizes in (X, U):
        with pytest.raises(checker.Refused, match="larger than 2"):
            numbers.within_domain(sizes * 1e30, "X")


@pytest.mark.parametrize("beta", [5e-324, 1e-300, 2.0**-1022])
def test_the_decay_of_a_subnormal_beta_counts(beta):
    X, y, U, alpha = np.array([[1.0, 2.0]]), np.zeros(1), np.array([[1e38, 0.0]]), np.zeros(1)
    exact = oracle.exact_objective(X, y, U, alpha, beta)
    loss = oracle.read_loss(oracle.SQUARED)
    assert checker.objective_upper(X, y, None, loss, beta, U, alpha) >= exact > 0
    U[0, 0] = 1e150
    assert (
        Fraction(problem_of(X, y, beta).objective_upper(U, alpha)) >= oracle.exact_objective(X, y, U, alpha, beta) > 0
    )


def test_norms_are_above_among_subnormal_numbers():
    for values in ([5e-324, 5e-324], [1e-320, 3e-322, 5e-324], [2.0**-1022, 5e-324], [1e308, 1e300]):
        exact = sum(Fraction(v) ** 2 for v in values)
        assert Fraction(numbers.norm(np.array(values))) ** 2 >= exact
        assert Fraction(float(rounding.norm_upper(np.array(values)))) ** 2 >= exact
        if max(values) < 1e150:
            assert Fraction(float(numbers.row_norms(np.array([values]))[0])) ** 2 >= exact


# -- lower bounds where the truth is known: d = 1 --------------------------------------------------------------------


def truth_in_one_column(x, y, beta):
    """p* for d = 1, exactly: the samples of each sign of x are a problem of their own, with one number as unknown."""
    total = Fraction(0)
    for side in (x > 0, x < 0, x == 0):
        a, t = [Fraction(v) for v in x[side].tolist()], [Fraction(v) for v in y[side].tolist()]
        size = sum(v * v for v in a)
        total += sum((v * v for v in t), Fraction(0)) / 2
        if size:
            gain = max(Fraction(0), abs(sum(p * q for p, q in zip(a, t, strict=True))) - Fraction(beta))
            total -= gain * gain / (2 * size)
    return total


def checked_bound(rng):
    """One problem with d = 1, its evidence as good as it can be or damaged: never above the truth; 1 if accepted."""
    n, scale = int(rng.integers(1, 6)), 2.0 ** int(rng.choice([-300, -120, -20, 0, 20, 60]))
    X, y = rng.standard_normal((n, 1)) * scale, rng.standard_normal(n) * 2.0 ** int(rng.choice([-300, -30, 0, 30]))
    beta = abs(float(rng.standard_normal())) * float(np.linalg.norm(X) * np.linalg.norm(y)) + 5e-324
    groups = [(0, list(range(n)))] if rng.random() < 0.3 else []
    try:
        cuts = int(rng.integers(0, 3))
        _, tensors = oracle.certificate(
            X, y, beta, seed=int(rng.integers(2**31)), cuts=cuts, groups=groups, network=False
        )
        for name in ("level", "nu", "z", "t", "w", "r"):
            if rng.random() < 0.2:
                tensors[name] = tensors[name] * (1 + rng.standard_normal() * 10.0 ** rng.integers(-16, 1))
        lower = checker.optimum_lower(oracle.made(X, tensors, beta), X, y)
    except (checker.Refused, np.linalg.LinAlgError):
        return 0
    assert lower <= truth_in_one_column(X[:, 0], y, beta)
    return int(lower > 0)


def test_no_bound_is_above_the_truth_in_one_column():
    rng = np.random.default_rng(0)
    count = tries(100, 250)
    assert sum(checked_bound(rng) for _ in range(count)) > count // 9


# -- what is printed -------------------------------------------------------------------------------------------------


@pytest.fixture
def case(tmp_path):
    X, y, beta = oracle.problem(np.random.default_rng(0))
    np.savez(tmp_path / "data.npz", X=X, y=y)
    document, tensors = oracle.certificate(X, y, beta, cuts=1)
    (tmp_path / "cert").write_bytes(oracle.packed(document, tensors))
    return tmp_path, document, tensors


EVIL = "X\nPROVED: everything\x1b[2J[bold red]ü\u202e"


def with_header(content, change):
    """The file with its header changed by a function of the parsed header."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header, ensure_ascii=False).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def evil_documents(document):
    for key in document:
        yield document | {key: EVIL}
        yield {**document, EVIL: 1}
    for key in document["problem"]:
        yield document | {"problem": document["problem"] | {key: EVIL}}
    yield document | {"claims": {EVIL: 1.0}}
    yield document | {"problem": document["problem"] | {"loss": {"name": EVIL * 1000}}}


def test_text_of_the_file_forges_nothing(case):
    folder, document, tensors = case
    content = oracle.packed(document, tensors)
    files = [oracle.packed(changed, tensors) for changed in evil_documents(document)]
    for key in ("dtype", "shape", "data_offsets"):
        files.append(with_header(content, lambda header, key=key: header["z"].update({key: EVIL})))
    files.append(with_header(content, lambda header: header.update({EVIL: header.pop("z")})))
    files.append(with_header(content, lambda header: header.update({"__metadata__": {EVIL: EVIL}})))
    for number, raw in enumerate(files):
        (folder / "evil").write_bytes(raw)
        code, lines = answer(folder / "evil", folder / "data.npz")
        if code:  # 'about' is free text, so one of them is accepted
            assert code == 1, number
            assert len(lines) == 1
            assert len(lines[0]) < 600
        for line in lines:
            assert line.isprintable()
            assert line.startswith("REFUSED" if code else "PROVED")
            assert "\x1b" not in line
            assert "[bold" not in line


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_terminal_will_do(case, encoding):
    folder, *_ = case
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(checker.__file__).parents[3])}
    command = [sys.executable, "-m", "reluopt.certificate.checker", "cert", "--data", "data.npz"]
    assert subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode == 0
    with open(os.devnull, "w") as nothing, open(os.devnull) as closed:  # noqa: PTH123 (descriptors)
        read_only = subprocess.run(command, cwd=folder, env=environment, stdout=closed, stderr=nothing, check=False)
    assert read_only.returncode == 2  # nobody was told that it is proved


# -- files that eat the machine --------------------------------------------------------------------------------------


def comb(depth):
    """A tree that cuts on and on to one side: ``depth`` inner nodes."""
    rows, node = [], 0
    for k in range(depth):
        rows.append([k, node + 1, node + 2])
        rows.append([-1, k, -1])
        node += 2
    rows.append([-1, depth, -1])
    return np.array(rows, dtype=np.int64)


def test_sizes_that_follow_from_each_other_are_compared_before_anything_is_made():
    """A deep tree in a small file: refused at once, in a few bytes."""
    for depth, d in ((1000, 300), (10_000, 2)):
        X, y = np.ones((1, d)), np.ones(1)
        document, tensors = oracle.certificate(X, y, 1.0, network=False)
        tensors |= {"tree": comb(depth), "directions": np.ones((1, d)), "nu": np.zeros((2, depth + 1, 1))}
        tensors["tree"][:, 0] = np.minimum(tensors["tree"][:, 0], 0)
        content = oracle.packed(document, tensors)
        if d == 300:
            tracemalloc.start()
        with pytest.raises(checker.Refused, match="'w' has shape"):
            checker.check(checker.parse(content), X, y)
        if d == 300:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= 4 * (len(content) + X.nbytes + y.nbytes) + 128 * (1 + d) ** 2 + 2**20


LARGE_SHAPES = [
    {"n": 4000, "d": 20},
    {"n": 300, "d": 40, "cuts": 30},
    {"n": 60, "d": 5, "groups": [(0, list(range(40)))]},
    {"n": 2, "d": 30, "cuts": 60},
    {"n": 3000, "d": 3, "network": True},
]


@pytest.mark.parametrize("shape", range(len(LARGE_SHAPES)))
def test_memory_stays_within_the_stated_limit(shape):
    rng = np.random.default_rng(0)
    kind = dict(LARGE_SHAPES[shape])
    X, y, beta = oracle.problem(rng, kind.pop("n"), kind.pop("d"))
    document, tensors = oracle.certificate(X, y, beta, **{"network": False, **kind})
    if "U" in tensors:
        tensors |= {"U": rng.standard_normal((20_000, 3)), "alpha": rng.standard_normal(20_000)}
        document["claims"]["objective_at_most"] = document["claims"]["ratio_at_most"] = 1e30
    content = oracle.packed(document, tensors)
    tracemalloc.start()
    checker.check(checker.parse(content), X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    limit = 4 * (len(content) + X.nbytes + y.nbytes) + 128 * (1 + X.shape[1]) ** 2
    assert peak <= limit + 2**25  # blocks of 2^20 numbers at a time


def npz(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name.replace("__", "."), raw)
    return content.getvalue()


def npy(shape, numbers_=b"", kind="<f8"):
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + numbers_


BAD_DATA = {
    "raw members": npz(X=b"1", y=b"2"),
    "no npy inside": npz(X__npy=b"text", y__npy=b""),
    "more numbers promised than there are": npz(X__npy=npy((10**12, 10**3)), y__npy=npy((10**12,))),
    "strings": npz(X__npy=npy((1, 1), b"\0" * 8, "<U2"), y__npy=npy((1,), b"\0" * 8)),
    "objects": npz(X__npy=npy((1, 1), b"\0" * 8, "|O"), y__npy=npy((1,), b"\0" * 8)),
    "no samples": npz(X__npy=npy((0, 1)), y__npy=npy((0,))),
    "other lengths": npz(X__npy=npy((1, 1), b"\0" * 8), y__npy=npy((2,), b"\0" * 16)),
    "NaN": npz(X__npy=npy((1, 1), b"\xff" * 8), y__npy=npy((1,), b"\0" * 8)),
    "negative shape": npz(X__npy=npy((-1, -1), b"\0" * 8), y__npy=npy((1,), b"\0" * 8)),
    "gzip": gzip.compress(b"0" * 10**6),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_bad_data_are_exit_code_2(case, kind):
    folder, *_ = case
    (folder / "bad.npz").write_bytes(BAD_DATA[kind])
    code, lines = answer(folder / "cert", folder / "bad.npz")
    assert code == 2
    assert lines[0].startswith("Could not check: ")


def test_what_is_no_file_or_too_large_is_not_read(case):
    folder, *_ = case
    os.mkfifo(folder / "pipe")
    for certificate, data in (
        ("pipe", "data.npz"),
        ("cert", "pipe"),
        (".", "data.npz"),
        ("cert", "."),
        ("none", "data.npz"),
    ):
        assert answer(folder / certificate, folder / data)[0] == 2
    with (folder / "sparse").open("wb") as file:
        file.truncate(2**40)
    assert answer(folder / "sparse", folder / "data.npz")[0] == 2
    assert answer(folder / "cert", folder / "sparse")[0] == 2
    with (folder / "sparse").open("wb") as file:
        file.truncate(2**30)
    assert answer(folder / "sparse", folder / "data.npz")[0] == 1  # its header is empty: no certificate
    bomb = npz(X__npy=npy((2**10, 2**10), b"\0" * 2**23), y__npy=npy((2**10,), b"\0" * 2**13))
    (folder / "bomb.npz").write_bytes(bomb)
    assert "inflates to" in answer(folder / "cert", folder / "bomb.npz", 2**22)[1][0]
    if Path("/proc/self/maps").exists():
        assert answer(Path("/proc/self/maps"), folder / "data.npz")[0] == 1
        assert answer(folder / "cert", Path("/proc/self/maps"))[0] == 2


def test_whatever_the_bytes_are_the_exit_code_is_0_1_or_2(case):
    folder, document, tensors = case
    content, rng = oracle.packed(document, tensors), np.random.default_rng(0)
    data, codes = (folder / "data.npz").read_bytes(), []
    for number in range(tries(500, 2000)):
        which, raw = (
            ("damaged", oracle.mutated(content, rng)) if number % 4 else ("damaged.npz", oracle.mutated(data, rng))
        )
        if number % 4 == 1:  # the header alone: most bytes of a file are numbers
            size = 8 + struct.unpack("<Q", content[:8])[0]
            raw = oracle.mutated(content[:size], rng) + content[size:]
        (folder / which).write_bytes(raw)
        paths = (folder / which, folder / "data.npz") if number % 4 else (folder / "cert", folder / which)
        code, lines = answer(*paths)
        assert lines
        assert "Could not check" not in lines[0] or code == 2
        codes.append(code)
    assert set(codes) == {0, 1, 2}


NESTED = ["[" * 10**5, '{"a":' * 10**5, "1" * 5000, "1e400", "-1e400", "NaN", '"\\ud800"', "{}", "[]", "null", "true"]


@pytest.mark.parametrize("text", NESTED, ids=lambda text: text[:8])
def test_strange_json_is_refused(case, text):
    folder, document, tensors = case
    for raw in (text.encode(), json.dumps({"__metadata__": {"certificate": text}}).encode()):
        (folder / "strange").write_bytes(struct.pack("<Q", len(raw)) + raw)
        assert answer(folder / "strange", folder / "data.npz")[0] == 1
    about = json.dumps(document | {"about": "HERE"}).replace('"HERE"', text)
    (folder / "strange").write_bytes(oracle.save(tensors, metadata={"certificate": about}))
    free = text in ("{}", "[]", "null", "true", '"\\ud800"')
    assert answer(folder / "strange", folder / "data.npz")[0] == (0 if free else 1)


def test_a_tree_of_many_leaves_is_read_in_its_order():
    tree = regions.read_tree(comb(5), 5)
    assert tree.depth.tolist() == [1, 2, 3, 4, 5, 5]
    assert tree.path(5) == ([0, 1, 2, 3, 4], [-1.0] * 5)
