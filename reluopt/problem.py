r"""The training problem as one object: data, loss, weights κ and weight decay β, checked once.

.. math:: L(U, α) = Σ_i κ_i ℓ(f_i, y_i) + (β/2) Σ_j (‖u_j‖² + α_j²),  f = Σ_j (X u_j)_+ α_j        (KP eq. 1)

With C outputs y and f are (n, C), α is (m, C), ‖α_j‖ stands for |α_j|, and the dual has ‖zᵀ(Xu)_+‖ ≤ β with z (n, C). A
loss of one output is summed over them. There is **no 1/n**. A mini-batch of size B is scaled by n/B; with
``MSELoss(mean)`` the same problem has ``weight_decay = 2β/n``. A bias is a column of ones in X, regularised like any
other weight; biases that are not, and an intercept c of f, are :class:`~reluopt.biases.Biases`.

What is asked of networks is in :mod:`reluopt.primal_side`, of dual candidates in :mod:`reluopt.dual_side`; its units
are in :mod:`reluopt.units`, the losses in :mod:`reluopt.losses`.

Source: Kim & Pilanci, ICML 2024 ("KP"), section 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt.biases import NO_BIASES, Biases
from reluopt.class_weights import balanced_weights
from reluopt.errors import ConfigError
from reluopt.fingerprints import data_fingerprint
from reluopt.gate import as_beta, as_matrix, as_targets, as_weights, given, is_data
from reluopt.losses import Loss, make_loss
from reluopt.pooling import Pooling
from reluopt.primal_side import PrimalSide
from reluopt.refusals import Refusals, require_parts
from reluopt.units import Units, mean_square_unit, spectral_unit


@dataclass(frozen=True, eq=False)
class Problem(PrimalSide, Refusals):
    """The training problem on X (n, d) with targets (n,) or (n, C): everything that L depends on but the network.

    Parameters
    ----------
    X : (n, d) features: numpy, torch, a data frame, lists, of any real type; kept as contiguous float64. A data set
        gives its rows, its pooling, and its own y where no targets are given.
    targets : (n,) numbers, or −1 and +1 where the loss is one of classes; (n, C) of them for C > 1 outputs, where
        labels may also be 0 and 1; for the cross-entropy class numbers (n,), or their unit rows (n, C).
    loss : a :class:`~reluopt.losses.Loss`, or its name: "squared", "logistic", "cross_entropy", "huber:1.5", ...
    beta : β > 0, the weight decay.
    weights : (n,) sample weights κ ≥ 0, one at least positive; all 1 where they are not given. A sample of weight k
        counts as k samples.
    biases : the intercept of the outputs, and whether the weights on the last column of X (all ones) are decayed.
    pooling : a :class:`~reluopt.pooling.Pooling` of N rows of X to n samples, f = A (X u)_+ α; X is (N, d) then. Not
        together with biases.

    Raises
    ------
    DataError : features, targets, weights or a pooling that cannot be used. ConfigError : β or a loss that cannot; free
        first-layer biases without a column of ones at the end of X; biases of pooled rows.
    """

    X: Float[np.ndarray, "N d"]
    targets: Float[np.ndarray, "n ..."]
    loss: Loss
    beta: float
    weights: Float[np.ndarray, " n"]
    biases: Biases = NO_BIASES
    #: (the factor of ½c²)/β of a decayed intercept: 1 in the data's own units.
    intercept_ratio: float = 1.0
    pooling: Pooling | None = None

    def __init__(
        self,
        X: Any,
        targets: Any = None,
        loss: str | Loss = "squared",
        beta: Any = 1.0,
        weights: Any = None,
        biases: Biases | None = None,
        *,
        pooling: Pooling | None = None,
    ) -> None:
        loss, biases = make_loss(loss), NO_BIASES if biases is None else biases
        X, targets, pooling = _opened(X, targets, pooling)
        X = as_matrix(X)
        require_parts(X, biases, pooling)
        n = len(X) if pooling is None else pooling.n
        targets = loss.encoded(as_targets(targets, n))
        loss.check_targets(targets)
        self._set(
            X=X, targets=targets, loss=loss, beta=as_beta(beta), weights=as_weights(weights, n), biases=biases,
            pooling=pooling,
        )  # fmt: skip

    def _set(self, **parts: Any) -> None:
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    def _with(self, **changes: Any) -> Problem:
        """This problem with parts of one that was checked."""
        made = type(self).__new__(type(self))
        made._set(**{f.name: getattr(self, f.name) for f in fields(self)} | changes)
        return made

    # -- shape and identity ------------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.targets.shape[0]

    @property
    def d(self) -> int:
        """Number of features, a ones column included."""
        return self.X.shape[1]

    def without_biases(self) -> Problem:
        """The same data, loss and β without intercept and with all weights decayed."""
        return self._with(biases=NO_BIASES)

    @property
    def y(self) -> Float[np.ndarray, "n ..."]:
        """The targets, as formulas call them."""
        return self.targets

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the data, see :func:`data_fingerprint`; loss, β and biases are not in it."""
        return data_fingerprint(self.X, self.targets, self.weights if self.is_weighted else None, self.pooling)

    def with_beta(self, beta: Any) -> Problem:
        """The same problem with another weight decay."""
        return self._with(beta=as_beta(beta))

    def with_loss(self, loss: Loss) -> Problem:
        """The same problem with another loss that takes the same targets."""
        return self._with(loss=loss)

    def centred(self) -> tuple[Problem, Float[np.ndarray, " e"], float]:
        """(problem, γ, ρ): with free first-layer biases the same on the rows (x_i − γ, ρ), and with a free intercept.

        γ is the mean and ρ = ‖X − γ‖₂/√n. A neuron (v, b) of this problem is (v, (b + γᵀv)/ρ) there. An intercept in
        the place of neurons with v = 0 leaves the infimum of L as it is, see :mod:`reluopt.biases`.
        """
        rows = self.X[:, :-1]
        centre = rows.mean(axis=0)
        size = spectral_unit(rows - centre)
        moved = np.hstack([rows - centre, np.full((len(rows), 1), size)])
        return self._with(X=moved, biases=Biases("free", "free")), centre, size

    def class_balanced(self) -> Problem:
        """The same problem with weights κ_i = n/(K n_c), n_c the number of samples of the class of i, K of classes.

        Raises
        ------
        ConfigError : a loss without classes, one class only, samples that have several labels.
        """
        if not self.loss.classes:
            raise ConfigError("There are no classes to balance.", "Leave the class weights out.")
        weights = balanced_weights(self.targets)
        return self._with(weights=weights)

    def select(self, index: np.ndarray) -> Problem:
        """The problem of some samples (of pooled rows: all rows stay)."""
        if self.pooling is not None:
            targets, weights = (np.ascontiguousarray(part[index]) for part in (self.targets, self.weights))
            return self._with(targets=targets, weights=weights, pooling=self.pooling.select(index))
        X, targets, weights = (np.ascontiguousarray(part[index]) for part in (self.X, self.targets, self.weights))
        return self._with(X=X, targets=targets, weights=weights)

    # -- units -------------------------------------------------------------------------------------------------------

    def scaled(self, norm: float | None = None) -> tuple[Problem, Units]:
        """The problem in units where ‖X‖₂ = ``norm`` (√n), and real targets' mean square and the mean of κ are one.

        Every search works in these units; the second result, :class:`Units`, maps what it finds back.
        """
        problem, units = self._scaled
        if norm is None:
            return problem, units
        factor = math.sqrt(len(self.X)) / norm
        smaller = problem._with(
            X=problem.X / factor, beta=problem.beta / factor, intercept_ratio=problem.intercept_ratio * factor
        )
        return smaller, replace(units, x=units.x * factor)

    @cached_property
    def _scaled(self) -> tuple[Problem, Units]:
        unit_x = spectral_unit(self.X)
        unit_f = 1.0 if self.loss.classes else mean_square_unit(self.targets)
        loss, value = self.loss.rescaled(unit_f)
        usual = float(self.weights.mean())
        units = Units(unit_x, unit_f, value * usual)
        beta = self.beta * units.f / (units.x * units.value)
        weights = self.weights / usual
        scaled = self._with(
            X=self.X / unit_x,
            targets=self.targets / unit_f,
            loss=loss,
            beta=beta,
            weights=weights,
            intercept_ratio=self.intercept_ratio * units.x * units.f,
        )
        return scaled, units


def as_problem(
    X: Any,
    y: Any = None,
    beta: Any = None,
    *,
    loss: str | Loss = "squared",
    weights: Any = None,
    biases: Biases | None = None,
    pooling: Pooling | None = None,
) -> Problem:
    """The problem itself, or one made from (X, y, β): what every public function that takes either calls.

    Raises
    ------
    DataError, ConfigError : see :class:`Problem`; also ConfigError where a problem comes with more than itself.
    """
    if isinstance(X, Problem):
        if y is not None or pooling is not None or (beta is not None and beta != X.beta):
            raise ConfigError("A problem was given together with y, β or a pooling.", "Give the problem alone.")
        return X
    X, y, pooling = _opened(X, y, pooling)
    if y is None or beta is None:
        lacking = "Targets y or the weight decay β are" if y is None else "The weight decay β is"
        raise ConfigError(f"{lacking} missing.", "Give a Problem, such as Problem(X, y, beta=0.1), or X, y and β.")
    return Problem(X, y, loss, beta, weights, biases, pooling=pooling)


def _opened(X: Any, y: Any, pooling: Any) -> tuple[Any, Any, Any]:
    """(rows, y, pooling) of what was given, with those of a data set in the place of X."""
    if is_data(X) and pooling is not None:
        raise ConfigError("A pooling was given together with a data set.", "Give the data set alone, or X and y.")
    rows, y, own = given(X, y)
    return rows, y, pooling if own is None else own


__all__ = ["Problem", "as_problem"]
