"""Every lower bound on awkward data: below p* as the exact convex program finds it, and accepted by the checker."""

import time
from functools import cache

import by_formula
import numpy as np
import pytest
from conftest import Ticks

from reluopt.bounds import closed_form, exact, moment, neighbours, pairwise, splitting, tightened
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.errors import ReluoptError
from reluopt.losses import LOSSES
from reluopt.problem import Problem
from reluopt.programs.exact import ExactProgram
from reluopt.programs.mapping import network_from_blocks
from reluopt.search.pricing import price
from reluopt.solvers import solve

METHODS = {
    "closed form": closed_form,
    "moment": moment,
    "pairwise": lambda *problem: pairwise(*problem, time_limit=0.1),
    "splitting": lambda *problem: splitting(*problem, time_limit=0.1),
    "neighbours": lambda *problem: neighbours(*problem, time_limit=0.1),
    "exact": exact,
}


def awkward():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    wide = rng.standard_normal((3, 7))
    return {
        "plain": (X, y),
        "one sample": (X[:1], y[:1]),
        "one column": (X[:, :1].copy(), y),
        "fewer samples than columns": (wide, y[:3]),
        "rank one": (np.outer(y, [1.0, -2.0]), X[:, 0].copy()),
        "repeated rows with other targets": (np.vstack([X, X[:3]]), np.append(y, -y[:3])),
        "opposite rows": (np.vstack([X, -X[:3]]), np.append(y, y[:3])),
        "zero rows": (np.vstack([X, np.zeros((3, 2))]), np.append(y, [2.0, -1.0, 0.0])),
        "columns of 1e-8 and 1e8": (X * [1e-8, 1e8], y),
        "rows of 1e-8 and 1e8": (X * 10.0 ** np.array([-8, 8, 0, -4, 4, 0])[:, None], y),
        "tiny": (1e-8 * X, 1e-8 * y),
        "huge": (1e8 * X, 1e8 * y),
        "nearly dependent columns": (np.hstack([X, X[:, :1] + 1e-9 * y[:, None]]), y),
    }


AWKWARD = awkward()


@cache
def case(name):
    """(X, y, β, an objective that a network reaches): β = 0.1 β_max, or what the search says of it."""
    X, y = AWKWARD[name]
    beta = 0.1 * price(X, y, np.random.default_rng(0)).value
    return X, y, beta, reached(X, y, beta)


def reached(X, y, beta, *, every_cell=True):
    """The lowest objective of the zero network, the exact program's, and one neuron in each of many directions."""
    rng, values = np.random.default_rng(1), [0.5 * float(y @ y)]
    U = np.vstack([rng.standard_normal((300, X.shape[1])), X, -X])
    U = U / np.maximum(np.linalg.norm(U, axis=1, keepdims=True), 1e-300)
    heights = np.maximum(X @ U.T, 0)
    gains = np.maximum(np.abs(y @ heights) - beta, 0)
    best = np.argmax(gains**2 / np.maximum((heights**2).sum(axis=0), 1e-300))
    weight = gains[best] / max(float((heights[:, best] ** 2).sum()), 1e-300)
    sign = np.sign(y @ heights[:, best])
    root = np.sqrt([weight])
    values.append(float(by_formula.objective(X, y, root[:, None] * U[best : best + 1], sign * root, beta)))
    if not every_cell:
        return min(values)
    try:
        network = network_from_blocks(solve(ExactProgram.of(X, y, beta)).blocks)
    except ReluoptError:
        return min(values)
    return min(*values, float(by_formula.objective(X, y, *network.weights(), beta)))


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("method", METHODS)
def test_bounds_are_below_every_network_and_accepted_by_the_checker(name, method, tmp_path):
    X, y, beta, upper = case(name)
    bound = METHODS[method](X, y, beta)
    assert 0 <= bound.value <= upper * (1 + 1e-9)
    write_certificate(tmp_path / "cert", X, y, beta, bound)
    verdict = checker.check(checker.read_certificate(tmp_path / "cert"), X, y)
    assert float(verdict.lower) <= upper * (1 + 1e-9)
    assert float(verdict.lower) == pytest.approx(bound.value, rel=1e-6)


@pytest.mark.parametrize("method", [neighbours, tightened])
@pytest.mark.parametrize("kind", ["full rank", "repeated rows", "rank two"])
def test_a_search_that_ends_anywhere_on_wide_data_claims_what_the_checker_proves(kind, method, tmp_path):
    """What slopes and products have outside of the space of the rows is in no bound, and in no certificate."""
    rng = np.random.default_rng(5)
    n, rank, d = (9, 2, 30) if kind == "rank two" else (4, 4, 60)
    X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    X = np.vstack([X, X[:2]]) if kind == "repeated rows" else X
    y = rng.standard_normal(len(X))
    beta = 0.1 * price(X, y, rng).value
    for reads in (7, 19, 22, 25, 31, 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "perf_counter", Ticks(1.0))
            bound = method(X, y, beta, time_limit=float(reads))
        claims = write_certificate(tmp_path / "cert", X, y, beta, bound)
        assert claims["optimum_at_least"] == pytest.approx(bound.value, rel=3e-9)


@pytest.mark.parametrize("name", ["plain", "one sample", "one column", "rank one", "opposite rows", "zero rows"])
def test_the_exact_bound_meets_the_exact_program(name):
    X, y, beta, upper = case(name)
    assert exact(X, y, beta).value == pytest.approx(upper, rel=1e-5)


@pytest.mark.parametrize("zeros", [0, 3])
def test_many_samples(zeros, ticking):
    """More samples than regions of all pairs are used for; a network of one neuron is above the bound."""
    rng = np.random.default_rng(2)
    X, y = np.vstack([rng.standard_normal((160, 5)), np.zeros((zeros, 5))]), rng.standard_normal(160 + zeros)
    X[:5] = X[5:10]
    beta = 0.01 * price(X, y, rng).value
    ticking(0.005)
    bound = tightened(X, y, beta, time_limit=6.0)
    assert moment(X, y, beta).value < bound.value <= reached(X, y, beta, every_cell=False)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_certificates_of_every_loss_are_accepted_and_below_every_network(name, weighted, tmp_path):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((12, 2)), rng.standard_normal(12)
    targets = np.where(y > 0, 1.0, -1.0) if LOSSES[name].classes else y
    problem = Problem(X, targets, name, 0.5, rng.choice([0.0, 0.5, 1.0, 3.3], 12) if weighted else None)
    bound = moment(problem)
    network = rng.standard_normal((3, 2)), rng.standard_normal(3)
    claims = write_certificate(tmp_path / "cert", problem, bound=bound, network=network)
    verdict = checker.check(checker.read_certificate(tmp_path / "cert"), X, problem.targets, problem.weights)
    assert verdict.claims == claims
    assert claims["optimum_at_least"] == pytest.approx(bound.value, rel=1e-6)
    assert float(verdict.lower) <= problem.zero_value
    for _ in range(200):
        size = rng.uniform(0, 1.5)
        U, alpha = size * rng.standard_normal((2, 2)), size * rng.standard_normal(2)
        assert float(verdict.lower) <= problem.objective(U, alpha)
    assert claims["objective_at_most"] == pytest.approx(problem.objective(*network), rel=1e-8)
