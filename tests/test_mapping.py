"""Between programs and networks: values kept both ways, merging only lowers."""

from __future__ import annotations

import by_formula
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import random_network

from reluopt.errors import ConfigError, DataError
from reluopt.network import from_weights
from reluopt.patterns.pattern_set import PatternSet
from reluopt.programs.mapping import active_patterns, blocks_from_network, network_from_blocks
from reluopt.programs.relaxed import RelaxedProgram


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 4), st.integers(1, 12))
def test_a_network_becomes_feasible_blocks_of_at_most_its_balanced_value_and_back(seed, n, d, width):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    U, alpha = random_network(rng, d, width)
    program = RelaxedProgram(X, y, active_patterns(X, U, alpha), 0.5) if (U.any(axis=1) & (alpha != 0)).any() else None
    if program is None:
        return
    blocks = blocks_from_network(program, U, alpha)
    assert program.cone_violation(blocks) <= 1e-12
    assert np.allclose(program.predict(blocks), by_formula.predict(X, U, alpha))
    value = program.value(blocks)
    assert value <= by_formula.balanced_objective(X, y, U, alpha, 0.5) * (1 + 1e-12)
    network = network_from_blocks(blocks)
    assert by_formula.objective(X, y, *network.weights(), 0.5) == pytest.approx(value, rel=1e-10)
    again = blocks_from_network(program, *network.weights())
    assert np.allclose(again, blocks)


def test_merging_a_network_is_mapping_it_there_and_back():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    U, alpha = random_network(rng, 2, 40)
    program = RelaxedProgram(X, y, active_patterns(X, U, alpha), 0.1)
    merged = from_weights(U, alpha).merge(torch.from_numpy(X))
    assert merged.width <= 2 * len(program.patterns)
    expected = program.value(blocks_from_network(program, U, alpha))
    assert by_formula.objective(X, y, *merged.weights(), 0.1) == pytest.approx(expected, rel=1e-10)


def test_a_pattern_that_the_program_lacks_is_an_error():
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    program = RelaxedProgram(X, np.ones(2), PatternSet.from_dense(np.array([[True], [True]])), 1.0)
    with pytest.raises(ConfigError, match="patterns that are not in the program"):
        blocks_from_network(program, np.array([[1.0, -1.0]]), np.array([1.0]))


def test_zero_blocks_are_the_zero_network():
    network = network_from_blocks(np.zeros((2, 3, 4)))
    assert network.width == 1
    assert not network.U.any()


@pytest.mark.parametrize(
    ("U", "alpha"),
    [
        (np.ones((2, 3)), np.ones(2)),
        (np.full((2, 4), np.nan), np.ones(2)),
        (np.ones((2, 4)), np.array([1.0, np.inf])),
    ],
)
def test_blocks_of_weights_that_do_not_fit_or_are_not_finite_are_refused(U, alpha):
    X = np.random.default_rng(0).standard_normal((6, 4))
    program = RelaxedProgram(X, X[:, 0], PatternSet.from_gates(X, np.ones((4, 1))), 0.5)
    with pytest.raises(DataError):
        blocks_from_network(program, U, alpha)
