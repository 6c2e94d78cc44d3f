"""The exact convex program of Pilanci & Ergen 2020: the relaxed program over all patterns of X."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from reluopt.patterns.arrangement import DEFAULT_LIMIT, all_patterns
from reluopt.programs.relaxed import RelaxedProgram


class ExactProgram(RelaxedProgram):
    """p̃(all patterns) = p*, the global optimum of the training problem, for every width m ≥ m* (m* ≤ n + 1).

    Make it with :meth:`of`; given directly, the patterns must be all of X's. Their number grows like n^rank.
    """

    name: ClassVar[str] = "exact"

    @classmethod
    def of(
        cls, X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], beta: float, *, limit: int = DEFAULT_LIMIT
    ) -> ExactProgram:
        """The exact program of the data, its patterns enumerated.

        Raises
        ------
        ConfigError : more patterns than ``limit``; the message tells how many.
        """
        return cls(X, y, all_patterns(X, limit=limit), beta)
