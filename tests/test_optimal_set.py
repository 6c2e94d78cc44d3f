"""The set of optimal networks: its neurons, its vertices, and whether it is one point."""

from __future__ import annotations

import numpy as np
import pytest

from reluopt import Problem, all_patterns, bounds, from_weights
from reluopt.beta_max import beta_max_estimate
from reluopt.errors import ConfigError, DataError
from reluopt.losses import make_loss
from reluopt.search.optimal_networks import minimal_network, optimal_set, uniqueness
from reluopt.search.refinement import refine


def problem(seed: int, n: int = 12, loss: str = "squared") -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    y = np.abs(X[:, 0]) - 0.4 + 0.2 * rng.standard_normal(n)
    made = Problem(X, np.where(y > 0, 1.0, -1.0) if make_loss(loss).classes else y, loss, 1.0)
    return made.with_beta(0.1 * beta_max_estimate(made))


def cross() -> Problem:
    """x = ±e₁, ±e₂ and equal targets: the optimal neurons at 45°, 135°, … have columns c₁ − c₂ + c₃ − c₄ = 0."""
    return Problem(np.array([[1.0, 0], [0, 1.0], [-1.0, 0], [0, -1.0]]), np.ones(4), "squared", 0.2)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("seed", [0, 3])
def test_a_generic_optimum_is_alone_and_the_witness_proves_it(seed: int, loss: str) -> None:
    made = problem(seed, loss=loss)
    network = refine(made, tolerance=1e-7, most_rounds=15).network
    found = optimal_set(made, network, all_patterns(made.X, limit=1000), tolerance=1e-4)
    assert np.allclose(found.columns @ found.weights, found.fit, atol=1e-3 * np.abs(found.fit).max())
    z = made.dual_point(found.fit)
    assert np.allclose(found.columns.T @ z, made.beta, rtol=2e-4)
    said = uniqueness(made, found)
    used = found.weights > 0
    assert said.unique and said.witness is not None and said.other is None
    assert np.allclose(found.columns[:, used].T @ said.witness, 0, atol=1e-7)
    assert np.linalg.matrix_rank(found.columns[:, used]) == used.sum()
    if not used.all():
        assert (found.columns[:, ~used].T @ said.witness > 0).all() and said.margin > 0


def test_three_pairs_of_opposite_neurons_are_never_alone() -> None:
    """(Xu)_+ − (−Xu)_+ = Xu is linear: three such pairs in rank 2 are dependent, on data without any symmetry."""
    made = problem(1)
    network = refine(made, tolerance=1e-7, most_rounds=15).network
    found = optimal_set(made, network, all_patterns(made.X, limit=1000))
    said = uniqueness(made, found)
    assert said.unique is False and said.other is not None
    U, alpha = said.other.weights()
    assert made.objective(U, alpha) == pytest.approx(made.objective(*network.weights()), rel=1e-5)
    assert np.allclose(made.predict(U, alpha), found.fit, atol=2e-3)
    weights = np.linalg.norm(U, axis=1) * np.abs(alpha)
    assert (
        len(weights) != (found.weights > 0).sum()
        or np.abs(np.sort(weights) - np.sort(found.weights)[-len(weights) :]).max() > 1e-2
    )


def test_a_symmetric_problem_has_many_optima_and_another_one_is_shown() -> None:
    made = cross()
    optimum = bounds.exact(made).value
    angles = np.pi / 4 + np.pi / 2 * np.arange(4)
    W = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # by symmetry z is constant, its value √2 z = β, and f = 1 − z is the column sum of equal weights
    z = 0.2 / np.sqrt(2)
    even = np.full(4, (1 - z) / np.sqrt(2))
    vertex = np.array([2.0, 0, 2.0, 0]) * even
    patterns = all_patterns(made.X, limit=100)
    for weights in (even, vertex):
        network = from_weights(np.sqrt(weights)[:, None] * W, np.sqrt(weights))
        assert made.objective(*network.weights()) == pytest.approx(optimum, rel=1e-7)
        found = optimal_set(made, network, patterns)
        assert len(found.weights) == 4 and abs(found.slack) < 1e-9
        said = uniqueness(made, found)
        assert said.unique is False and said.other is not None
        U, alpha = said.other.weights()
        assert made.objective(U, alpha) == pytest.approx(optimum, rel=1e-7)
        other = np.zeros(4)
        for u, a in zip(U, alpha, strict=True):
            other[int((W @ u).argmax())] += np.linalg.norm(u) * abs(a)
        assert np.abs(other - weights).max() > 0.1


def test_the_minimal_network_is_a_vertex() -> None:
    made = cross()
    angles = np.pi / 4 + np.pi / 2 * np.arange(4)
    W = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    size = np.sqrt((1 - 0.2 / np.sqrt(2)) / np.sqrt(2))
    network = from_weights(size * W, np.full(4, size))
    small = minimal_network(made, network)
    assert small.width == 3 or small.width == 2
    assert made.objective(*small.weights()) <= made.objective(*network.weights()) * (1 + 1e-12)
    U, alpha = small.weights()
    columns = np.maximum(made.X @ U.T, 0) * np.sign(alpha)
    assert np.linalg.matrix_rank(columns) == small.width
    assert np.allclose(made.predict(U, alpha), made.predict(*network.weights()))


def test_what_is_not_optimal_is_refused() -> None:
    made = problem(7)
    patterns = all_patterns(made.X, limit=1000)
    with pytest.raises(DataError):
        optimal_set(made, from_weights(np.ones((1, 2)), np.ones(1)), patterns)
    with pytest.raises(ConfigError):
        optimal_set(Problem(made.X, made.y, "absolute", 1.0), from_weights(np.ones((1, 2)), np.ones(1)), patterns)
