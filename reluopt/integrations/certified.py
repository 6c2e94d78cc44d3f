"""What is proved of a model of one's own, in its own terms."""

from __future__ import annotations

from dataclasses import dataclass

from reluopt.certificate.certificate import Certificate
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem


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
