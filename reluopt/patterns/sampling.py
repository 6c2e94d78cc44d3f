"""Gaussian gates: the random patterns of the Gaussian relaxation (KP section 1, "gated by h_i ~ N(0, I)")."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from reluopt.errors import ConfigError
from reluopt.gate import as_matrix
from reluopt.patterns.arrangement import cover_count, expected_count
from reluopt.patterns.pattern_set import PatternSet

log = logging.getLogger(__name__)


def gaussian_gates(d: int, count: int, rng: np.random.Generator) -> Float[np.ndarray, "d P"]:
    """``count`` i.i.d. gates h ~ N(0, I_d) as columns."""
    if count < 1:
        raise ConfigError(f"{count} gates were asked for.", "Ask for at least one.")
    return rng.standard_normal((d, count))


def sample_patterns(X: Any, draws: int, rng: np.random.Generator) -> PatternSet:
    """The distinct patterns of ``draws`` Gaussian gates: the pattern set of the Gaussian relaxation.

    X (n, d) is an array, a tensor, a table, lists or a data set.

    Raises
    ------
    DataError : X is no finite matrix. ConfigError : no draws.
    """
    X = as_matrix(X)
    return PatternSet.from_gates(X, gaussian_gates(X.shape[1], draws, rng))


@dataclass(frozen=True, eq=False)
class Discovery:
    """Distinct patterns found by sampling, and how the finding went.

    Attributes
    ----------
    patterns : the distinct patterns, in the order of their discovery.
    draws, distinct : the discovery curve: after draws[i] gates, distinct[i] patterns were known.
    reached : whether the requested number was found.
    """

    patterns: PatternSet
    draws: Int[np.ndarray, " steps"]
    distinct: Int[np.ndarray, " steps"]
    reached: bool

    @property
    def new_rate(self) -> float:
        """Share of the last batch's draws that were new: the chance that one more gate brings a new pattern."""
        before = (0, 0) if len(self.draws) < 2 else (int(self.draws[-2]), int(self.distinct[-2]))
        return (int(self.distinct[-1]) - before[1]) / (int(self.draws[-1]) - before[0])


def discover_patterns(
    X: Any,
    count: int,
    rng: np.random.Generator,
    *,
    max_draws: int | None = None,
    at_most: bool = False,
) -> Discovery:
    """Draw Gaussian gates until ``count`` distinct patterns are known, or ``max_draws`` gates (100·count) are spent.

    The first gate of each pattern is kept, so the set is that of the first so many i.i.d. gates. With ``at_most``
    a count above what X has asks for all that are found.

    Raises
    ------
    ConfigError : more patterns asked for than X can have (Cover's count, for its rank and distinct directions).
    """
    X = as_matrix(X)
    possible = cover_count(len(X), min(X.shape))
    _require_possible(min(count, possible) if at_most else count, possible)
    asked, count = count, min(count, possible)
    budget = 100 * count if max_draws is None else max_draws
    batch = max(64, min(count, 4096))
    known: PatternSet | None = None
    curve: list[tuple[int, int]] = []
    while (known is None or len(known) < count) and (not curve or curve[-1][0] < budget):
        spent = curve[-1][0] if curve else 0
        new = sample_patterns(X, min(batch, budget - spent), rng)
        known = new if known is None else known.union(new)
        curve.append((spent + min(batch, budget - spent), len(known)))
    assert known is not None
    reached = len(known) >= asked
    if not reached and len(known) < count:
        if not at_most:
            _require_possible(count, expected_count(X))  # exact, which takes longer
        log.warning("%d of %d patterns after %d gates; the rest are rare.", len(known), count, budget)
    draws, distinct = np.array(curve, dtype=np.int64).T
    return Discovery(known.select(np.arange(min(count, len(known)))), draws, distinct, reached)


def _require_possible(count: int, possible: int) -> None:
    if not 1 <= count <= possible:
        raise ConfigError(
            f"{count} distinct patterns were asked for; this X has at most {possible:,}.",
            f"Ask for 1 to {possible:,}, or enumerate them all with all_patterns.",
        )
