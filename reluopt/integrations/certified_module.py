"""What is proved of a model of one's own, in its own terms."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from reluopt.certificate.certificate import Certificate
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.rigor.rounding import round_down


@dataclass(frozen=True, eq=False)
class CertifiedModule:
    """What is proved of a torch model.

    Attributes
    ----------
    own_objective : what its training goes down: loss(model(X), y) + (weight_decay/2)·‖decayed parameters‖², in float64.
    own_lower_bound : no model of this kind, of any width, has a smaller one (proved, rounded down; 0 where none is).
    certificate : of L = own objective/``factor``. ``problem``, ``network`` : what it speaks of.
    factor : c, where the own objective is c·L (rounded to the nearest). ``remarks`` : what else is to be known.
    """

    own_objective: float
    own_lower_bound: float
    certificate: Certificate
    problem: Problem
    network: TwoLayerReLU
    factor: float
    remarks: tuple[str, ...] = ()


def certified(
    own_loss: float,
    decay: Fraction,
    factor: Fraction,
    problem: Problem,
    network: TwoLayerReLU,
    config: CertifyConfig | None,
    output: Fraction = Fraction(1),
) -> CertifiedModule:
    """Certify L and say it in the terms of the model's own objective, own_loss + (decay/2)‖decayed parameters‖² = c·L.

    Parameters
    ----------
    factor : c, exactly; decay/c is β before it is rounded. ``output`` : the problem's f over the model's, exactly.
    """
    squares = 2.0 * float(problem.with_beta(1.0).weight_decay(*network.weights()))
    certificate = certify(network, problem, config=config)
    # A model whose f is s times smaller than the problem's pays for output weights s times larger: its β is s·decay/c.
    # The problem's is decay/c, rounded; p*(β) is concave with p*(0) ≥ 0: at a smaller β at most in proportion smaller.
    share = min(factor, output * decay / Fraction(problem.beta))
    lower = round_down(Fraction(certificate.lower_bound) * share)
    return CertifiedModule(own_loss + 0.5 * float(decay) * squares, lower, certificate, problem, network, float(factor))
