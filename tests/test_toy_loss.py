"""A new loss is one file and one line: a toy one goes through training, programs, bounds and certificate."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest

import reluopt
from reluopt.certificate.config import CertifyConfig
from reluopt.losses import LOSSES, make_loss
from reluopt.losses.protocol import Loss, RealLoss
from reluopt.training import TrainConfig, Trainer


@dataclass(frozen=True)
class Doubled(RealLoss):
    """ℓ = (f − y)², twice the squared loss; D(z) = yz − z²/4."""

    name: ClassVar[str] = "doubled"
    lipschitz: ClassVar[float] = 2.0

    def value(self, f, y):
        return (f - y) ** 2

    def gradient(self, f, y):
        return 2.0 * (f - y)

    def curvature(self, f, y):
        return 0.0 * f + 2.0

    def prox(self, f, y, step):
        return (f + 2.0 * step * y) / (1.0 + 2.0 * step)

    def domain(self, y):
        return 0.0 * y - np.inf, 0.0 * y + np.inf

    def dual(self, z, y):
        return (y - 0.25 * z) * z

    def dual_gradient(self, z, y):
        return y - 0.5 * z

    def dual_curvature(self, z, y):
        return 0.0 * z + 0.5

    def dual_exact(self, z: Fraction, y: Fraction) -> Fraction | None:
        return (y - z / 4) * z

    def value_exact(self, f: Fraction, y: Fraction) -> Fraction:
        return (f - y) ** 2

    def rescaled(self, unit: float) -> tuple[Loss, float]:
        return self, unit * unit


@pytest.fixture
def doubled(monkeypatch):
    monkeypatch.setitem(LOSSES, "doubled", Doubled)  # its line in reluopt/losses/__init__.py
    return make_loss("doubled")


def test_it_is_trained_bounded_and_certified(doubled):
    """Everything is twice what the squared loss with half of β says."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    twin, beta = reluopt.Problem(X, y, "squared", 0.4), 0.8
    problem = reluopt.Problem(X, y, "doubled", beta)
    config = TrainConfig(loss="doubled", width=8, epochs=300)
    network = config.make_network(3)
    result = Trainer(network, problem, config=config, progress=False).fit()
    assert result.objective == pytest.approx(2 * twin.objective(*network.weights()))
    bound = reluopt.moment(problem)
    assert bound.value == pytest.approx(2 * reluopt.moment(twin).value, rel=1e-4)
    patterns = reluopt.sample_patterns(X, 6, rng)
    values = [reluopt.solve(reluopt.RelaxedProgram(p, patterns)).value for p in (problem, twin)]
    assert values[0] == pytest.approx(2 * values[1], rel=1e-6)
    certificate = reluopt.certify(network, problem, config=CertifyConfig(effort="fast", gaussian_patterns=0))
    assert 0 < certificate.lower_bound <= certificate.objective
    assert certificate["own_dual"].value <= certificate["own_primal"].value * (1 + 1e-9)
