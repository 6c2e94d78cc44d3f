"""The exact convex program of Pilanci & Ergen 2020: the relaxed program over all patterns of X."""

from __future__ import annotations

from typing import Any, ClassVar

from reluopt.patterns.arrangement import DEFAULT_LIMIT, all_patterns
from reluopt.problem import as_problem
from reluopt.programs.relaxed import RelaxedProgram


class ExactProgram(RelaxedProgram):
    """p̃(all patterns) = p*, the global optimum of the training problem, for every width m ≥ m* (m* ≤ n + 1).

    Make it with :meth:`of`; given directly, the patterns must be all of X's. Their number grows like n^rank.
    """

    name: ClassVar[str] = "exact"

    @classmethod
    def of(cls, X: Any, y: Any = None, beta: Any = None, *, limit: int = DEFAULT_LIMIT) -> ExactProgram:
        """The exact program of a problem, or of (X, y, β) with the squared loss, its patterns enumerated.

        Raises
        ------
        ConfigError : more patterns than ``limit``; the message tells how many. DataError : data that cannot be used.
        """
        problem = as_problem(X, y, beta)
        return cls(problem, all_patterns(problem.X, limit=limit))
