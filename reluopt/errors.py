"""The errors a user of reluopt can meet. Each says what was wrong and what to do next.

Everything raised for bad input, a bad configuration, or a file that cannot be used is a
:class:`ReluoptError`; the command line turns it into one message and exit code 2. An exception that is
not a :class:`ReluoptError` is a bug in reluopt.
"""

from __future__ import annotations


class ReluoptError(Exception):
    """Base of all errors of reluopt.

    Parameters
    ----------
    problem : what was wrong, naming the file, column, row or argument, and what is allowed.
    remedy : what the user can do about it, as an instruction.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  -> {remedy}")

    def __reduce__(self) -> tuple[type[ReluoptError], tuple[str, str]]:
        """Pickle with both arguments (worker processes send errors back)."""
        return type(self), (self.problem, self.remedy)


class DataError(ReluoptError):
    """Data that cannot be used: a file, a column, a value, a shape."""


class ConfigError(ReluoptError):
    """A setting outside of what is allowed."""


class CheckpointError(ReluoptError):
    """A run folder or checkpoint that is missing, damaged, or belongs to another run."""


class TrainingError(ReluoptError):
    """Training that cannot go on: the loss or the weights are no longer finite."""


class SolverError(ReluoptError):
    """A solver that is not installed, or a program that the solver cannot take."""


class CertificateError(ReluoptError):
    """A certificate that cannot be made or read."""
