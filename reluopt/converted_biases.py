r"""Where the biases of a converted torch model went, and what that model costs in a training of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class ConvertedBiases:
    """Where the biases of a converted model went: L decays them like weights, the model's own training may not.

    Attributes
    ----------
    first : the last column of U is the first layer's bias b, which costs (β/2)‖b‖² in L.
    output : the output bias c, or ‖c‖ of several outputs; the last neuron holds it, at β‖c‖ in L (0: there is none).
    """

    first: bool = False
    output: float = 0.0

    def own_objectives(
        self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], objective: float, beta: float
    ) -> tuple[float, float] | None:
        """What the model costs in a training of its own, from L: with all biases decayed, and with none.

        (L − β|c| + (β/2)c², L − β|c| − (β/2)‖b‖²) with the first layer's bias b and the output bias c; None without
        biases, where both are L. The second is the smaller, so no choice of decayed parameters costs less.
        """
        # it may have been trained further, in L, and then this neuron is like any other
        c = self.output if _last_is_constant(U, alpha, self.output) else 0.0
        if not (self.first or c):
            return None
        # the neuron of c has its own weight on the ones column, which is no bias of the model
        b = U[: len(U) - (c != 0.0), -1] if self.first else np.zeros(0)
        without = objective - beta * abs(c)
        return without + 0.5 * beta * c * c, without - 0.5 * beta * float(b @ b)


def _last_is_constant(U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], c: float) -> bool:
    """Whether the last neuron is the constant c, or one of norm c."""
    constant = U[-1, -1] * (alpha[-1] if alpha.ndim == 1 else np.linalg.norm(alpha[-1]))
    return not U[-1, :-1].any() and bool(np.isclose(constant, c, rtol=1e-6, atol=0.0))
