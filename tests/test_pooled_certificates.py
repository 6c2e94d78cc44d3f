"""Certificates of pooled rows: two checkers, damage that must not pass, and files that are read back."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import second_checker
import test_checker as oracle
from safetensors.numpy import load, save
from test_pooling import SPECS, network_of, pooled_problem

from reluopt.bounds.protocol import Start
from reluopt.bounds.registry import BOUNDS
from reluopt.bounds.second_moments import moment
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import proved_again, read_bound
from reluopt.clock import Clock
from reluopt.errors import CertificateError
from reluopt.pooling import Pooling
from reluopt.problem import Problem


def written(tmp_path, spec="squared", C=1, n=6):
    A = np.random.default_rng(5).standard_normal((n, 8)) * (np.arange(8) % 3 != np.arange(n)[:, None] % 3)
    problem, _ = pooled_problem(spec, C, n=n, A=A)
    bound = moment(problem, time_limit=0.3)
    U, alpha = (0.2 * part for part in network_of(problem, 3))
    path = tmp_path / "c.safetensors"
    claims = write_certificate(path, problem, bound=bound, network=(U, alpha))
    return problem, bound, path, claims


def lists(problem):
    return problem.X.tolist(), problem.targets.tolist()


@pytest.mark.parametrize(("spec", "C"), SPECS)
def test_both_checkers_accept_what_is_proved(tmp_path, spec, C):
    problem, bound, path, claims = written(tmp_path, spec, C)
    content = checker.read_certificate(path)
    verdict = checker.check(content, problem.X, problem.targets)
    assert "8 pooled rows" in verdict.subject() and claims["optimum_at_least"] == pytest.approx(bound.value, rel=1e-6)
    assert content.problem.fingerprint == problem.fingerprint and content.problem.rows == 8
    assert second_checker.reason_to_refuse(path.read_bytes(), *lists(problem)) is None
    data = tmp_path / "d.npz"
    np.savez(data, X=problem.X, y=problem.targets)
    assert checker.main([str(path), "--data", str(data)]) == 0
    again = read_bound(path, problem)
    assert again.value == pytest.approx(bound.value, rel=1e-9) and np.array_equal(again.z, bound.z)
    assert proved_again(problem, bound, "mine").value == pytest.approx(bound.value, rel=1e-9)


@pytest.mark.parametrize(("name", "spec", "C"), [("affine", "squared", 1), *(("cliques", *spec) for spec in SPECS)])
def test_other_bounds_of_pooled_rows_are_tighter_and_both_checkers_accept_them(tmp_path, name, spec, C, ticking):
    problem, first, path, _ = written(tmp_path, spec, C)
    ticking(0.01)
    bound = BOUNDS[name].best(problem, Start().after(first), Clock(5.0))
    U, alpha = (0.2 * part for part in network_of(problem, 3))
    assert first.value < bound.value <= problem.objective_upper(U, alpha)
    write_certificate(path, problem, bound=bound, network=(U, alpha))
    assert second_checker.reason_to_refuse(path.read_bytes(), *lists(problem)) is None
    assert read_bound(path, problem).value == pytest.approx(bound.value, rel=1e-9)


def test_a_network_without_neurons_is_one(tmp_path):
    for spec, C in (("squared", 1), ("cross_entropy", 3)):
        problem, bound, path, _ = written(tmp_path, spec, C)
        nothing = np.zeros((0, problem.d)), np.zeros((0, *problem.targets.shape[1:]))
        claims = write_certificate(path, problem, bound=bound, network=nothing)
        assert claims["objective_at_most"] == pytest.approx(problem.zero_value)
        assert second_checker.reason_to_refuse(path.read_bytes(), *lists(problem)) is None


def damaged(raw, name, change):
    """The file with one tensor changed; everything else is as it was."""
    tensors = {key: np.array(part) for key, part in load(raw).items()}
    size = int.from_bytes(raw[:8], "little")
    text = json.loads(raw[8 : 8 + size])["__metadata__"]["certificate"]
    tensors[name] = change(tensors[name])
    return save(tensors, metadata={"certificate": text})


def moved(part, by):
    part = part.copy()
    part.flat[0] += by
    return part


@pytest.mark.parametrize(("spec", "C"), [("squared", 1), ("cross_entropy", 3)])
def test_damage_is_refused_by_both(tmp_path, spec, C):
    problem, _, path, _ = written(tmp_path, spec, C)
    raw = path.read_bytes()
    changes = [
        ("v", lambda p: moved(p, 0.1)), ("v", lambda p: 0 * p), ("pool_weights", lambda p: moved(p, 1e-9)),
        ("pool_weights", lambda p: 0 * p), ("pool_sizes", lambda p: moved(p, 1)), ("pool_rows", lambda p: moved(p, 1)),
        ("pool_rows", lambda p: p - 1), ("pool_rows", lambda p: p[:-1]), ("U", lambda p: moved(p, 1.0)),
        ("z", lambda p: moved(p, 0.5)), ("z", lambda p: 3 * p), ("pool_sizes", lambda p: p[::-1].copy() + 0),
    ]  # fmt: skip
    for number, (name, change) in enumerate(changes):
        if name == "pool_sizes" and number == len(changes) - 1 and (load(raw)[name] == load(raw)[name][::-1]).all():
            continue
        bad = damaged(raw, name, change)
        assert second_checker.reason_to_refuse(bad, *lists(problem)) is not None, (number, name)
        with pytest.raises(checker.Refused):
            checker.check(checker.parse(bad), problem.X, problem.targets)


MAPS = [
    (lambda sizes, rows, weights: (sizes, rows, weights * (np.arange(len(rows)) > 0)), "is 0"),
    (lambda sizes, rows, weights: (sizes, np.where(np.arange(len(rows)) == 1, rows[0], rows), weights), "twice"),
    (lambda sizes, rows, weights: (sizes, np.where(np.arange(len(rows)) == 1, 8, rows), weights), "not exist"),
    (lambda sizes, rows, weights: (sizes, np.where(np.arange(len(rows)) == 1, -1, rows), weights), "not exist"),
    (lambda sizes, rows, weights: (sizes + (np.arange(len(sizes)) == 0), rows, weights), "not those of its rows"),
    (lambda sizes, rows, weights: (np.array([9, *sizes[1:]]), rows, weights), "too many"),
    (lambda sizes, rows, weights: (np.array([0, *sizes[1:]]), rows, weights), "no rows"),
]


@pytest.mark.parametrize("number", range(len(MAPS)))
def test_a_map_that_is_none_is_refused_for_its_own_reason(tmp_path, number):
    """Its fingerprint is that of the damaged map: nothing else is wrong with the file."""
    change, reason = MAPS[number]
    problem, _, path, _ = written(tmp_path)
    document, tensors = oracle.unpacked(path.read_bytes())
    names = ("pool_sizes", "pool_rows", "pool_weights")
    parts = change(*(np.array(tensors[name]) for name in names))
    tensors |= dict(zip(names, parts, strict=True))
    own = checker.pooling.Map(*parts)
    document["problem"]["fingerprint"] = checker.pooling.fingerprint(problem.X, problem.targets, None, own)
    raw = oracle.packed(document, tensors)
    assert second_checker.reason_to_refuse(raw, *lists(problem)) is not None
    with pytest.raises(checker.Refused, match=reason):
        checker.check(checker.parse(raw), problem.X, problem.targets)


def test_the_objective_of_pooled_rows_is_never_below_the_exact_one():
    """Rounding of the rows' outputs is counted, with |A|: entries of A of both signs do not make it smaller."""
    rng, below = np.random.default_rng(0), 0
    loss = checker.certificate.read_loss({"name": "squared"})
    for _ in range(30):
        A, X, y = rng.standard_normal((3, 5)), rng.standard_normal((5, 2)), rng.standard_normal((3, 1))
        U = np.repeat(rng.standard_normal((2, 2)), 2, axis=0)
        alpha = np.repeat(1e3 * rng.standard_normal((2, 1)), 2, axis=0) * [[1], [-1], [1], [-1]]
        alpha = alpha * (1 + 1e-3 * rng.standard_normal((4, 1)))
        own = checker.pooling.Map(np.full(3, 5), np.tile(np.arange(5), 3), A.ravel())
        found = checker.pooling.objective_upper(own, X, y, None, loss, 1e-9, U, alpha)
        exact = exact_objective(A, X, y[:, 0], U, alpha[:, 0], 1e-9)
        assert exact <= found <= exact * (1 + Fraction(1, 10**6))
        f = A @ (np.maximum(X @ U.T, 0) @ alpha) - y
        below += Fraction(float(0.5 * (f * f).sum())) < exact
    assert below > 5, "in float64 alone it is"
    sizes = checker.pooling.Map(np.array([2]), np.array([0, 1]), np.array([1.0, -1.0]))
    assert sizes.forward([[Fraction(3)], [Fraction(2)]], 1, sizes=True) == [[5]]


def exact_objective(A, X, y, U, alpha, beta):
    """½‖A(XUᵀ)_+α − y‖² + (β/2)(‖U‖² + ‖α‖²) in rational numbers."""
    A, X, U = ([[Fraction(v) for v in row] for row in part.tolist()] for part in (A, X, U))
    y, alpha = ([Fraction(v) for v in part.tolist()] for part in (y, alpha))

    def dot(a, b):
        return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))

    rows = [dot([max(dot(x, u), Fraction(0)) for u in U], alpha) for x in X]
    squares = sum(((dot(a, rows) - v) ** 2 for a, v in zip(A, y, strict=True)), Fraction(0))
    return squares / 2 + Fraction(beta) / 2 * (sum(dot(u, u) for u in U) + dot(alpha, alpha))


def test_a_v_that_is_not_the_vector_of_the_rows_pays_for_it(tmp_path):
    """It is allowed, and B has ‖v − Aᵀz‖‖X‖ more: a bound for v that small proves nothing of Aᵀz."""
    problem, _, path, _ = written(tmp_path, "squared", 2)
    content, X = checker.read_certificate(path), problem.X
    lowest = float(checker.optimum_lower(content, X, problem.targets))
    v, level = content.tensors["v"], content.tensors["level"]
    for share in (1 - 1e-6, 0.9, 0.5):
        cheap = replace(content, tensors={**content.tensors, "v": share * v, "level": share * level})
        value = float(checker.optimum_lower(cheap, X, problem.targets))
        assert 0 < value <= lowest * (1 + 1e-9)
        assert share > 0.999 or value < 0.95 * lowest


def test_other_pooling_is_other_data(tmp_path):
    problem, bound, path, _ = written(tmp_path)
    other = Problem(problem.X, problem.y, "squared", problem.beta, pooling=Pooling.of_matrix(np.eye(6, 8)))
    assert other.fingerprint != problem.fingerprint
    with pytest.raises(CertificateError):
        read_bound(path, other)
    plain = Problem(problem.X[:6], problem.y, "squared", problem.beta)
    with pytest.raises((CertificateError, ValueError)):
        write_certificate(path, plain, bound=bound)
