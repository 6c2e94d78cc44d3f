"""Certificates of several outputs: two checkers agree, and no damage makes a false claim pass."""

import json

import numpy as np
import output_certificates as several
import pytest
import second_checker
import test_checker as oracle

from reluopt.certificate import checker


def agree(raw, X, y):
    """Hold the two verdicts together; whether the file was accepted."""
    first, second = several.reason(raw, X, y), second_checker.reason_to_refuse(raw, X.tolist(), y.tolist())
    assert (first is None) == (second is None) or "the claim" in str(first), (first, second)
    return first is None


@pytest.mark.parametrize("number", range(several.KINDS))
def test_two_checkers_agree(number):
    X, y, document, tensors = several.certificate(number)
    content, rng = oracle.packed(document, tensors), np.random.default_rng(number)
    assert agree(content, X, y)
    for _ in range(8):
        changed, numbers = json.loads(json.dumps(document)), dict(tensors)
        oracle.tampered(changed, numbers, rng)
        agree(oracle.packed(changed, numbers), X, y)
    mutations = [oracle.mutated(content, rng) for _ in range(40)]
    accepted = [mutation for mutation in mutations if several.reason(mutation, X, y) is None]
    assert len(accepted) < 30
    for mutation in accepted:
        several.assert_not_false(mutation, X, y)


@pytest.mark.parametrize("number", [0, 2, 5])
def test_no_direction_exceeds_the_bound(number):
    X, _, document, tensors = several.certificate(number)
    best, bound = several.best_bound(X, tensors["z"], document, tensors)
    assert 0 < best <= bound


def changed(**parts):
    def change(document, tensors):
        for name, value in parts.items():
            tensors[name] = value(tensors[name]) if callable(value) else value

    return change


def at(index, value):
    def put(array):
        array = array.copy()
        array[index] = value
        return array

    return put


REFUSALS = [
    (changed(nu=at(1, -1.0)), "negative"),
    (changed(nu=at(1, 0.0)), "nu is 0"),
    (changed(nu=at(1, 1e-300)), "between 0 and"),
    (changed(r=at(0, -1.0)), "negative"),
    (changed(level=np.array([-1.0])), "level is negative"),
    (changed(level=np.zeros(1)), "the claim"),
    (changed(groups=np.array([0, 3, 1])), "size|length|shape"),
    (changed(groups=np.array([0, 2, -1])), "size"),
    (changed(paired=np.array([4, 0, 2])), "rising"),
    (changed(paired=np.array([0, 0, 2])), "twice"),
    (changed(paired=np.array([0, 9, 2])), "does not exist"),
    (changed(nu=at(4, -50.0)), "not definite"),
    (changed(z=lambda z: z[:, :1]), "shape"),
    (changed(z=lambda z: z + 1e-13), "outside of the domain"),
    (changed(z=lambda z: -z), "outside of the domain"),
    (changed(alpha=lambda a: a[:, :1]), "shape"),
    (changed(directions=np.zeros((0, 2))), "exactly the tensors"),
    (lambda document, tensors: document["problem"].update(outputs=1), "evidence|shape|outputs"),
    (lambda document, tensors: document["problem"].update(outputs=3), "outputs"),
    (lambda document, tensors: document.update(evidence="regions"), "evidence"),
    (lambda document, tensors: document["claims"].update(optimum_at_least=1e3), "the claim"),
    (lambda document, tensors: document["claims"].update(objective_at_most=1e-3), "the claim"),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_what_is_refused_and_why(number):
    change, words = REFUSALS[number]
    X, y, document, tensors = several.certificate(8)  # cross-entropy, two outputs, groups of 0, 2 and 1 samples
    assert tensors["groups"].tolist() == [0, 2, 1] and document["problem"]["loss"]["name"] == "cross_entropy"
    document, tensors = json.loads(json.dumps(document)), dict(tensors)
    change(document, tensors)
    raw = oracle.packed(document, tensors)
    with pytest.raises(checker.Refused, match=words):
        checker.check(checker.parse(raw), X, y)
    assert second_checker.reason_to_refuse(raw, X.tolist(), y.tolist()) is not None


def test_other_targets_are_refused():
    X, y, document, tensors = several.certificate(8)
    raw = oracle.packed(document, tensors)
    for other in (y[:, ::-1].copy(), y[:, 0].copy(), np.hstack([y, 0 * y])):
        assert several.reason(raw, X, other) is not None
        assert second_checker.reason_to_refuse(raw, X.tolist(), other.tolist()) is not None
