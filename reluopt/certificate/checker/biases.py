"""Section 11 of SPEC.md: an output intercept, and first-layer biases that are not decayed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .numbers import Array, gamma, row_norms
from .refusal import require, shown

OUTPUT, FIRST = ("none", "free", "decayed"), ("none", "free")
#: Roundings of an entry of x − centre, in each of the two places where a matrix has it.
MORE_STEPS = 4


@dataclass(frozen=True)
class Biases:
    """The intercept of the outputs ("none", "free", "decayed") and first-layer biases ("none", "free")."""

    output: str = "none"
    first: str = "none"

    @property
    def intercept(self) -> bool:
        """Whether the network has an intercept."""
        return self.output != "none"

    @property
    def first_free(self) -> bool:
        """Whether the last column of X is all ones, and its weights cost nothing."""
        return self.first == "free"

    @property
    def zero_sum(self) -> bool:
        """Whether every output of z must sum to 0."""
        return self.first_free or self.output == "free"

    @property
    def words(self) -> str:
        """What the claims say of them."""
        own = {"none": "no intercept", "free": "a free intercept", "decayed": "a decayed intercept"}[self.output]
        return own + (", free first-layer biases" if self.first_free else "")


NO_BIASES = Biases()


def read_biases(content: Any) -> Biases:
    """The biases {"output": ..., "first": ...}, of which one at least is not "none"."""
    require(isinstance(content, dict) and set(content) == {"output", "first"}, "'biases' has other keys")
    require(content["output"] in OUTPUT, f"the output bias {shown(content['output'])} is unknown")
    require(content["first"] in FIRST, f"the first-layer bias {shown(content['first'])} is unknown")
    found = Biases(content["output"], content["first"])
    require(found.intercept or found.first_free, "'biases' has none")
    return found


def sums(z: Array) -> list[Fraction]:
    """Σ_i z_i of every output, without rounding."""
    return [sum(map(Fraction, column), Fraction(0)) for column in z.reshape(len(z), -1).T.tolist()]


def intercept_part(biases: Biases, beta: float, z: Array, t: float) -> Fraction:
    """What the dual value of tz loses to a decayed intercept; refuses a z that does not sum to 0 where it must."""
    if not biases.intercept and not biases.first_free:
        return Fraction(0)
    total = sums(z)
    if biases.zero_sum:
        require(not any(total), "z does not sum to 0, which free biases need")
        return Fraction(0)
    return Fraction(t) ** 2 * sum((s * s for s in total), Fraction(0)) / (2 * Fraction(beta))


def read_lift(c: Any) -> tuple[Array, float]:
    """(centre, reach) of a certificate."""
    return c.tensor("centre", c.problem.d - 1), float(c.tensor("reach", 1)[0])


def lifted(X: Array, centre: Array, reach: float) -> Array:
    """The rows (x − centre, reach) in the place of (x, 1), with ``reach`` ≥ ‖x − centre‖ for all of them."""
    moved = X[:, :-1] - centre
    require(reach >= 0 and (row_norms(moved) * (1.0 + gamma(8)) <= reach).all(), "reach is below ‖x - centre‖")
    return np.hstack([moved, np.full((len(X), 1), reach)])


def levels(level: float, spread: float, heads: int, d: int) -> Array:
    """(λ for 1 or a, κ ≤ λ − μ for u, μ for b): λ(‖a‖² + ‖u‖²) is at least Σ levels·entries² where |b| ≤ ‖u‖."""
    require(spread >= 0, "the spread is negative")
    rest = np.nextafter(level - spread, -np.inf) if spread > 0 else level
    return np.concatenate([np.full(heads, level), np.full(d - 1, rest), [spread]])
