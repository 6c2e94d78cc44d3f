"""Certificates of pooled rows: two checkers, damage that must not pass, and files that are read back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import second_checker
from safetensors.numpy import load, save
from test_pooling import SPECS, network_of, pooled_problem

from reluopt.bounds.second_moments import moment
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import proved_again, read_bound
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
