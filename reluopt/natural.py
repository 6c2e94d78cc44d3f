"""A problem in the units that a search works in, and networks there and back."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.problem import Problem

#: (U, α, c) of a network: (k, d), (k,) or (k, C), and () or (C,); c is 0 where there is no intercept.
Network = tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k ..."], Float[np.ndarray, "..."]]


class NaturalUnits:
    """‖X‖₂ = √n, real targets' mean square and the mean of κ are one; free first-layer biases take up the mean of X.

    With these ``problem`` has a free intercept, whatever the given one has: there neurons without decayed weights are
    constants, whose cost may be as small as one likes.
    """

    def __init__(self, given: Problem) -> None:
        self.given, self.first_free = given, given.biases.first_free
        self.centre: Float[np.ndarray, " e"] = np.zeros(0)
        self.size, problem = 1.0, given
        if self.first_free:
            problem, self.centre, self.size = given.centred()
        self.problem, self.units = problem.scaled()

    def inside(
        self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], intercept: Float[np.ndarray, ...] | float
    ) -> Network:
        """A network of the given problem; constants become the intercept."""
        c = intercept + np.zeros(alpha.shape[1:])
        if self.first_free:
            constant = ~self.given.decayed(U).any(axis=1)
            c = c + np.maximum(U[constant, -1], 0.0) @ alpha[constant]
            U, alpha = self.moved(U[~constant]), alpha[~constant]
        return U / self.units.weight, alpha / self.units.weight, np.asarray(c / self.units.f)

    def outside(
        self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], c: Float[np.ndarray, ...]
    ) -> Network:
        """The same network for the given problem, balanced; an intercept that it lacks is a neuron without inputs."""
        U, alpha = self.given.balanced(self.moved_back(U * self.units.weight), alpha * self.units.weight)
        c = np.asarray(c * self.units.f)
        return self.given.with_intercept(U, alpha, c)

    def with_near_kinks(self, U: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
        """Neurons of ``problem``; those that are active on all samples have a bias at which one is at its kink.

        That changes f by a constant, which a free intercept makes good.
        """
        if not self.first_free or not len(U):
            return U
        X = self.problem.X
        U = U.copy()
        U[:, -1] -= np.maximum((U @ X.T).min(axis=1), 0.0) / X[0, -1]
        return U

    def moved(self, U: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k d"]:
        """Directions (v, b) for the rows of ``problem``, of the same ‖v‖: (v, (b + γᵀv)/ρ)."""
        if not self.first_free:
            return U
        return np.hstack([U[:, :-1], (U[:, -1:] + U[:, :-1] @ self.centre[:, None]) / self.size])

    def moved_back(self, U: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k d"]:
        """Those of the given problem: (v, ρb − γᵀv)."""
        if not self.first_free:
            return U
        return np.hstack([U[:, :-1], U[:, -1:] * self.size - U[:, :-1] @ self.centre[:, None]])
