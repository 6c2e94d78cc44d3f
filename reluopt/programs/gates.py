"""Random gates of a problem: those of X, or of its centred rows where first-layer biases are free."""

from __future__ import annotations

import dataclasses

import numpy as np

from reluopt.natural import NaturalUnits
from reluopt.patterns.pattern_set import PatternSet
from reluopt.patterns.sampling import Discovery, discover_patterns, sample_patterns
from reluopt.problem import Problem


def problem_patterns(problem: Problem, draws: int, rng: np.random.Generator) -> PatternSet:
    """The distinct patterns of ``draws`` Gaussian gates.

    With free first-layer biases gates are Gaussian for the rows (x_i − γ, ρ): the sample does not depend on where the
    data lie, as the problem does not.
    """
    if not problem.biases.first_free:
        return sample_patterns(problem.X, draws, rng)
    natural = NaturalUnits(problem)
    return _of_X(problem, natural, sample_patterns(natural.problem.X, draws, rng))


def discover_problem_patterns(problem: Problem, count: int, rng: np.random.Generator) -> Discovery:
    """``count`` distinct patterns of such gates, or as many as are found."""
    if not problem.biases.first_free:
        return discover_patterns(problem.X, count, rng, at_most=True)
    natural = NaturalUnits(problem)
    found = discover_patterns(natural.problem.X, count, rng, at_most=True)
    return dataclasses.replace(found, patterns=_of_X(problem, natural, found.patterns))


def _of_X(problem: Problem, natural: NaturalUnits, patterns: PatternSet) -> PatternSet:
    """The patterns of X of gates for the centred rows (a gate may be at a kink within rounding)."""
    assert patterns.gates is not None
    return PatternSet.from_gates(problem.X, natural.moved_back(patterns.gates.T).T)
