"""The dual value of a pattern program is a proof: it never exceeds the program's optimum, not by one digit."""

from fractions import Fraction

import numpy as np
import pytest

from reluopt.patterns.sampling import sample_patterns
from reluopt.programs.dual import dual_bound
from reluopt.programs.gated import GatedProgram
from reluopt.programs.relaxed import RelaxedProgram


def exact(values):
    return [Fraction(float(v)) for v in values]


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("kind", [RelaxedProgram, GatedProgram])
def test_scaled_point_is_feasible_in_exact_arithmetic(kind, scale):
    rng = np.random.default_rng(3)
    X, y, z = rng.standard_normal((12, 3)) * scale, rng.standard_normal(12), rng.standard_normal(12)
    program = kind(X, y, sample_patterns(X, 15, rng), 0.3 * scale)
    dual = dual_bound(program, z)
    t, multipliers = Fraction(dual.scale), dual.multipliers
    for side, sign in enumerate(program.sides):
        for i, active in enumerate(program.patterns.dense.T):
            lam = exact(multipliers.get((side, i), np.zeros(12)))
            assert min(lam) >= 0
            a = [
                (int(sign) * zk if on else 0) + (lk if on else -lk)
                for zk, on, lk in zip(exact(z), active, lam, strict=True)
            ]
            norm2 = sum(sum(x * v for x, v in zip(exact(column), a, strict=True)) ** 2 for column in X.T)
            assert norm2 * t * t <= Fraction(program.beta) ** 2
    value = t * sum(a * b for a, b in zip(exact(y), exact(z), strict=True)) - t * t * sum(a * a for a in exact(z)) / 2
    assert 0 <= Fraction(dual.value) <= max(value, 0)
    assert dual.value >= float(value) * (1 - 1e-12)


def test_cones_raise_the_bound():
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    patterns = sample_patterns(X, 20, rng)
    relaxed, gated = (dual_bound(kind(X, y, patterns, 0.5), y) for kind in (RelaxedProgram, GatedProgram))
    assert relaxed.multipliers
    assert not gated.multipliers
    assert relaxed.value > gated.value
