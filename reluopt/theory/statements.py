"""One line of the theory: what a theorem says about this data, and whether its hypothesis holds here."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from reluopt.problem import Problem


class Hypothesis(enum.Enum):
    """Whether the theorem's condition is met by this data."""

    HOLDS = "holds"
    FAILS = "fails"
    ASSUMED = "assumed"

    @classmethod
    def of(cls, holds: bool) -> Hypothesis:
        """HOLDS or FAILS."""
        return cls.HOLDS if holds else cls.FAILS


@dataclass(frozen=True)
class Statement:
    """A theorem's number, its claim in words, its hypothesis, and its value for the user's data.

    Attributes
    ----------
    theorem : as in the paper, "KP Thm 3.8". ``claim`` : what ``value`` is, as a formula or a sentence.
    hypothesis, condition : whether it holds here, and what it is. Where it fails the value is still the formula's,
        or ``inf``/``nan`` where the formula has none.
    value : the number. ``details`` : further numbers by name (what it is compared with, measured values).
    """

    theorem: str
    claim: str
    hypothesis: Hypothesis
    condition: str
    value: float
    details: dict[str, float] = field(default_factory=dict)


def only_squared(problem: Problem, theorem: str, claim: str, why: str) -> Statement | None:
    """None for the squared loss without weights; else the statement that the theorem says nothing here, and why.

    Raises
    ------
    ConfigError : a problem of several outputs.
    """
    problem.require_one_output(theorem)
    if problem.loss.name == "squared" and not problem.is_weighted:
        return None
    given = "sample weights" if problem.loss.name == "squared" else f"the {problem.loss.name} loss"
    condition = f"the squared loss without sample weights (here {given}: {why})"
    return Statement(theorem, claim, Hypothesis.FAILS, condition, math.nan)
