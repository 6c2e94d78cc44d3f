"""What a certificate states: estimates of a few quantities, their side and how they are known, and facts beside."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum

from reluopt import printing


class Quantity(StrEnum):
    """What a number is about."""

    OPTIMUM = "p*"  # the least L over networks of every width
    OWN = "p̃(S(θ))"  # the least L over the network's own activation patterns
    BALANCED = "L_bal"  # the network with every neuron balanced
    OBJECTIVE = "L(θ)"  # the network as it is
    GAUSSIAN = "p̃(Gaussian)"  # the relaxed program over random patterns
    KEPT = "p̃(S_kept)"  # the relaxed program over the patterns that training left unchanged


class Relation(StrEnum):
    """On which side of its quantity a value stands."""

    AT_LEAST = ">="  # the quantity is at least the value
    AT_MOST = "<="  # the quantity is at most the value


class Status(StrEnum):
    """How a value is known."""

    PROVED = "proved"  # with rounding accounted for
    MEASURED = "measured"  # computed in float64, no proof
    UNKNOWN = "unknown"  # it could not be had; ``meaning`` says why, the value is NaN


@dataclass(frozen=True)
class Estimate:
    """``quantity`` ``relation`` ``value``, known as ``status``.

    Attributes
    ----------
    name : a short identifier that stays: the tag in TensorBoard, the column of a sweep.
    label : for people. ``meaning`` : what it says, in a line.
    method : what found it ("moment", "network", "native").
    """

    name: str
    label: str
    quantity: Quantity
    relation: Relation
    value: float
    status: Status
    method: str
    meaning: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            object.__setattr__(self, "value", math.nan)
            object.__setattr__(self, "status", Status.UNKNOWN)

    @property
    def is_proved(self) -> bool:
        """Whether the value is proved."""
        return self.status is Status.PROVED

    def text(self, digits: int = 8) -> str:
        """The value as it may be shown: proved bounds rounded outward, "unknown" where there is none."""
        return printing.estimate(dataclasses.asdict(self), digits)


@dataclass(frozen=True)
class PatternGap:
    """L(θ) − d_S(z) over a pattern set S: how much the network could still gain with these patterns, proved.

    ``patterns`` : |S|. ``dual_value`` : d_S(z), rounded down. ``gap``, ``relative_gap`` : rounded up.
    """

    patterns: int
    dual_value: float
    gap: float
    relative_gap: float


#: How p̃(S(θ)) of several outputs is known: the norm over a cone is only bounded, so that the dual value may be loose.
VECTOR = "vector"


@dataclass(frozen=True)
class Stationarity:
    """How near the network is to a stationary point of L.

    Attributes
    ----------
    active, with_kinks, with_inactive : the gap over the patterns of the active neurons; with the other sides of kinks;
        with the patterns of the neurons that contribute nothing.
    clarke_residual : min over the slopes at kinks of ‖∇L‖; ``clarke_residual_relative`` over β‖θ‖; ``gradient_norm``
        : ‖∇L‖ with slope 0 at exact kinks.
    active_neurons, kinks : numbers of neurons that contribute, and of their samples at x·u = 0.
    kink_cap_met : whether sides of kinks were left out.
    program_status : how the convex program over the active patterns ended.
    gap_after_program, relative_gap_after_program : L(θ) minus the best proved value of p̃(S(θ)) from below.
    """

    active: PatternGap
    with_kinks: PatternGap
    with_inactive: PatternGap
    clarke_residual: float
    clarke_residual_relative: float
    gradient_norm: float
    active_neurons: int
    kinks: int
    kink_cap_met: bool
    program_status: str
    gap_after_program: float
    relative_gap_after_program: float


@dataclass(frozen=True)
class Pricing:
    """The dearest neuron that a local search found, over β (above 1: adding it lowers L), and β over β_max likewise.

    The first is NaN for losses with kinks, where the price of one subgradient shows nothing.
    """

    largest_price_over_beta: float
    beta_over_beta_max_estimate: float


@dataclass(frozen=True)
class TheoryFacts:
    """κ of the data, the instance factor 2√2√κ of KP Thm 3.8, and √log(2n) of KP Thm 2.1; NaN where left out.

    Thm 3.8 speaks of the squared loss without sample weights: for others there is no instance factor.
    """

    kappa: float
    instance_factor: float
    sqrt_log_2n: float


@dataclass(frozen=True)
class Biases:
    """The objective of a converted model with biases, in its own training: where all are decayed, where none is."""

    all_decayed: float
    none_decayed: float
