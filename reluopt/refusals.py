"""What a problem refuses: parts that do not go together, and questions that are not there for what it has."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.biases import Biases
from reluopt.errors import ConfigError, DataError
from reluopt.pooling import Pooling


def require_parts(X: Float[np.ndarray, "N d"], biases: Any, pooling: Any) -> None:
    """Refuse biases and a pooling that are none, or that X does not have.

    Raises
    ------
    ConfigError : biases of another type, or without the column of ones that they need, or of pooled rows.
    DataError : a pooling of another type, or of other rows.
    """
    if not isinstance(biases, Biases):
        raise ConfigError(f"The biases are {biases!r}.", 'Give Biases(output="free", first="free"), or one of them.')
    if not isinstance(pooling, Pooling | None):
        raise DataError(
            f"The pooling is a {type(pooling).__name__}.",
            "Give a Pooling: of_matrix(A), sum(groups), patches, bags.",
        )
    if pooling is not None and pooling.total != len(X):
        raise DataError(
            f"The pooling is one of {pooling.total} rows, and X has {len(X)}.", "Give the pooling of these rows."
        )
    if biases.first_free and not (X.shape[1] > 1 and (X[:, -1] == 1.0).all()):
        raise ConfigError(
            "Free first-layer biases are the weights on a last column of ones, and X has none.",
            "Append a column of ones to X (bias = true of [data], --bias).",
        )
    if biases and pooling is not None:
        raise ConfigError(
            f"The rows are pooled, and the problem has {biases.words}.",
            "Leave one of the two out; a decayed first-layer bias is a column of ones in X.",
        )


class Refusals:
    """What a bound, a program, or a command asks first of a :class:`~reluopt.Problem`."""

    targets: Float[np.ndarray, "n ..."]
    biases: Biases
    pooling: Pooling | None

    @property
    def outputs(self) -> int:
        """Number of outputs C."""
        return 1 if self.targets.ndim == 1 else self.targets.shape[1]

    def require_one_output(self, what: str, *, biases: bool = False) -> None:
        """Refuse what is there for one output only, of rows that are samples, with decayed weights only.

        ``biases`` : it is there for biases of the problem's own.

        Raises
        ------
        ConfigError : the problem has several outputs, biases of its own or pooled rows.
        """
        if self.outputs > 1:
            raise ConfigError(
                f"{what} is not there for several outputs, and the targets have {self.outputs}.",
                "Choose one target, or one class against the others (--positive LABEL).",
            )
        if not biases:
            self.require_no_biases(what)
        self.require_unpooled(what)

    def require_no_biases(self, what: str) -> None:
        """Refuse what is there for decayed weights only.

        Raises
        ------
        ConfigError : the problem has an intercept or free biases.
        """
        if self.biases:
            raise ConfigError(
                f"{what} is not there for a problem with biases of its own ({self.biases.words}).",
                "train, solve, refine, path, relax and certify take biases; or leave them out here: a decayed "
                "first-layer bias is a column of ones in X.",
            )

    def require_unpooled(self, what: str) -> None:
        """Refuse what is there for rows that are samples only.

        Raises
        ------
        ConfigError : the problem has pooled rows.
        """
        if self.pooling is not None:
            raise ConfigError(
                f"{what} is not there for pooled rows.",
                "train (on all rows at once), certify and verify take them, solve and refine those of several outputs.",
            )
