"""Simplicial branch and bound: covers, bounds of cones, the dual point that moves, certificates and both checkers."""

import json
import tracemalloc
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import simplicial_certificates as made
import test_checker as oracle
from counts import tries
from test_bounds_of_losses import SPECS, case, drawn
from test_second_checker import compared

from reluopt.bounds import simplicial
from reluopt.bounds.cutting_planes import CuttingPlanes
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.preorder import LEAF, replayed
from reluopt.bounds.protocol import Start
from reluopt.bounds.simplices import Cones, Coordinates, Simplices, basis_of
from reluopt.bounds.simplicial_search import SimplicialTree
from reluopt.bounds.small_rank import SmallRank
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import read_bound
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.problem import Problem


def leaves_of(tree, r, most=2**15):
    """All leaves as arrays of vertices (c, r, r)."""
    return np.concatenate([K[cells] for K, cells in replayed(tree, r, most)])


def grown(rng, n, r, share, z=None):
    """A tree of the search, cut until its level is a share of what it was."""
    A = rng.standard_normal((n, r))
    tree = SimplicialTree(Cones(A, rng.standard_normal(n) if z is None else z))
    tree.refine(share * tree.level, Clock(5.0), 3000)
    return A, tree


@pytest.mark.parametrize("r", [1, 2, 3, 4])
def test_every_direction_lies_in_one_leaf(r):
    """In exactly the leaves that claim it: every u has coordinates λ ≥ 0 in one cone, and λ < 0 somewhere in others."""
    rng = np.random.default_rng(r)
    for bytes_ in (made.random_tree(rng, r, 40), grown(rng, 12, r, 0.6)[1].preorder()):
        cones, u = leaves_of(bytes_, r), rng.standard_normal((r, 200))
        inside = (np.linalg.solve(cones.transpose(0, 2, 1), np.broadcast_to(u, (len(cones), r, 200))) >= 0).all(axis=1)
        assert (inside.sum(axis=0) == 1).all()
        assert (cones == np.round(cones)).all()
        assert np.abs(np.linalg.det(cones)).min() >= 1 - 1e-6  # cutting at v_i + v_j keeps the determinant


def test_trees_are_replayed_alike_in_small_pieces_and_by_the_checker():
    rng = np.random.default_rng(0)
    for bytes_ in (made.random_tree(rng, 3, 60), grown(rng, 10, 3, 0.5)[1].preorder()):
        whole = {cone.tobytes() for cone in leaves_of(bytes_, 3)}
        assert len(whole) == (bytes_ == LEAF).sum()
        assert {cone.tobytes() for cone in leaves_of(bytes_, 3, most=4)} == whole
        read = np.concatenate([K[cells] for K, cells in checker.simplices.leaves(bytes_, 3)])
        assert {cone.tobytes() for cone in read} == whole


def test_the_checker_reads_long_trees_in_pieces(monkeypatch):
    rng = np.random.default_rng(1)
    tree = made.random_tree(rng, 3, 400)
    whole = {c.tobytes() for K, cells in checker.simplices.leaves(tree, 3) for c in K[cells]}
    monkeypatch.setattr(checker.simplices, "NODES", 16)
    monkeypatch.setattr(checker.simplices, "RUN", 32)
    parts = [K[cells] for K, cells in checker.simplices.leaves(tree, 3)]
    assert max(map(len, parts)) <= 32
    assert {c.tobytes() for part in parts for c in part} == whole


@pytest.mark.parametrize("deep", ["first", "second"])
def test_a_chain_of_cuts_leaves_few_cones_waiting(deep, monkeypatch):
    """A tree that is as deep as it is long takes no more memory than another one."""
    monkeypatch.setattr(checker.simplices, "NODES", 8)
    r, cuts = 6, 2000
    chain = [0] * cuts + [255] * (cuts + 1) if deep == "first" else [0, 255] * cuts + [255]
    tree = np.array(chain + [255] * (2**r - 1), dtype=np.uint8)
    edges, ends = np.triu_indices(r, 1), checker.simplices.Ends(tree)
    tracemalloc.start()
    pieces = sum(stop - at for at, stop, _ in checker.simplices.subtrees(tree, r, ends, *edges))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pieces > cuts and most < 100 * 8 * r * r


@pytest.mark.parametrize("r", [1, 2, 3])
def test_bounds_of_cones_are_above_brute_force_in_the_package_and_the_checker(r):
    rng = np.random.default_rng(r)
    for _ in range(tries(10, 100)):
        A, z = rng.standard_normal((7, r)), rng.standard_normal(7)
        cones, read = Cones(A, z), checker.simplices.Cones(A, z)
        for K, cells in replayed(made.random_tree(rng, r, 10), r):
            limit = rng.choice([0.0, 1.0])
            found = cones.bounds(K, cones.heights(K), cells, limit)[0]
            share = rng.exponential(size=(len(cells), 200, r)) * rng.integers(0, 2, (len(cells), 200, r))
            p = np.einsum("csr,cre->cse", share, K[cells])
            p /= np.linalg.norm(p, axis=2, keepdims=True).clip(1e-300)
            truth = (np.maximum(p @ A.T, 0) @ z).max(axis=1)
            assert (truth <= found).all()
            assert read.worst(K, cells, limit) >= truth.max()
            assert read.worst(K, cells, 0.0) == pytest.approx(
                max(0, cones.bounds(K, cones.heights(K), cells, 0.0)[0].max())
            )


def test_the_rounding_that_is_counted_covers_what_is_lost():
    """c and w in rational numbers, on data that cancel: the exact ε is at most the one that was counted."""
    rng = np.random.default_rng(0)
    for trial in range(tries(6, 40)):
        A = rng.standard_normal((8, 2)) * 10.0 ** rng.integers(-6, 7, (8, 1))
        A[:, 1] = -A[:, 0] * (1 + 1e-15 * rng.standard_normal(8))  # a·(v + v') nearly vanishes
        z = np.sign(rng.standard_normal(8)) * 10.0 ** rng.integers(-3, 4, 8)
        read = checker.simplices.Cones(A, z)
        for K, cells in replayed(made.random_tree(rng, 2, 8), 2):
            for cell in cells:
                bound = Fraction(read.worst(K, cell[None], 0.0))
                assert bound >= exact_bound(A, z, K[cell]) * (1 - Fraction(1, 10**12)) - bound / 10**9
                assert bound >= exact_support(A, z, K[cell]), trial


def exact_bound(A, z, cone):
    from second_checker import cone_bound

    rows = [[Fraction(v) for v in row] for row in A.tolist()]
    return cone_bound(rows, [Fraction(v) for v in z.tolist()], [[int(v) for v in row] for row in cone.tolist()])


def exact_support(A, z, cone):
    """z itself at a few directions of the cone, in rational numbers but for the norm, which is rounded up."""
    best = Fraction(0)
    for share in ((1, 0), (0, 1), (1, 1), (1, 3), (5, 2)):
        p = [sum(Fraction(s) * Fraction(v[k]) for s, v in zip(share, cone.tolist(), strict=True)) for k in range(2)]
        value = sum(
            Fraction(w) * max(sum(Fraction(a) * q for a, q in zip(row, p, strict=True)), 0)
            for w, row in zip(z.tolist(), A.tolist(), strict=True)
        )
        best = max(best, value / (Fraction(float(np.hypot(*map(float, p)))) * (1 + Fraction(1, 2**50))))
    return best


def test_the_margin_for_rounding_is_needed(monkeypatch):
    """Without it a bound falls below what z has at a direction of the cone: the test above can fail."""
    monkeypatch.setattr(checker.simplices, "gamma", lambda k: 0.0)
    monkeypatch.setattr(checker.simplices, "UNDERFLOW", 0.0)
    with pytest.raises(AssertionError):
        for _ in range(20):
            test_the_rounding_that_is_counted_covers_what_is_lost()


@pytest.mark.parametrize("spec", SPECS)
def test_it_comes_near_the_optimum_for_every_loss_and_its_certificate_is_accepted(spec, tmp_path):
    problem, best = case(spec, 0, SPECS.index(spec) % 2 == 1)
    found = simplicial(problem, time_limit=5.0, stop_at=0.999 * best)
    assert 0.999 * best <= found.value <= best * (1 + 1e-6)
    claims = write_certificate(tmp_path / "certificate", problem, bound=found)
    assert claims["optimum_at_least"] >= found.value * (1 - 1e-8)
    assert read_bound(tmp_path / "certificate", problem).value == pytest.approx(found.value, rel=1e-9)


def test_bounds_rise_and_each_is_what_its_evidence_proves():
    problem, values = drawn("squared", 3, n=30, d=3, share=0.05), []
    for found in SmallRank().run(problem, Start(), Clock(2.0)):
        values.append(found.value)
        assert prove(problem, found.evidence, method="", started=0.0).value == pytest.approx(found.value, rel=1e-9)
        if found.value > 0.95 * values[-1] and len(values) > 8:
            break
    assert values == sorted(values)


def test_data_of_small_rank_may_have_many_columns():
    rng = np.random.default_rng(0)
    low, y = rng.standard_normal((20, 2)), rng.standard_normal(20)
    small, wide = Problem(low, y, beta=0.5), Problem(low @ np.linalg.qr(rng.standard_normal((9, 2)))[0].T, y, beta=0.5)
    assert SmallRank().suits(wide)
    one, other = (simplicial(p, time_limit=1.0, stop_at=0.9 * p.zero_value) for p in (small, wide))
    assert one.value == pytest.approx(other.value, rel=2e-2)
    with pytest.raises(ConfigError):
        simplicial(Problem(rng.standard_normal((30, 13)), np.arange(30.0), beta=1.0))


def test_a_cone_that_cannot_close_gives_its_neuron_back():
    """z is 5 % infeasible: the level of β is out of reach, and what is in the way is dearer than β."""
    rng = np.random.default_rng(3)
    problem = drawn("squared", 3, n=25, d=3, share=0.1)
    planes = CuttingPlanes(problem, None)
    planes.improve(1e-4, Clock(5.0))
    z, space = 1.05 * planes.units.z * planes.z, Coordinates.of(problem.X, basis_of(problem.X))
    trees = [SimplicialTree(Cones(space.A, sign * z)) for sign in (1, -1)]
    closed = [tree.refine(problem.beta, Clock(10.0), 10**5) for tree in trees]
    assert not all(closed)
    dearer = np.vstack([tree.dearer for tree in trees]) @ space.B
    assert len(dearer)
    assert (np.abs(z @ np.maximum(problem.X @ dearer.T, 0)) > problem.beta).all()
    # nothing is proved that is not true at such a z
    level = np.array([tree.level for tree in trees])
    evidence = Simplices(z, space.B, tuple(tree.preorder() for tree in trees), level)
    u = rng.standard_normal((3, 5000))
    u = np.hstack([dearer.T, u / np.linalg.norm(u, axis=0)])
    assert np.abs(z @ np.maximum(problem.X @ u, 0)).max() <= evidence.support_upper(problem.X)


def test_a_tree_moves_to_another_dual_point():
    rng = np.random.default_rng(5)
    A, tree = grown(rng, 15, 3, 0.5)
    other = rng.standard_normal(15)
    moved = tree.moved(Cones(A, other))
    found = np.concatenate(
        [moved.cones.bounds(K, moved.cones.heights(K), cells, 0.0)[0] for K, cells in replayed(moved.preorder(), 3)]
    )
    u = rng.standard_normal((3, 3000))
    assert found.max() <= moved.level * (1 + 1e-9)
    assert (other @ np.maximum(A @ (u / np.linalg.norm(u, axis=0)), 0)).max() <= moved.level


def test_memory_and_clock_end_a_search():
    _, tree = grown(np.random.default_rng(6), 15, 3, 0.9)
    assert not tree.refine(0.1 * tree.level, Clock(0.0), 10**6)
    assert not tree.refine(0.1 * tree.level, Clock(5.0), 2 * tree.leaves)


@pytest.mark.parametrize(("n", "r", "seed"), [(12, 3, 5), (15, 4, 2), (15, 4, 3), (12, 5, 0), (12, 5, 3)])
def test_a_search_that_ends_anywhere_has_the_level_that_its_leaves_prove(n, r, seed):
    """Not that of their parents, which may be lower by a fifth: a checker sees leaves alone."""
    rng = np.random.default_rng(seed)
    A, z = rng.standard_normal((n, r)), rng.standard_normal(n)
    for share in (0.6, 0.4):
        for most in (60, 120, 200):
            tree = SimplicialTree(Cones(A, z))
            tree.cones.block = 1
            tree.refine(share * tree.level, Clock(5.0), most)
            read = checker.simplices.Cones(A, z)
            own = max(read.worst(K, cells, 0.0) for K, cells in checker.simplices.leaves(tree.preorder(), r))
            assert own <= tree.level * (1 + 1e-9)


@pytest.mark.parametrize("number", range(14))
def test_two_checkers_agree(number):
    X, y, document, tensors = made.certificate(number)
    content, rng = oracle.packed(document, tensors), np.random.default_rng(number)
    assert compared(content, X, y)
    for _ in range(tries(4, 100)):
        if rng.random() < 0.4:
            raw = oracle.mutated(content, rng)
        else:
            changed, numbers = json.loads(json.dumps(document)), dict(tensors)
            oracle.tampered(changed, numbers, rng)
            raw = oracle.packed(changed, numbers)
        compared(raw, X, y)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t | {"plus": t["plus"][:-1]}, "cut off"),
        (lambda t: t | {"plus": np.append(t["plus"], np.uint8(255))}, "more than"),
        (lambda t: t | {"minus": t["minus"][:0]}, "empty"),
        (lambda t: t | {"minus": np.full(3, 255, np.uint8)}, "fewer than"),
        (lambda t: t | {"plus": np.where(t["plus"] == 255, 254, t["plus"]).astype(np.uint8)}, "neither"),
        (lambda t: t | {"level": t["level"] - 1e3}, "negative"),
        (lambda t: t | {"basis": 2 * t["basis"]}, "above 1"),
        (lambda t: t | {"basis": t["basis"][:0]}, "0 rows"),
        (lambda t: t | {"basis": t["basis"][:1]}, "neither|more than|fewer than"),
        (lambda t: t | {"basis": t["basis"][:, :1]}, "shape"),
        (lambda t: t | {"plus": t["plus"].astype(np.int64)}, "type"),
        (lambda t: t | {"level": 0 * t["level"], "basis": 0 * t["basis"]}, "claim"),
        (lambda t: t | {"w": t["level"]}, "exactly the tensors"),
        # v_0 += v_1 and v_1 += v_0 in turn: Fibonacci's numbers
        (lambda t: t | {"plus": np.array([0, 0, 255] * 40 + [255] * 44, np.uint8)}, r"2\^53"),
    ],
)
def test_everything_wrong_is_refused_with_its_reason(change, reason):
    X, y, document, tensors = made.certificate(2)
    raw = oracle.packed(document, change(tensors))
    with pytest.raises(checker.Refused, match=reason):
        oracle.verdict(raw, X, y)


def test_damaged_evidence_proves_nothing_in_the_package():
    problem = drawn("squared", 1, n=10, d=2)
    good = simplicial(problem, time_limit=1.0, stop_at=0.0).evidence
    assert good.support_upper(problem.X) < np.inf
    for bad in (
        replace(good, trees=(good.trees[0][:-1], good.trees[1])),
        replace(good, trees=(good.trees[0], np.append(good.trees[1], np.uint8(255)))),
        replace(good, trees=(good.trees[0][:0], good.trees[1])),
        replace(good, trees=(np.full(5, 77, np.uint8), good.trees[1])),
        replace(good, z=good.z * np.nan),
        replace(good, basis=good.basis * np.inf),
        replace(good, level=good.level * np.inf),
    ):
        with np.errstate(all="ignore"):
            assert bad.support_upper(problem.X) == np.inf
