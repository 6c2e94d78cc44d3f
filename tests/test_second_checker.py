"""The checker and a second one, written from SPEC.md alone in exact arithmetic, agree on every file."""

import json

import numpy as np
import output_certificates
import pytest
import second_checker
import test_checker as oracle

SLACK = 1e-8  # claims this close to what is proved may be refused for their rounding


def small_certificate(number):
    """A valid certificate of one of many kinds: (X, y, document, tensors)."""
    rng = np.random.default_rng(number)
    loss = oracle.LOSSES[number % len(oracle.LOSSES)]
    cuts = int(rng.integers(0, 4))
    groups = [(0, [0]), (0, [2, 3])] if rng.random() < 0.3 else []
    network, weighted = bool(rng.random() < 0.6), bool(rng.random() < 0.4)
    X, y, beta = oracle.problem_for(rng, loss)
    X, y = np.ascontiguousarray(X[:5, :2]), y[:5].copy()
    kind = {"cuts": cuts, "groups": groups, "network": network, "loss": loss, "weighted": weighted}
    kind |= {"slopes": number % 3 == 1, "ball": bool(groups) and number % 2 == 0, "signs": number % 4 == 3}
    return X, y, *oracle.certificate(X, y, beta, seed=number, **kind)


def loosened(raw):
    """The same file with every claim weaker by SLACK."""
    document, tensors = oracle.unpacked(raw)
    claims = {
        name: value * (1 - SLACK if name == "optimum_at_least" else 1 + 3 * SLACK)
        for name, value in document["claims"].items()
    }
    return oracle.packed(document | {"claims": claims}, tensors)


def compared(raw, X, y):
    """Hold the two verdicts together; whether the file was accepted."""
    first, second = output_certificates.reason(raw, X, y), second_checker.reason_to_refuse(raw, X.tolist(), y.tolist())
    if first is not None and second is None:
        assert "the claim" in first, first
        assert output_certificates.reason(loosened(raw), X, y) is None, first
        return False
    assert (first is None) == (second is None), (first, second)
    return first is None


def compare_variants(number, count):
    """One certificate as it is and ``count`` changes of it: how many were accepted."""
    X, y, document, tensors = small_certificate(number)
    content, rng = oracle.packed(document, tensors), np.random.default_rng(number)
    assert compared(content, X, y)
    accepted = 1
    for _ in range(count):
        if rng.random() < 0.4:
            raw = oracle.mutated(content, rng)
        else:
            changed, numbers = json.loads(json.dumps(document)), dict(tensors)
            oracle.tampered(changed, numbers, rng)
            raw = oracle.packed(changed, numbers)
        accepted += compared(raw, X, y)
    return accepted


@pytest.mark.parametrize("number", range(14))
def test_two_checkers_agree(number):
    compare_variants(number, 4)


@pytest.mark.parametrize("number", range(len(oracle.SLOPE_REFUSALS)))
def test_two_checkers_refuse_the_same_slopes(number):
    change, _ = oracle.SLOPE_REFUSALS[number]
    X, y, beta = oracle.problem(np.random.default_rng(5))
    document, tensors = oracle.certificate(X, y, beta, seed=5, cuts=1, groups=[(1, [2])], slopes=True)
    assert compared(oracle.packed(document, tensors), X, y)
    change(document, tensors)
    assert not compared(oracle.packed(document, tensors), X, y)


@pytest.mark.parametrize("number", range(len(oracle.SIGN_REFUSALS)))
def test_two_checkers_refuse_the_same_trees_of_one_sign(number):
    change, _ = oracle.SIGN_REFUSALS[number]
    X, y, beta = oracle.problem(np.random.default_rng(5))
    document, tensors = oracle.certificate(X, y, beta, seed=5, cuts=2, signs=True, ball=True, groups=[(0, [2])])
    assert compared(oracle.packed(document, tensors), X, y)
    change(document, tensors)
    assert not compared(oracle.packed(document, tensors), X, y)


@pytest.mark.parametrize("number", [*range(len(oracle.REFUSALS)), *range(-len(oracle.GROUP_REFUSALS), 0)])
def test_two_checkers_refuse_the_same(number):
    change, _ = oracle.REFUSALS[number] if number >= 0 else oracle.GROUP_REFUSALS[number]
    X, y, beta = oracle.problem(np.random.default_rng(5))
    groups = [] if number >= 0 else [(0, [1, 4]), (0, []), (1, [0, 2, 3])]
    document, tensors = oracle.certificate(X, y, beta, seed=5, cuts=1, groups=groups)
    change(document, tensors)
    assert not compared(oracle.packed(document, tensors), X, y)
