"""The tests' checks of shapes: they see what is wrong, stop after enough calls, and begin again with the next test."""

import numpy as np
import pytest
import shapes
from jaxtyping import TypeCheckError

from reluopt.patterns.arrangement import expected_count
from reluopt.patterns.pattern_set import PatternSet, activation_patterns


def wrong():
    activation_patterns(np.ones((3, 2)), np.ones((4, 2)))


def test_a_wrong_shape_is_seen():
    with pytest.raises(TypeCheckError):
        wrong()
    with pytest.raises(TypeCheckError):
        PatternSet.from_gates(np.ones(3), np.ones((4, 2)))


@pytest.mark.skipif(shapes.MOST > 10**6, reason="every call is checked")
@pytest.mark.parametrize("again", range(2))
def test_after_enough_calls_a_function_is_called_as_it_is(again):
    for _ in range(shapes.MOST):
        activation_patterns(np.ones((3, 2)), np.ones((2, 4)))
        PatternSet.from_gates(np.ones((3, 2)), np.ones((2, 4)))
    with pytest.raises(ValueError):  # numpy's own
        wrong()
    with pytest.raises(TypeCheckError):  # another function
        expected_count(np.ones(3))
    shapes.start()
    with pytest.raises(TypeCheckError):
        wrong()
