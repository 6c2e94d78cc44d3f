"""The checker accepts what is proved and refuses everything else. It is the only part of reluopt used here."""

import json
import os
import shutil
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from counts import tries
from safetensors.numpy import load, save

from reluopt.certificate import checker
from reluopt.certificate.checker import leaf as leaves
from reluopt.certificate.checker import regions
from reluopt.certificate.checker import slopes as affine
from reluopt.certificate.checker.ball import Ball
from reluopt.certificate.checker.certificate import read_loss

MARGIN = 1e-9


# -- valid certificates made by hand: random multipliers prove something, if little ---------------------------------


def problem(rng, n=8, d=3, classes=False):
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal(d), 0) + 0.3 * rng.standard_normal(n)
    return X, np.where(y > np.median(y), 1.0, -1.0) if classes else y, 0.7


def problem_for(rng, loss):
    return problem(rng, classes=loss["name"] in ("hinge", "squared_hinge", "logistic"))


def random_tree(rng, X, cuts):
    """A tree with ``cuts`` inner nodes; some directions are rows of X, so that samples are decided."""
    n, d = X.shape
    directions = rng.standard_normal((cuts, d))
    for k in range(0, cuts, 2):
        directions[k] = rng.choice([-1, 1]) * X[rng.integers(n)]
    tree, open_nodes = [[-1, -1, -1]], [0]
    for k in range(cuts):
        node = open_nodes.pop(rng.integers(len(open_nodes)))
        tree[node] = [k, len(tree), len(tree) + 1]
        open_nodes += [len(tree), len(tree) + 1]
        tree += [[-1, -1, -1], [-1, -1, -1]]
    for leaf, node in enumerate(open_nodes):
        tree[node] = [-1, leaf, -1]
    return directions, np.array(tree, dtype=np.int64)


def random_sign_trees(rng, X, cuts):
    """Two trees that share their directions and begin with a row of signs."""
    directions, first = random_tree(rng, X, cuts)
    _, second = random_tree(rng, X, int(rng.integers(cuts + 1)))
    table, leaves = [[regions.SIGNS, 1, 1 + len(first)]], 0
    for tree in (first, second):
        offset = len(table)
        for k, i, j in tree.tolist():
            table.append([-1, i + leaves, -1] if k == -1 else [k, i + offset, j + offset])
        leaves += (len(tree) + 1) // 2
    return directions, np.array(table, dtype=np.int64)


def random_slopes(rng, X, z, free):
    """Random affine slopes of one leaf and one sign, with the least c and w that they allow."""
    n, d = X.shape
    factor = rng.uniform(-1, 1, (2, d))
    images = np.linalg.norm(X @ factor.T @ factor, axis=1)
    eta = (
        free
        * rng.integers(0, 2, n)
        * rng.uniform(-1, 1, n)
        * (1 - 1e-9)
        * np.where(z < 0, -z, 0.3 * (z > 0))
        / 2
        / images
    )
    return affine.Slopes(factor, eta, float(0.1 * rng.standard_normal()))


def random_balls(rng, X, r):
    """Random ball products of one leaf and one sign, with almost the least r that they need."""
    span, found = rng.uniform(-1, 1, (2, X.shape[1])), []
    for square in r:
        omega = rng.standard_normal((len(square), 2))
        omega *= ((1 - 1e-9) * (square[0] + square[:, 0]) / np.linalg.norm(omega @ span, axis=1))[:, None]
        omega[0] = 0.0
        found.append(Ball(span, omega * rng.integers(0, 2, (len(omega), 1))))
    return found


def multipliers(rng, X, z, leaf, slopes=False, ball=False):
    """Random numbers that obey the rules for one leaf and one sign."""
    n, k = len(X), len(leaf.cuts)
    free = regions.decided(X, leaf.cuts) == 0
    free[leaf.paired] = False
    c = np.abs(rng.standard_normal((1 + k, n))) * rng.integers(0, 2, (1 + k, n)) * free * 0.1
    w = (c + 0.1 * np.abs(rng.standard_normal((1 + k, n))) * rng.integers(0, 2, (1 + k, n))) * free
    own = random_slopes(rng, X, z, free) if slopes else None
    swing = (1 + MARGIN) * affine.reaches(X, own) if slopes else np.zeros(n)
    q = np.maximum(np.maximum(-z, 0) * free * (1 - 1e-12) - swing, swing)
    c[0] = q
    w[0] = np.where(free & (z > 0), np.nextafter(np.nextafter(z + q, np.inf) + swing, np.inf), 0.0)
    nu = np.where(free, np.abs(z) + 0.1, 0.0)
    nu[leaf.paired] = 1 + np.abs(z[leaf.paired])
    r = [0.1 / (1 + len(g)) * np.abs(rng.standard_normal((1 + k + 2 * len(g),) * 2)) for g in leaf.groups]
    balls = random_balls(rng, X, r) if ball else None
    top = float(np.linalg.eigvalsh(matrix(X, z, leaf, w, c, nu, r, own, balls))[-1])
    flat = np.concatenate([*(square.ravel() for square in r), np.zeros(0)])
    return w, c, nu, flat, max(0.0, top) * (1 + 1e-6), own, balls


def matrix(X, z, leaf, w, c, nu, r, slopes=None, balls=None):
    """The matrix on (1, u) that the checker computes."""
    F = np.vstack([np.eye(1, 1 + X.shape[1]), np.hstack([np.zeros((len(leaf.cuts), 1)), leaf.cuts])])
    sign = regions.decided(X, leaf.cuts)
    sign[leaf.paired] = 0
    free = sign == 0
    free[leaf.paired] = False
    M, _ = leaves.head(X, F, np.where(sign > 0, z, 0.0), w, c, np.where(free, nu, 0.0), len(r))
    if slopes is not None:
        M = M + affine.slanted(X, slopes, 0)[0]
    for g, square, ball in zip(leaf.groups, r, balls or [None] * len(r), strict=True):
        M = M + leaves.eliminated(X[g], z[g], F, nu[g], square, len(r), ball)[0]
    return M


SQUARED = {"name": "squared"}
LOSSES = [
    SQUARED,
    {"name": "huber", "delta": 0.75},
    {"name": "absolute"},
    {"name": "quantile", "tau": 0.3},
    {"name": "hinge"},
    {"name": "squared_hinge"},
    {"name": "logistic"},
]


def made(X, tensors, beta=1.0, loss=SQUARED, weights=False):
    """A Certificate of these tensors, without claims."""
    problem = checker.Problem(*X.shape, "", read_loss(loss), weights, beta)
    return checker.Certificate(problem, {}, tensors)


def dual_point(rng, y, loss, kappa):
    """z (n,) with tz in the domain of the loss for every 0 ≤ t ≤ 1, and a t."""
    n, name = len(y), loss["name"]
    share = rng.uniform(0.2, 0.9, n)
    if name == "squared":
        z = kappa * y * (1 + 0.1 * rng.standard_normal(n))
        q = np.where(kappa > 0, z * z / np.where(kappa > 0, kappa, 1), 0)
        return z, max(0.0, float(y @ z) / float(q.sum()))
    if name == "squared_hinge":
        return kappa * y * share, 1.0
    if name in ("hinge", "logistic"):
        return kappa * y * share, 1.0
    low, high = {"huber": (-0.75, 0.75), "absolute": (-1.0, 1.0), "quantile": (-0.7, 0.3)}[name]
    return kappa * np.where(y > 0, high, low) * share, 0.9


def certificate(
    X, y, beta, *, seed=0, cuts=0, groups=(), network=True, loss=SQUARED, weighted=False, slopes=False, ball=False,
    signs=False,
):  # fmt: skip
    """(document, tensors) of a valid certificate; ``groups`` are (leaf, its paired samples)."""
    rng = np.random.default_rng(seed)
    n, d = X.shape
    directions, tree = (random_sign_trees if signs else random_tree)(rng, X, cuts)
    kappa = rng.choice([0.0, 0.5, 1.0, 3.7], n) if weighted else np.ones(n)
    kappa[:2] = np.maximum(kappa[:2], 0.5)
    z, t = dual_point(rng, y, loss, kappa)
    tensors = {
        "z": z,
        "t": np.array([t]),
        "directions": directions,
        "tree": tree,
        "groups": np.array([(leaf, len(own)) for leaf, own in groups], dtype=np.int64).reshape(-1, 2),
        "paired": np.array([sample for _, own in groups for sample in own], dtype=np.int64),
    }
    whole = all_regions(tensors, n)
    number = 1 if signs else 2
    sides = [[multipliers(rng, X, leaf.signs[s] * z, leaf, slopes, ball) for leaf in whole] for s in range(number)]
    for index, name in enumerate(("w", "c", "nu", "r")):
        join = np.stack if name == "nu" else np.concatenate
        tensors[name] = np.stack([join([m[index] for m in side]) for side in sides])
    tensors["level"] = np.array([[m[4] for m in side] for side in sides])
    if slopes:
        tensors["factor"] = np.stack([np.concatenate([m[5].factor for m in side]) for side in sides])
        tensors["eta"] = np.stack([np.stack([m[5].eta for m in side]) for side in sides])
        tensors["tilt"] = np.array([[m[5].tilt for m in side] for side in sides])
    if ball:
        spans = [[m[6][0].span if m[6] else np.zeros((2, d)) for m in side] for side in sides]
        tensors["span"] = np.stack([np.concatenate(side) for side in spans])
        omegas = [[own.omega for m in side for own in m[6]] for side in sides]
        tensors["ball"] = np.stack([np.concatenate([np.zeros((0, 2)), *side]) for side in omegas])
    if weighted:
        tensors["weights"] = kappa
    own = kappa if weighted else None
    c = made(X, tensors, beta, loss, weighted)
    lower = max(0.0, float(checker.optimum_lower(c, X, y, own)) * (1 - MARGIN))
    claims = {"optimum_at_least": lower}
    if network:
        tensors |= {"U": rng.standard_normal((4, d)), "alpha": rng.standard_normal(4)}
        upper = checker.objective_upper(X, y, own, c.problem.loss, beta, tensors["U"], tensors["alpha"])
        claims["objective_at_most"] = float(upper) * (1 + MARGIN)
        if lower > 0:
            claims["ratio_at_most"] = float(upper) / lower * (1 + 2 * MARGIN)
    document = {
        "format": "reluopt-certificate",
        "version": 3,
        "problem": {
            "n": n,
            "d": d,
            "outputs": 1,
            "fingerprint": checker.fingerprint(X, y, *([kappa] if weighted else [])),
            "loss": loss,
            "weights": weighted,
            "beta": beta,
        },
        "evidence": "regions",
        "claims": claims,
        "about": {},
    }
    return document, tensors


def all_regions(tensors, n):
    return regions.read_regions(*(tensors[name] for name in ("tree", "directions", "groups", "paired")), n)


def packed(document, tensors):
    return save(tensors, metadata={"certificate": json.dumps(document)})


def unpacked(content):
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["certificate"]), load(content)


def verdict(content, X, y):
    return checker.check(checker.parse(content), X, y)


KINDS = [
    {},
    {"cuts": 1},
    {"cuts": 4},
    {"groups": [(0, [2])]},
    {"groups": [(0, [1, 5]), (0, [0, 3, 6]), (1, []), (2, [0])], "cuts": 3},
    {"network": False, "cuts": 2},
    {"slopes": True},
    {"slopes": True, "cuts": 3, "groups": [(0, [1, 5]), (1, [])]},
    {"ball": True, "groups": [(0, [1, 4, 6])]},
    {"ball": True, "slopes": True, "cuts": 2, "groups": [(0, [1, 5]), (0, []), (2, [3])]},
    {"weighted": True, "cuts": 1},
    {"signs": True},
    {"signs": True, "cuts": 4, "groups": [(0, [1, 3])], "slopes": True},
    {"signs": True, "cuts": 3, "groups": [(0, [2, 6]), (1, []), (2, [0])], "ball": True, "weighted": True},
    *({"loss": loss, "weighted": k % 2 == 1, "cuts": k % 3, "slopes": k % 2 == 0} for k, loss in enumerate(LOSSES[1:])),
]


@pytest.fixture(params=range(len(KINDS)))
def valid(request):
    X, y, beta = problem_for(np.random.default_rng(request.param), KINDS[request.param].get("loss", SQUARED))
    return X, y, *certificate(X, y, beta, seed=request.param, **KINDS[request.param])


# -- what is accepted ------------------------------------------------------------------------------------------------


def test_valid_certificates_are_accepted(valid):
    X, y, document, tensors = valid
    result = verdict(packed(document, tensors), X, y)
    assert result.claims == document["claims"]
    assert float(result.lower) > 0


def test_exit_codes_and_words(tmp_path, capsys):
    X, y, beta = problem(np.random.default_rng(0))
    document, tensors = certificate(X, y, beta, cuts=1)
    np.savez(tmp_path / "data.npz", X=X, y=y)
    (tmp_path / "good").write_bytes(packed(document, tensors))
    document["claims"]["optimum_at_least"] *= 1 + 1e-6
    (tmp_path / "bad").write_bytes(packed(document, tensors))
    data = ["--data", str(tmp_path / "data.npz")]
    assert checker.main([str(tmp_path / "good"), *data]) == 0
    proved = capsys.readouterr().out.splitlines()
    assert len(proved) == 3
    for line in proved:  # every line says what it is about
        assert line.startswith("PROVED: ")
        for word in (document["problem"]["fingerprint"], "n = 8, d = 3", "squared loss", "beta = 0.7", "4 neurons"):
            assert word in line
        assert checker.fingerprint(tensors["U"], tensors["alpha"]) in line
    assert checker.main([str(tmp_path / "bad"), *data]) == 1
    assert "REFUSED: the claim optimum_at_least" in capsys.readouterr().out
    assert checker.main([str(tmp_path / "none"), *data]) == 2
    assert checker.main([str(tmp_path / "good"), "--data", str(tmp_path / "good")]) == 2
    np.savez(tmp_path / "data.npz", X=X.astype(np.float32), y=y)
    assert checker.main([str(tmp_path / "good"), *data]) == 2


def test_the_checker_stands_alone(tmp_path):
    """A copy of its folder runs where nothing of reluopt, torch or safetensors can be imported."""
    X, y, beta = problem(np.random.default_rng(0))
    np.savez(tmp_path / "data.npz", X=X, y=y)
    (tmp_path / "cert").write_bytes(packed(*certificate(X, y, beta)))
    shutil.copytree(Path(checker.__file__).parent, tmp_path / "checker")
    (tmp_path / "alone.py").write_text(
        "import sys\nsys.path.insert(0, '.')\n"
        "for name in ('reluopt', 'torch', 'scipy', 'safetensors'):\n    sys.modules[name] = None\n"
        "from checker import main\nsys.exit(main(['cert', '--data', 'data.npz']))\n"
    )
    done = subprocess.run([sys.executable, "-I", "alone.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PROVED") == 3
    command = [sys.executable, "-m", "reluopt.certificate.checker", "cert", "--data", "data.npz"]
    environment = {**os.environ, "PYTHONPATH": str(Path(checker.__file__).parents[3])}
    assert subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode == 0


def test_another_order_of_summation_is_accepted(valid):
    """The same certificate for reordered samples: every sum is done in another order."""
    X, y, document, tensors = valid
    order = np.random.default_rng(1).permutation(len(y))
    X, y = X[order], y[order]
    for name in {"z", "w", "c", "nu", "eta", "weights"} & set(tensors):
        tensors[name] = np.ascontiguousarray(tensors[name][..., order])
    document["problem"]["fingerprint"] = checker.fingerprint(
        X, y, *(tensors[name] for name in ("weights",) if name in tensors)
    )
    tensors |= reordered_groups(tensors, np.argsort(order))
    verdict(packed(document, tensors), X, y)


def reordered_groups(tensors, rank):
    """``paired`` and ``r`` when sample i becomes sample rank[i]: within a group they keep to the rising order."""
    signs = len(tensors["r"])
    paired, squares, rows = [np.zeros(0, np.int64)], [np.zeros((signs, 0))], []
    for leaf in all_regions(tensors, len(rank)):
        for group, at, own in zip(leaf.groups, leaf.squares, leaf.rows, strict=True):
            place, k = np.argsort(rank[group]), len(leaf.cuts)
            forms = np.concatenate([np.arange(1 + k), 1 + k + place, 1 + k + len(group) + place])
            paired.append(rank[group][place])
            squares.append(tensors["r"][:, at].reshape(signs, len(forms), -1)[:, forms][:, :, forms].reshape(signs, -1))
            rows.append(own.start + forms)
    result = {"paired": np.concatenate(paired), "r": np.concatenate(squares, axis=1)}
    if "ball" in tensors:
        result["ball"] = np.ascontiguousarray(tensors["ball"][:, np.concatenate(rows)])
    return result


# -- what is refused, and why ----------------------------------------------------------------------------------------


def edit(**changes):
    return lambda document, tensors: document.update(changes)


def claim(**factors):
    def change(document, tensors):
        for name, factor in factors.items():
            document["claims"][name] *= factor

    return change


def put(name, value):
    def change(document, tensors):
        tensors[name] = value(tensors[name]) if callable(value) else value

    return change


def entry(name, index, value):
    def change(document, tensors):
        tensors[name] = tensors[name].copy()
        tensors[name][index] = value

    return change


def drop(name):
    return lambda document, tensors: tensors.pop(name)


def about(**changes):
    return lambda document, tensors: document["problem"].update(changes)


REFUSALS = [
    (edit(format="other"), "format is not"),
    (edit(version=2), "version is 2, not 3, 4 or 5; 'reluopt certify RUN' writes a new"),
    (edit(version=3.0), "version is 3.0, not 3"),
    (edit(version=True), "version is True, not 3"),
    (edit(evidence="simplices"), "exactly the tensors"),
    (edit(evidence="cones"), "the evidence is not 'regions' or 'simplices'"),
    (edit(evidence=None), "the evidence is not 'regions'"),
    (about(loss={"name": "cubic"}), "loss 'cubic' is unknown"),
    (about(loss="squared"), "loss None is unknown"),
    (about(loss={"name": "squared", "delta": 1.0}), "other keys"),
    (about(loss={"name": "huber"}), "other keys"),
    (about(loss={"name": "huber", "delta": 0.0}), "'delta' is not between"),
    (about(loss={"name": "huber", "delta": "1"}), "'delta' is not a number"),
    (about(loss={"name": "quantile", "tau": 1.0}), "'tau' is not between"),
    (about(loss={"name": "hinge"}), "needs targets -1 and 1"),
    (about(loss={"name": "huber", "delta": 1e-3}), "outside of the domain"),
    (about(outputs=2), "the evidence is not 'outputs'"),
    (about(outputs=0), "'outputs' is not"),
    (about(weights=True), "exactly the tensors"),
    (about(weights=0), "'weights' is not true or false"),
    (about(beta=-1.0), "beta is not positive"),
    (about(beta="0.7"), "'beta' is not a number"),
    (about(beta=True), "'beta' is not a number"),
    (about(beta=10**400), "a number that overflows"),
    (about(beta=float("nan")), "the number 'NaN'"),
    (about(beta=0.69), "claim optimum_at_least"),
    (about(extra=1), "needs the keys"),
    (about(n=8.0), "whole number"),
    (about(n=9), "9x3 data"),
    (about(fingerprint="0" * 64), "other data"),
    (about(fingerprint="A" * 64), "64 hexadecimal digits"),
    (about(fingerprint=""), "64 hexadecimal digits"),
    (edit(problem={"n": 8, "d": 3}), "needs the keys"),
    (edit(extra=1), "exactly the keys"),
    (edit(claims={}), "no claim"),
    (edit(claims={"optimum_at_most": 1.0}), "unknown claim"),
    (edit(claims={"optimum_at_least": -1.0}), "a claim is negative"),
    (edit(claims={"optimum_at_least": 2**53 + 1}), "claim optimum_at_least|exactly the tensors"),
    (edit(claims={"optimum_at_least": 1e-9}), "exactly the tensors"),
    (claim(optimum_at_least=1 + 1e-8), "claim optimum_at_least"),
    (claim(objective_at_most=1 - 1e-8), "claim objective_at_most"),
    (claim(ratio_at_most=1 - 1e-8), "claim ratio_at_most"),
    (drop("z"), "exactly the tensors"),
    (drop("U"), "exactly the tensors"),
    (put("more", np.zeros(1)), "unknown tensor"),
    (put("weights", np.ones(8)), "exactly the tensors"),
    (put("z", lambda z: z[:-1]), "'z' has shape"),
    (put("t", lambda t: -t), "t is negative"),
    (put("t", lambda t: 0.01 * t), "claim optimum_at_least"),
    (put("t", lambda t: t[:, None]), "'t' has shape"),
    (put("z", lambda z: z.astype(np.float32)), "type 'F32'"),
    (put("z", lambda z: z * np.nan), "'z' has an entry that is NaN"),
    (put("z", lambda z: z * 1.01), "w is below z"),
    (put("U", lambda U: U * np.inf), "'U' has an entry that is NaN"),
    (put("U", lambda U: U * 1e200), "larger than 2\\^256"),
    (put("alpha", lambda a: a[:-1]), "'alpha' has shape"),
    (put("w", lambda w: w[:, :, :-1]), "'w' has shape"),
    (put("w", lambda w: w[:, :-1]), "'w' has shape"),
    (put("w", lambda w: w - 1e-9 * (w > 0)), "w is below"),
    (put("c", lambda c: np.where(c > 0, -c, 0.0)), "negative entry"),
    (put("nu", lambda nu: -nu), "negative entry"),
    (put("nu", lambda nu: 0 * nu), "nu is 0 where w is not"),
    (put("nu", lambda nu: 1e-320 * nu), "between 0 and 2"),
    (put("w", lambda w: w + 1e78), "larger than 2"),
    (put("r", np.ones((2, 1))), "'r' has shape"),
    (put("level", lambda level: -level - 1), "level is negative"),
    (put("level", lambda level: level * 2), "claim optimum_at_least"),
    (put("level", lambda level: level * 0.1), "claim optimum_at_least"),
    (put("tree", np.zeros((0, 3), dtype=np.int64)), "odd number of nodes"),
    (put("tree", lambda tree: tree.astype(np.int32)), "type 'I32'"),
    (put("tree", np.array([[-1, 0, -1]])), "'w' has shape"),
    (put("tree", lambda tree: tree[:2]), "odd number"),
    (entry("tree", (0, 1), 0), "outside of the rows below it"),
    (entry("tree", (0, 2), 1), "reached twice"),
    (entry("tree", (0, 0), 7), "does not exist"),
    (entry("tree", (0, 0), -2), "has shape"),
    (entry("tree", (0, 0), -3), "does not exist"),
    (entry("tree", (1, 2), 0), "malformed leaf"),
    (entry("tree", (1, 1), 1), "used twice"),
    (entry("tree", (1, 1), 5), "malformed leaf"),
    (put("directions", lambda g: g + 0.5), "w is below z|must be 0|claim optimum_at_least"),
    (put("directions", lambda g: g[:, :-1]), "'directions' has shape"),
    (put("groups", np.array([[0, 0]])), "'r' has shape"),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_everything_wrong_is_refused_with_its_reason(number):
    change, reason = REFUSALS[number]
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, cuts=1)
    change(document, tensors)
    with pytest.raises(checker.Refused, match=reason):
        verdict(packed(document, tensors), X, y)


#: Changes of groups (0, [1, 4]), (0, []), (1, [0, 2, 3]).
GROUP_REFUSALS = [
    (entry("groups", (0, 0), -1), "names a leaf that does not exist"),
    (entry("groups", (2, 0), 2), "names a leaf that does not exist"),
    (entry("groups", (2, 0), 2**62), "names a leaf that does not exist"),
    (entry("groups", (0, 0), 1), "not in the order of their leaves"),
    (entry("groups", (1, 1), -1), "size outside of 0"),
    (entry("groups", (1, 1), 9), "size outside of 0"),
    (entry("groups", (1, 1), -(2**63)), "size outside of 0"),
    (entry("groups", (1, 1), 1), "another length"),
    (entry("groups", (2, 1), 2), "another length"),
    (put("groups", lambda groups: groups[:-1]), "another length"),
    (put("groups", lambda groups: groups[[0, 2]]), "'r' has shape"),
    (put("groups", lambda groups: groups[:, :1]), "'groups' has shape"),
    (put("groups", lambda groups: groups.astype(np.int32)), "type 'I32'"),
    (put("groups", np.array([[0, 2], [0, 3], [1, 0]])), "w and c must be 0"),
    (put("groups", np.array([[0, 3], [0, 0], [1, 2]])), "not in rising order"),
    (drop("groups"), "exactly the tensors"),
    (drop("paired"), "exactly the tensors"),
    (put("pairs", np.zeros((0, 2), dtype=np.int64)), "unknown tensor"),
    (put("paired", lambda paired: paired[:-1]), "another length"),
    (put("paired", lambda paired: paired[:, None]), "'paired' has shape"),
    (put("paired", lambda paired: paired.astype(np.float64)), "'paired' has type float64"),
    (entry("paired", 0, -1), "names a sample that does not exist"),
    (entry("paired", 4, 8), "names a sample that does not exist"),
    (entry("paired", 0, 4), "not in rising order"),
    (put("paired", lambda paired: paired[::-1].copy()), "not in rising order"),
    (put("paired", np.array([1, 4, 2, 0, 3])), "not in rising order"),
    (entry("paired", 0, 0), "w and c must be 0"),
    (put("r", lambda r: r - 1), "negative entry"),
    (put("r", lambda r: r * 1e3), "group 0 is not definite"),
    (put("r", lambda r: r * 1.5), "claim optimum_at_least"),
    (put("r", lambda r: r[:, :-1]), "'r' has shape"),
    (put("nu", lambda nu: nu - 1e3 * (np.arange(8) == 1)), "leaf 0, sign [+]: group 0 is not definite"),
    (put("r", lambda r: r + 1e30), "group 0 is not definite"),
    (put("r", lambda r: r + 1e300), "larger than 2"),
]


#: Changes of affine slopes on two leaves.
SLOPE_REFUSALS = [
    (drop("eta"), "exactly the tensors"),
    (drop("factor"), "exactly the tensors"),
    (drop("tilt"), "exactly the tensors"),
    (put("factor", lambda V: V[:, :-1]), "not the same number for every leaf"),
    (put("factor", lambda V: V[:1]), "'factor' has shape"),
    (put("factor", lambda V: V[:, :, :-1]), "'factor' has shape"),
    (put("factor", lambda V: 2 * V), "entry of factor is larger than 1"),
    (put("factor", lambda V: V * np.nan), "'factor' has an entry that is NaN"),
    (put("factor", np.sign), r"c is below \|eta\|"),
    (put("eta", lambda eta: eta[:, :1]), "'eta' has shape"),
    (put("eta", lambda eta: eta[:, :, :-1]), "'eta' has shape"),
    (put("eta", lambda eta: eta + np.inf), "'eta' has an entry that is NaN"),
    (put("eta", lambda eta: eta * 1e70), r"c is below \|eta\|"),
    (put("eta", lambda eta: np.where(eta == 0, 1e-3, eta)), "eta must be 0|c is below"),
    (put("tilt", lambda tilt: tilt[:, :1]), "'tilt' has shape"),
    (put("tilt", lambda tilt: tilt + np.inf), "'tilt' has an entry that is NaN"),
    (put("tilt", lambda tilt: tilt + 10), "claim optimum_at_least"),
    (put("tilt", lambda tilt: tilt - 10), "claim optimum_at_least"),
    (put("w", lambda w: np.where(w > 0, w - 1e-9, w)), "w is below z"),
]


@pytest.mark.parametrize("number", range(len(SLOPE_REFUSALS)))
def test_every_malformed_slope_is_refused_with_its_reason(number):
    change, reason = SLOPE_REFUSALS[number]
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, cuts=1, groups=[(1, [2])], slopes=True)
    verdict(packed(document, tensors), X, y)
    change(document, tensors)
    with pytest.raises(checker.Refused, match=reason):
        verdict(packed(document, tensors), X, y)


def swapped(tree):
    """The tree for z in the place of that for −z, which the leaves do not prove."""
    tree = tree.copy()
    tree[0, 1:] = tree[0, :0:-1]
    return tree


#: Changes of two trees for one sign each.
SIGN_REFUSALS = [
    (put("tree", swapped), "w is below z|not definite|the claim|nu is 0 where"),
    (entry("tree", (0, 0), 0), "has shape|cut twice"),
    (entry("tree", (0, 0), -3), "cuts by direction -3"),
    (entry("tree", (1, 0), regions.SIGNS), "cuts by direction -2"),
    (entry("tree", (0, 2), 1), "reached twice"),
    (entry("tree", (0, 1), 0), "outside of the rows below"),
    (put("tree", lambda tree: np.array([[regions.SIGNS, 1, 2], [-1, 0, -1], [-1, 1, -1]])), "names a leaf|has shape"),
    *((put(name, lambda part: np.concatenate([part, part])), "has shape") for name in ("w", "nu", "level", "ball")),
    *((put(name, lambda part: part[:0]), "has shape") for name in ("c", "r", "span")),
]


@pytest.mark.parametrize("number", range(len(SIGN_REFUSALS)))
def test_every_malformed_tree_of_one_sign_is_refused_with_its_reason(number):
    change, reason = SIGN_REFUSALS[number]
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, cuts=2, signs=True, ball=True, groups=[(0, [2])])
    verdict(packed(document, tensors), X, y)
    change(document, tensors)
    with pytest.raises(checker.Refused, match=reason):
        verdict(packed(document, tensors), X, y)


def two_leaves(tensors):
    """Evidence with one region as a tree for each sign."""
    tree = np.array([[regions.SIGNS, 1, 2], [-1, 0, -1], [-1, 1, -1]])
    parts = {name for name in ("w", "c", "nu", "r", "level", "eta", "tilt", "factor", "lean") if name in tensors}
    return tensors | {"tree": tree} | {name: tensors[name].reshape(1, -1, *tensors[name].shape[2:]) for name in parts}


@pytest.mark.parametrize("slopes", [False, True])
def test_one_region_is_a_tree_for_each_sign_too(slopes):
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, slopes=slopes)
    one, two = (verdict(packed(document, part), X, y) for part in (tensors, two_leaves(tensors)))
    assert one.lower == two.lower


def test_a_leaf_of_one_sign_has_to_prove_this_sign_alone():
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, cuts=1, signs=True)
    whole = all_regions(tensors, len(X))
    assert {leaf.signs for leaf in whole} == {(1,), (-1,)}
    for sign in (1, -1):  # the leaves of either sign cover all of u-space
        cuts = [leaf.cuts for leaf in whole if leaf.signs == (sign,)]
        u = np.random.default_rng(0).standard_normal((X.shape[1], 200))
        assert (sum((part @ u >= 0).all(axis=0).astype(int) for part in cuts) == 1).all()
    assert verdict(packed(document, tensors), X, y).lower > 0


BALL_REFUSALS = [
    (drop("span"), "exactly the tensors"),
    (drop("ball"), "exactly the tensors"),
    (put("span", lambda G: G[:, :-1]), "not the same number for every leaf"),
    (put("span", lambda G: G[:, :, :-1]), "'span' has shape"),
    (put("span", lambda G: G[:1]), "'span' has shape"),
    (put("span", lambda G: 3 * np.sign(G)), "entry of span is larger than 1"),
    (put("span", lambda G: G * np.nan), "'span' has an entry that is NaN"),
    (put("ball", lambda own: own[:, :-1]), "'ball' has shape"),
    (put("ball", lambda own: own[:, :, :1]), "'ball' has shape"),
    (put("ball", lambda own: own + np.inf), "'ball' has an entry that is NaN"),
    (put("ball", lambda own: own * (1 + 1e-6)), "r is below"),
    (put("ball", lambda own: own * 1e70), "r is below"),
    (put("ball", lambda own: own + 1e-9), "form 1"),
    (put("r", lambda r: r * (1 - 1e-6)), "r is below"),
]


@pytest.mark.parametrize("number", range(len(BALL_REFUSALS)))
def test_every_malformed_ball_product_is_refused_with_its_reason(number):
    change, reason = BALL_REFUSALS[number]
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, cuts=1, groups=[(0, [1, 4]), (1, [2, 3])], ball=True)
    assert tensors["ball"].any(axis=(1, 2)).all()
    verdict(packed(document, tensors), X, y)
    change(document, tensors)
    with pytest.raises(checker.Refused, match=reason):
        verdict(packed(document, tensors), X, y)


def test_slopes_without_evidence_are_refused():
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, slopes=True)
    document |= {"claims": {"objective_at_most": 1e9}, "evidence": None}
    tensors = {name: tensors[name] for name in ("U", "alpha", "factor", "eta", "tilt")}
    with pytest.raises(checker.Refused, match="exactly the tensors"):
        verdict(packed(document, tensors), X, y)


@pytest.mark.parametrize("number", range(len(GROUP_REFUSALS)))
def test_every_malformed_grouping_is_refused_with_its_reason(number):
    change, reason = GROUP_REFUSALS[number]
    X, y, beta = problem(np.random.default_rng(5))
    groups = [(0, [1, 4]), (0, []), (1, [0, 2, 3])]
    document, tensors = certificate(X, y, beta, seed=5, cuts=1, groups=groups)
    verdict(packed(document, tensors), X, y)
    change(document, tensors)
    with pytest.raises(checker.Refused, match=reason):
        verdict(packed(document, tensors), X, y)


def test_groups_of_a_leaf_may_not_share_a_sample():
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, groups=[(0, [1, 4]), (0, [0, 2])])
    tensors["paired"] = np.array([1, 4, 0, 4])
    with pytest.raises(checker.Refused, match="leaf 0 has a sample twice in its groups"):
        verdict(packed(document, tensors), X, y)


def test_samples_may_not_be_swapped_or_changed(valid):
    X, y, document, tensors = valid
    content = packed(document, tensors)
    for other in ((X[::-1], y), (X[::-1], y[::-1]), (X * (1 + 2**-52), y), (X, np.nextafter(y, 9))):
        with pytest.raises(checker.Refused, match="other data"):
            verdict(content, *(np.ascontiguousarray(part) for part in other))


def test_decided_and_paired_samples_must_not_be_given_multipliers():
    X, y, beta = problem(np.random.default_rng(6))
    document, tensors = certificate(X, y, beta, seed=6, cuts=1, groups=[(0, [3])])
    decided = int(np.flatnonzero((np.abs(X) == np.abs(tensors["directions"][0])).all(axis=1))[0])
    for name, sample, reason in (("w", decided, "decided and paired"), ("c", 3, "decided and paired")):
        broken = {**tensors, name: tensors[name].copy()}
        broken[name][0, 1, sample] = 1.0
        broken["w"] = np.maximum(broken["w"], broken["c"])
        with pytest.raises(checker.Refused, match=reason):
            verdict(packed(document, broken), X, y)
    broken = {**tensors, "nu": tensors["nu"].copy()}
    broken["nu"][0, 1, decided] = 1.0
    with pytest.raises(checker.Refused, match="decided samples"):
        verdict(packed(document, broken), X, y)


@pytest.mark.parametrize("damage", ["truncated", "empty", "header", "twice", "no metadata", "garbage"])
def test_damaged_files_are_refused(damage):
    X, y, beta = problem(np.random.default_rng(0))
    document, tensors = certificate(X, y, beta)
    content = packed(document, tensors)
    size = struct.unpack("<Q", content[:8])[0]
    damaged = {
        "truncated": content[:-1],
        "empty": b"",
        "header": struct.pack("<Q", 2**62) + content[8:],
        "twice": save(tensors, metadata={"certificate": json.dumps(document)[:-1] + ', "claims": {}}'}),
        "no metadata": save(tensors),
        "garbage": bytes(range(256)) * 10,
    }[damage]
    assert size > 0
    words = r"longer or shorter|shorter than its header|header is larger|a key twice|the one key|header is cut off"
    with pytest.raises(checker.Refused, match=words):
        verdict(damaged, X, y)


def test_a_shape_that_no_array_can_have_is_refused():
    X, y, beta = problem(np.random.default_rng(0))
    content = packed(*certificate(X, y, beta))
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    header = {"__metadata__": header["__metadata__"], "U": {"dtype": "F64", "data_offsets": [0, 0]}}
    for shape in ([0, 2**39, 2**39], [2**39, 0, 2**39]):
        header["U"]["shape"] = shape
        text = json.dumps(header).encode()
        with pytest.raises(checker.Refused, match="a tensor has the shape"):
            verdict(struct.pack("<Q", len(text)) + text, X, y)


# -- mutations -------------------------------------------------------------------------------------------------------


def plain_lower(X, y, beta, tensors, loss=SQUARED):
    """What the evidence proves, without any care for rounding: an independent reading of SPEC.md, sections 5 to 7."""
    z, worst, first, corner, start, row = tensors["z"], 0.0, 0, [0, 0], 0, [0, 0]
    paths, signs, todo, d = {}, {}, [(0, [], (1, -1))], X.shape[1]
    while todo:
        node, path, own = todo.pop()
        cut, i, j = tensors["tree"][node].tolist()
        if cut == -1:
            paths[i], signs[i] = path, own
        elif cut == -2:
            todo += [(i, path, (1,)), (j, path, (-1,))]
        else:
            g = tensors["directions"][cut]
            todo += [(i, [*path, g], own), (j, [*path, -g], own)]
    x, unit = np.hstack([np.zeros((len(X), 1)), X]), np.eye(1 + d)
    for leaf in range(len(paths)):
        cuts = paths[leaf]
        forms = np.array([unit[0], *(np.concatenate([[0], g]) for g in cuts)])
        sizes = [size for owner, size in tensors["groups"].tolist() if owner == leaf]
        ends = (start + np.cumsum(sizes)).astype(int).tolist()
        groups = [tensors["paired"][end - size : end].tolist() for size, end in zip(sizes, ends, strict=True)]
        start, paired = start + sum(sizes), {sample for group in groups for sample in group}
        for side, signed in enumerate(sign * z for sign in signs[leaf]):
            w, c = (tensors[name][side, first : first + len(forms)] for name in ("w", "c"))
            nu, level = tensors["nu"][side, leaf], tensors["level"][side, leaf]
            W, eta, tilt = plain_slopes(tensors, side, leaf, len(paths), X.shape)
            M = tilt * np.diag([1.0, *-np.ones(d)])
            for i in set(range(len(X))) - paired:
                if any((g == X[i]).all() for g in cuts):
                    M += signed[i] * np.outer(unit[0], x[i])
                elif not any((-g == X[i]).all() for g in cuts):
                    M -= np.outer(x[i], c[:, i] @ forms) + eta[i] * np.outer(x[i], unit[:, 1:] @ W @ X[i])
                    swing = abs(eta[i]) * np.linalg.norm(W @ X[i])
                    assert swing <= c[0, i] * (1 + 1e-12)
                    assert signed[i] + c[0, i] + swing <= w[0, i] + 1e-12 * (abs(signed[i]) + c[0, i])
                    if nu[i] > 0:
                        psi = w[:, i] @ forms + nu[i] * x[i]
                        M += np.outer(psi, psi) / (4 * nu[i])
            for group in groups:
                f = len(forms) + 2 * len(group)
                r = tensors["r"][side, corner[side] : corner[side] + f * f].reshape(f, f)
                corner[side] += f * f
                K = plain_ball(tensors, side, leaf, len(paths), slice(row[side], row[side] + f), r, d)
                row[side] += f
                C = group_matrix(x[group], signed[group], forms, nu[group], r, K)
                H, B, A = C[: 1 + d, : 1 + d], C[1 + d :, : 1 + d], -C[1 + d :, 1 + d :]
                if len(group) and np.linalg.eigvalsh(A)[0] <= 0:
                    worst = np.inf
                M += H + B.T @ np.linalg.solve(A, B)
            worst = max(worst, 2 * level + 2 * max(0.0, float(np.linalg.eigvalsh((M + M.T) / 2 - level * unit)[-1])))
        first += len(forms)
    t = float(tensors["t"][0])
    v = (min(t, beta / worst) if worst else t) * z
    return plain_dual(v, y, tensors.get("weights", np.ones(len(y))), loss)


def plain_ball(tensors, side, leaf, leaves, rows, r, d):
    """K of one group."""
    if "ball" not in tensors:
        return np.zeros((len(r), d))
    K = tensors["ball"][side, rows] @ tensors["span"][side].reshape(leaves, -1, d)[leaf]
    assert (np.linalg.norm(K, axis=1) <= (r[0] + r[:, 0]) * (1 + 1e-12)).all()
    assert not K[0].any()
    return K


def plain_slopes(tensors, side, leaf, leaves, shape):
    """(W, η, ω) of one leaf and sign."""
    if "eta" not in tensors:
        return np.zeros((shape[1],) * 2), np.zeros(shape[0]), 0.0
    V = tensors["factor"][side].reshape(leaves, -1, shape[1])[leaf]
    return V.T @ V, tensors["eta"][side, leaf], tensors["tilt"][side, leaf]


def plain_dual(v, y, kappa, loss):
    """−Σ κ ℓ*(−v/κ), in float64."""
    assert (v[kappa == 0] == 0).all()
    v, y, kappa = v[kappa > 0], y[kappa > 0], kappa[kappa > 0]
    name, p, slack = loss["name"], v * y / kappa, 1e-12
    quadratic = float((y * v - v * v / (2 * kappa)).sum())
    if name == "squared":
        return quadratic
    if name == "huber":
        assert (np.abs(v) <= kappa * loss["delta"] + slack).all()
        return quadratic
    if name in ("absolute", "quantile"):
        high, low = (loss["tau"], loss["tau"] - 1) if name == "quantile" else (1, -1)
        assert ((v <= kappa * high + slack) & (v >= kappa * low - slack)).all()
        return float(y @ v)
    assert ((p >= -slack) & (p <= (1 + slack if name != "squared_hinge" else np.inf))).all()
    if name == "logistic":
        inner = np.clip(p, 1e-300, 1 - 1e-16)
        return float(-(kappa * (inner * np.log(inner) + (1 - inner) * np.log1p(-inner))).sum())
    return float(y @ v) if name == "hinge" else quadratic


def group_matrix(x, z, forms, nu, r, K):
    """The symmetric matrix of one group's form on (1, u, s), from all of its forms as dense vectors."""
    p, e = x.shape
    s = np.hstack([np.zeros((p, e)), np.eye(p)])
    rows, one = np.hstack([x, np.zeros((p, p))]), np.eye(1, e + p)[0]
    every = np.vstack([np.hstack([forms, np.zeros((len(forms), p))]), s, s - rows])
    C = every.T @ r @ every - every.T @ np.hstack([np.zeros((len(r), 1)), K, np.zeros((len(r), p))])
    for j in range(p):
        C += z[j] * np.outer(one, s[j]) - nu[j] * np.outer(s[j], s[j] - rows[j])
    return (C + C.T) / 2


def exact_objective(X, y, U, alpha, beta, loss=SQUARED, kappa=None):
    """L(U, α) as a fraction; the logistic loss from below, by mpmath at 60 digits."""
    total = Fraction(0)
    rows, targets = [[Fraction(v) for v in row] for row in X.tolist()], [Fraction(v) for v in y.tolist()]
    weights, sizes = [[Fraction(v) for v in u] for u in U.tolist()], [Fraction(v) for v in alpha.tolist()]
    own = [Fraction(1)] * len(rows) if kappa is None else [Fraction(v) for v in kappa.tolist()]
    for row, target, k in zip(rows, targets, own, strict=True):
        hidden = [max(Fraction(0), sum(a * b for a, b in zip(row, u, strict=True))) for u in weights]
        total += k * exact_loss(sum(h * a for h, a in zip(hidden, sizes, strict=True)), target, loss)
    decay = sum(v * v for u in weights for v in u) + sum(v * v for v in sizes)
    return total + Fraction(beta) * decay / 2


def exact_loss(f, y, loss):
    """ℓ(f, y) ≥ what is returned; equal but for the logistic loss."""
    r, name = abs(f - y), loss["name"]
    if name == "squared":
        return r * r / 2
    if name == "huber":
        delta = Fraction(loss["delta"])
        return r * r / 2 if r <= delta else delta * (r - delta / 2)
    if name == "absolute":
        return r
    if name == "quantile":
        tau = Fraction(loss["tau"])
        return tau * (y - f) if y >= f else (1 - tau) * (f - y)
    if name in ("hinge", "squared_hinge"):
        gap = max(Fraction(0), 1 - y * f)
        return gap if name == "hinge" else gap * gap / 2
    with mpmath.workdps(60):
        a = -mpmath.mpf(y.numerator) * f.numerator / f.denominator
        value = mpmath.log1p(mpmath.exp(a)) if a < 0 else a + mpmath.log1p(mpmath.exp(-a))
        return Fraction(int(value * mpmath.mpf(2) ** 150) - 1, 2**150) if value > 0 else Fraction(0)


def assert_not_false(content, X, y):
    """The content was accepted: what it claims must follow from what it holds."""
    document, tensors = unpacked(content)
    claims, beta, loss = document["claims"], document["problem"]["beta"], document["problem"]["loss"]
    lower = plain_lower(X, y, beta, tensors, loss) if "z" in tensors else None
    network = (tensors["U"], tensors["alpha"]) if "U" in tensors else None
    upper = exact_objective(X, y, *network, beta, loss, tensors.get("weights")) if network else None
    assert claims.get("optimum_at_least", 0) <= (lower or 0) * (1 + 1e-12)
    if "objective_at_most" in claims:
        assert upper <= Fraction(claims["objective_at_most"])
    if "ratio_at_most" in claims:
        assert float(upper) / lower <= claims["ratio_at_most"] * (1 + 1e-12)


def mutated(content, rng):
    """One to three random bit flips, anywhere; or a cut; or two bytes swapped."""
    damaged = bytearray(content)
    kind = rng.integers(10)
    if kind == 0:
        return bytes(damaged[: rng.integers(len(damaged))])
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(damaged)))
        if kind == 1:
            other = int(rng.integers(len(damaged)))
            damaged[at], damaged[other] = damaged[other], damaged[at]
        else:
            damaged[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def tampered(document, tensors, rng):
    """One change of meaning: a claim, β, or a tensor."""
    names = sorted(tensors)
    name = names[rng.integers(len(names))]
    value = tensors[name].copy()
    kind = rng.integers(10)
    if kind == 0:
        claims = document["claims"]
        which = sorted(claims)[rng.integers(len(claims))]
        claims[which] *= float(np.exp(rng.standard_normal() * 10.0 ** rng.integers(-10, 1)))
    elif kind == 1:
        document["problem"]["beta"] *= float(np.exp(rng.standard_normal() * 10.0 ** rng.integers(-10, 1)))
    elif kind == 2:
        del tensors[name]
    elif kind == 3:
        tensors[name] = value.ravel() if value.ndim > 1 else value[None]
    elif kind == 4:
        tensors[name] = value.astype(np.float32 if value.dtype == np.float64 else np.int32)
    elif kind == 5:
        tensors[name + "2"] = value
    elif kind == 9:
        document["problem"]["loss"] = LOSSES[rng.integers(len(LOSSES))]
    elif value.size and np.issubdtype(value.dtype, np.number):
        where = tuple(rng.integers(size) for size in value.shape)
        whole = np.issubdtype(value.dtype, np.integer)
        numbers = [0, 255, 1, 77] if value.dtype == np.uint8 else [0, -1, 1, 10**6]
        special = numbers if whole else [0.0, -0.0, np.nan, np.inf, 1e300, -1e-300, 5e-324]
        factor = 1.0 + rng.standard_normal() * 10.0 ** rng.integers(-12, 1)
        value[where] = special[rng.integers(len(special))] if kind < 8 or whole else value[where] * factor
        tensors[name] = value


def test_no_mutation_makes_a_false_claim_pass(valid):
    X, y, document, tensors = valid
    content, rng = packed(document, tensors), np.random.default_rng(len(packed(document, tensors)))
    accepted = refused = 0
    count = tries(120, 350)
    for _ in range(count):
        changed = mutated(content, rng)
        try:
            verdict(changed, X, y)
        except checker.Refused as reason:
            refused += 1
            assert str(reason)
        else:
            accepted += 1
            assert_not_false(changed, X, y)
    assert refused > count // 4
    assert_not_false(content, X, y)
    assert accepted > 0  # a last bit of U, say: still true, so rightly accepted


# -- soundness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_no_direction_exceeds_a_leaf_bound(scale):
    """Brute force over u: data with zero rows, duplicates, columns of very different size, n < d and n = 1."""
    rng = np.random.default_rng(2)
    for trial in range(60):
        n, d = (1, 2) if trial % 10 == 0 else (int(rng.integers(2, 8)), int(rng.integers(1, 5)))
        X = rng.standard_normal((n, d)) * np.where(np.arange(d) == 0, scale, 1.0)
        X[rng.random(n) < 0.1] = 0.0
        X[rng.random(n) < 0.1] = X[0]
        y = rng.standard_normal(n) * scale
        groups = [(0, [0]), (0, list(range(1, min(n, 4))))] if trial % 3 == 0 else []
        _, tensors = certificate(X, y, 1.0, seed=trial, cuts=int(rng.integers(0, 4)), groups=groups, network=False)
        bound = checker.support_upper(made(X, tensors), X, tensors["z"])
        U = rng.standard_normal((d, 400)) / np.where(np.arange(d) == 0, scale, 1.0)[:, None]
        U = np.hstack([U, rng.standard_normal((d, 400))])
        U /= np.linalg.norm(U, axis=0)
        assert np.abs(tensors["z"] @ np.maximum(X @ U, 0)).max() <= bound


def test_the_bound_is_proved_in_rational_arithmetic():
    """λ(1 + ‖u‖²) − vᵀCv stays positive definite with C in exact rationals, right at the bound that was proved."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((5, 2)) * 10.0 ** rng.integers(-6, 7, 2)
        y = rng.standard_normal(5)
        _, tensors = certificate(X, y, 1.0, seed=seed, network=False)
        level = float(tensors["level"][0, 0]) * (1 - 1e-6) * (1 - 1e-9 * (seed % 2))  # now and then too low
        leaf = next(iter(all_regions(tensors, 5)))
        w, c, nu = tensors["w"][0], tensors["c"][0], tensors["nu"][0, 0]
        bound = leaves.leaf_upper(X, tensors["z"], leaf, leaves.Multipliers(w, c, nu, [], level))
        half = Fraction(bound) / 2
        C = [[Fraction(0)] * 3 for _ in range(3)]
        for i in range(5):
            x = [Fraction(0), *(Fraction(v) for v in X[i].tolist())]
            psi = [Fraction(float(w[0, i])) * (k == 0) + Fraction(float(nu[i])) * x[k] for k in range(3)]
            for a in range(3):
                for b in range(3):
                    C[a][b] += psi[a] * psi[b] / (4 * Fraction(float(nu[i])))
                    C[a][b] -= (x[a] * (b == 0) + x[b] * (a == 0)) * Fraction(float(c[0, i])) / 2
        minors = [[(half if a == b else 0) - C[a][b] for b in range(3)] for a in range(3)]
        for k in range(3):
            assert minors[k][k] > 0
            for row in range(k + 1, 3):
                factor = minors[row][k] / minors[k][k]
                minors[row] = [p - factor * q for p, q in zip(minors[row], minors[k], strict=True)]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["name"])
def test_objective_upper_is_above_and_close(loss):
    rng = np.random.default_rng(3)
    for decades in (0, 0, 4, 8):
        X, y, _ = problem_for(rng, loss)
        X = X * 10.0 ** rng.integers(-decades, decades + 1, 3)
        U, alpha, kappa = rng.standard_normal((4, 3)), rng.standard_normal(4), rng.choice([0.0, 0.3, 2.0], 8)
        exact = exact_objective(X, y, U, alpha, 0.3, loss, kappa)
        bound = checker.objective_upper(X, y, kappa, read_loss(loss), 0.3, U, alpha)
        assert exact <= bound <= exact * Fraction(1 + 1e-11)


def test_leaves_cover_every_direction():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((8, 3))
    directions, tree = random_tree(rng, X, 6)
    whole = regions.read_tree(tree, len(directions))
    U = rng.standard_normal((3, 1000))
    inside = np.ones((7, 1000), dtype=bool)
    for leaf in range(7):
        for cut, sign in zip(*whole.path(leaf), strict=True):
            inside[leaf] &= sign * (directions[cut] @ U) >= 0
    assert (inside.sum(axis=0) >= 1).all()
    assert inside.any(axis=1).sum() > 1


def test_a_path_may_not_use_a_direction_twice():
    X, y, beta = problem(np.random.default_rng(5))
    document, tensors = certificate(X, y, beta, seed=5, cuts=3)
    tensors["tree"] = tensors["tree"].copy()
    tensors["tree"][tensors["tree"][:, 0] >= 0, 0] = 0
    with pytest.raises(checker.Refused, match="cut twice by one direction"):
        verdict(packed(document, tensors), X, y)
