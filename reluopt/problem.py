r"""The training problem as one object: data, loss, weights κ and weight decay β, checked once.

.. math:: L(U, α) = Σ_i κ_i ℓ(f_i, y_i) + (β/2) Σ_j (‖u_j‖² + α_j²),  f = Σ_j (X u_j)_+ α_j        (KP eq. 1)

With C outputs y and f are (n, C), α is (m, C), ‖α_j‖ stands for |α_j|, and the dual has ‖zᵀ(Xu)_+‖ ≤ β with z (n, C). A
loss of one output is summed over them. There is **no 1/n**. A mini-batch of size B is scaled by n/B; with
``MSELoss(mean)`` the same problem has ``weight_decay = 2β/n``. A bias is a column of ones in X, regularised like any
other weight.

Its dual, which bounds L from below for networks of every width:

.. math:: p* = max_z Σ_i κ_i D(z_i/κ_i, y_i)  s.t. |zᵀ(Xu)_+| ≤ β for ‖u‖ ≤ 1,  D(z) = −ℓ*(−z)

Source: Kim & Pilanci, ICML 2024 ("KP"), section 1; for the losses see :mod:`reluopt.losses`.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from reluopt import neurons
from reluopt.errors import ConfigError
from reluopt.gate import as_beta, as_matrix, as_targets, as_weights
from reluopt.losses import Loss, exact, make_loss
from reluopt.losses.protocol import Array, each_sample, is_one_hot
from reluopt.rigor import rounding


@dataclass(frozen=True, eq=False)
class Problem:
    """The training problem on X (n, d) with targets (n,) or (n, C): everything that L depends on but the network.

    Parameters
    ----------
    X : (n, d) features: numpy, torch, a data frame, lists, of any real type; kept as contiguous float64.
    targets : (n,) numbers, or −1 and +1 where the loss is one of classes; (n, C) of them for C > 1 outputs, where
        labels may also be 0 and 1; for the cross-entropy class numbers (n,), or their unit rows (n, C).
    loss : a :class:`~reluopt.losses.Loss`, or its name: "squared", "logistic", "cross_entropy", "huber:1.5", ...
    beta : β > 0, the weight decay.
    weights : (n,) sample weights κ ≥ 0, one at least positive; all 1 where they are not given. A sample of weight k
        counts as k samples.

    Raises
    ------
    DataError : features, targets or weights that cannot be used. ConfigError : β or a loss that cannot.
    """

    X: Float[np.ndarray, "n d"]
    targets: Float[np.ndarray, "n ..."]
    loss: Loss
    beta: float
    weights: Float[np.ndarray, " n"]

    def __init__(
        self, X: Any, targets: Any, loss: str | Loss = "squared", beta: Any = 1.0, weights: Any = None
    ) -> None:
        loss = make_loss(loss)
        X = as_matrix(X)
        targets = loss.encoded(as_targets(targets, len(X)))
        loss.check_targets(targets)
        self._set(X, targets, loss, as_beta(beta), as_weights(weights, len(X)))

    def _set(self, X: np.ndarray, targets: np.ndarray, loss: Loss, beta: float, weights: np.ndarray) -> None:
        for name, value in zip(
            ("X", "targets", "loss", "beta", "weights"), (X, targets, loss, beta, weights), strict=True
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def _trusted(cls, X: np.ndarray, targets: np.ndarray, loss: Loss, beta: float, weights: np.ndarray) -> Problem:
        """Made from parts of a problem that was checked."""
        made = cls.__new__(cls)
        made._set(X, targets, loss, beta, weights)
        return made

    # -- shape and identity ------------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.X.shape[0]

    @property
    def d(self) -> int:
        """Number of features, a ones column included."""
        return self.X.shape[1]

    @property
    def outputs(self) -> int:
        """Number of outputs C."""
        return 1 if self.targets.ndim == 1 else self.targets.shape[1]

    def require_one_output(self, what: str) -> None:
        """Refuse what is there for one output only.

        Raises
        ------
        ConfigError : the problem has several outputs.
        """
        if self.outputs > 1:
            raise ConfigError(
                f"{what} is not there for several outputs, and the targets have {self.outputs}.",
                "Choose one target, or one class against the others (--positive LABEL).",
            )

    @property
    def y(self) -> Float[np.ndarray, "n ..."]:
        """The targets, as formulas call them."""
        return self.targets

    @cached_property
    def is_weighted(self) -> bool:
        """Whether any weight differs from 1."""
        return not bool((self.weights == 1.0).all())

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the data, see :func:`data_fingerprint`; loss and β are not in it."""
        return data_fingerprint(self.X, self.targets, self.weights if self.is_weighted else None)

    def with_beta(self, beta: Any) -> Problem:
        """The same problem with another weight decay."""
        return self._trusted(self.X, self.targets, self.loss, as_beta(beta), self.weights)

    def class_balanced(self) -> Problem:
        """The same problem with weights κ_i = n/(K n_c), n_c the number of samples of the class of i, K of classes.

        Raises
        ------
        ConfigError : a loss without classes, one class only, samples that have several labels.
        """
        several = self.targets.ndim == 2
        if not self.loss.classes or (several and not is_one_hot(self.targets)):
            raise ConfigError("There are no classes to balance.", "Leave the class weights out.")
        of = self.targets.argmax(axis=1) if several else (self.targets > 0).astype(np.int64)
        sizes = np.bincount(of)
        present = int((sizes > 0).sum())
        if present < 2:
            raise ConfigError("There are no two classes to balance.", "Leave the class weights out.")
        weights = self.n / (float(present) * sizes[of])
        return self._trusted(self.X, self.targets, self.loss, self.beta, weights)

    def select(self, index: np.ndarray) -> Problem:
        """The problem of some samples."""
        X, targets, weights = (np.ascontiguousarray(part[index]) for part in (self.X, self.targets, self.weights))
        return self._trusted(X, targets, self.loss, self.beta, weights)

    # -- the primal side ---------------------------------------------------------------------------------------------

    def loss_value(self, f: Array) -> float:
        """Σ κ_i ℓ(f_i, y_i)."""
        values = self.loss.value(f, self.targets)
        return float((each_sample(self.weights, values) * values).sum())

    @cached_property
    def zero_value(self) -> float:
        """L of the zero network: p* is at most this, and is this for β ≥ β_max."""
        return self.loss_value(np.zeros_like(self.targets))

    @cached_property
    def zero_value_lower(self) -> float:
        """≤ L of the zero network, proved: the optimum over no pattern at all."""
        below = exact.loss_upper(self.loss, *2 * (np.zeros_like(self.targets),), self.targets, self.weights)
        return max(0.0, math.nextafter(below * (1 - 2.0**-50), -math.inf))

    def predict(self, U: Array, alpha: Array) -> Array:
        """f = Σ_j (X u_j)_+ α_j."""
        return neurons.predict(self.X, U, alpha)

    def objective(self, U: Array, alpha: Array) -> float:
        """L(U, α)."""
        return self.loss_value(self.predict(U, alpha)) + float(neurons.weight_decay(U, alpha, self.beta))

    def gradient(self, U: Array, alpha: Array) -> tuple[Array, Array]:
        """∇L with ReLU'(0) = 0: shapes (m, d) and (m,) or (m, C).

        ∂L/∂u_j = −Xᵀ(1[Xu_j > 0] ∘ zα_j) + β u_j,  ∂L/∂α_j = −zᵀ(Xu_j)_+ + β α_j,  z = −κ ∘ ∂ℓ/∂f.
        """
        h = self.X @ U.T
        active = h > 0
        z = self.dual_point((h * active) @ alpha)
        pulls = active * neurons.back(z, alpha)
        return self.beta * U - pulls.T @ self.X, self.beta * alpha - (h * active).T @ z

    def balanced_objective(self, U: Array, alpha: Array) -> float:
        """L_bal = Σ κℓ + β Σ_j ‖u_j‖‖α_j‖ ≤ L, with equality iff ‖u_j‖ = ‖α_j‖ for all j."""
        return self.loss_value(self.predict(U, alpha)) + self.beta * float(neurons.strength(U, alpha).sum())

    def objective_upper(self, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."]) -> float:
        """≥ L(U, α), rounding accounted for, for weights taken as exact float64; ``inf`` where it is not finite."""
        if not (np.isfinite(U).all() and np.isfinite(alpha).all()):
            return math.inf
        low, high = rounding.fit_interval(self.X, U, alpha)
        loss = exact.loss_upper(self.loss, low, high, self.targets, self.weights)
        return (
            rounding.round_up(Fraction(loss) + rounding.decay_upper(U, alpha, self.beta))
            if math.isfinite(loss)
            else math.inf
        )

    # -- the dual side -----------------------------------------------------------------------------------------------

    def dual_point(self, f: Array) -> Array:
        """z = −κ ∘ ∂ℓ/∂f, the dual candidate that belongs to a fit f (n,) or (n, C); dual optimal where f is."""
        return -each_sample(self.weights, f) * self.loss.gradient(f, self.targets)

    @cached_property
    def zero_dual_point(self) -> Float[np.ndarray, "n ..."]:
        """z of the zero network: β_max = max ‖zᵀ(Xu)_+‖ over ‖u‖ ≤ 1 (y for the squared loss)."""
        return self.dual_point(np.zeros_like(self.targets))

    def settled(self, z: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        """z within rounding, such that the equalities of the dual's domain hold exactly (cross-entropy has them)."""
        return self.loss.settled(z, self.targets, self.weights)

    def dual_value(self, z: Array) -> float:
        """Σ κ_i D(z_i/κ_i, y_i): the objective of the dual; −inf outside of its domain."""
        if not self.is_weighted:
            return float(self.loss.dual(z, self.targets).sum())
        on = self.weights > 0
        if (z[~on] != 0).any():
            return -math.inf
        kappa = self.weights[on]
        values = self.loss.dual(z[on] / each_sample(kappa, z), self.targets[on])
        return float((each_sample(kappa, values) * values).sum())

    def dual_domain(self) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
        """(low, high): the dual value is finite for low ≤ z ≤ high; 0 to 0 for samples of weight 0."""
        low, high = self.loss.domain(self.targets)
        if not self.is_weighted:
            return low, high
        kappa = self.weights if low.ndim == 1 else self.weights[:, None]
        on = kappa > 0
        low, high = (np.where(on, kappa * np.where(on, end, 0.0), 0.0) for end in (low, high))
        return low, high

    def proved_value(self, z: Float[np.ndarray, "n ..."], bound: float) -> tuple[float, float]:
        """(value, t): the proved dual value of tz, with t the best multiple for which t·``bound`` ≤ β holds exactly.

        Equation (*): max over 0 ≤ t ≤ β/B with tz in the domain of Σ κ D(tz/κ). ``bound`` is a proved B ≥ ‖zᵀ(Xu)_+‖
        on ‖u‖ ≤ 1. Where B or z is not finite t = 0, whose value is Σ κ D(0) (0 but for the loss of a constant).
        """
        nothing = exact.dual_value_lower(self.loss, np.zeros_like(self.targets), self.targets, self.weights, 0.0)
        if not (math.isfinite(bound) and bound >= 0 and np.isfinite(z).all() and z.any()):
            return nothing, 0.0
        most = exact.largest_multiple(self.loss, z, self.targets, self.weights, bound, self.beta)
        scale = self.best_multiple(z, most)
        value = exact.dual_value_lower(self.loss, z, self.targets, self.weights, scale)
        return (value, scale) if value >= nothing else (nothing, 0.0)

    def estimated_value(self, z: Float[np.ndarray, "n ..."], bound: float) -> float:
        """The value of :meth:`proved_value` in float64, which proves nothing; −inf where it is not finite."""
        if not (math.isfinite(bound) and bound >= 0 and np.isfinite(z).all()):
            return -math.inf
        if not z.any():
            return self.dual_value(z)
        most = exact.largest_multiple(self.loss, z, self.targets, self.weights, bound, self.beta)
        return self.dual_value(self.best_multiple(z, most) * z)

    def best_multiple(self, z: Float[np.ndarray, "n ..."], most: float) -> float:
        """argmax over 0 ≤ t ≤ most of the concave Σ κ D(tz/κ), by its derivative Σ z D'(tz/κ)."""
        on = self.weights > 0
        zs, y, ratio = z[on], self.targets[on], z[on] / each_sample(self.weights[on], z)

        def slope(t: float) -> float:
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                parts = np.where(zs != 0, zs * self.loss.dual_gradient(t * ratio, y), 0.0)
            most_of_one = 1e300 / parts.size
            return float(np.clip(parts, -most_of_one, most_of_one).sum())

        if most <= 0 or slope(0.0) <= 0:
            return 0.0
        high = most
        if not math.isfinite(most):
            high = 1.0
            while slope(high) > 0 and high < 1e300:
                high *= 4.0
        return high if slope(high) >= 0 else min(high, brentq(slope, 0.0, high, xtol=1e-300, rtol=1e-14))

    # -- units -------------------------------------------------------------------------------------------------------

    def scaled(self, norm: float | None = None) -> tuple[Problem, Units]:
        """The problem in units where ‖X‖₂ = ``norm`` (√n), and real targets' mean square and the mean of κ are one.

        Every search works in these units; the second result, :class:`Units`, maps what it finds back.
        """
        problem, units = self._scaled
        if norm is None:
            return problem, units
        factor = math.sqrt(self.n) / norm
        smaller = self._trusted(
            problem.X / factor, problem.targets, problem.loss, problem.beta / factor, problem.weights
        )
        return smaller, replace(units, x=units.x * factor)

    @cached_property
    def _scaled(self) -> tuple[Problem, Units]:
        size = float(np.abs(self.X).max()) or 1.0
        small = self.X / size
        gram = small.T @ small if self.d <= self.n else small @ small.T
        unit_x = size * math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 1e-30) / self.n)
        unit_f = 1.0
        if not self.loss.classes:
            unit_f = float(np.linalg.norm(self.targets / (np.abs(self.targets).max() or 1.0))) / math.sqrt(self.n)
            unit_f = unit_f * float(np.abs(self.targets).max()) or 1.0
        loss, value = self.loss.rescaled(unit_f)
        usual = float(self.weights.mean())
        units = Units(unit_x, unit_f, value * usual)
        beta = self.beta * units.f / (units.x * units.value)
        weights = self.weights / usual
        return self._trusted(self.X / unit_x, self.targets / unit_f, loss, beta, weights), units


@dataclass(frozen=True)
class Units:
    """X = x·X', f = f·f', L = value·L' between a problem and its scaled one (′)."""

    x: float
    f: float
    value: float

    @property
    def z(self) -> float:
        """z = −∂L/∂f is in units of value/f."""
        return self.value / self.f

    @property
    def weight(self) -> float:
        """Balanced neurons (u, α) are in units of √(f/x), blocks |α|u of its square."""
        return math.sqrt(self.f / self.x)

    @property
    def nu(self) -> float:
        """Multipliers of s_i(s_i − x_iᵀu) = 0, and of all products of two forms linear in u: z/x."""
        return self.z / self.x


def data_fingerprint(X: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n ..."], weights: Any = None) -> str:
    """The sha256 of X and y as 64 hexadecimal digits; any change of one bit changes it.

    The hashed bytes, all little-endian, without gaps:

    1. n and d as two unsigned 64-bit integers (16 bytes); with several outputs their number C as a third one,
    2. X as IEEE 754 float64, row after row (8·n·d bytes),
    3. y as IEEE 754 float64, row after row (8·n·C bytes),
    4. the weights κ likewise, where they are not all 1.
    """
    sizes = (*X.shape, *y.shape[1:])
    digest = hashlib.sha256(struct.pack(f"<{len(sizes)}Q", *sizes))
    for part in (X, y) if weights is None else (X, y, weights):
        digest.update(np.ascontiguousarray(part, dtype="<f8").data)
    return digest.hexdigest()


def as_problem(
    X: Any, y: Any = None, beta: Any = None, *, loss: str | Loss = "squared", weights: Any = None
) -> Problem:
    """The problem itself, or one made from (X, y, β): what every public function that takes either calls.

    Raises
    ------
    DataError, ConfigError : see :class:`Problem`; also ConfigError where a problem comes with more than itself.
    """
    if isinstance(X, Problem):
        if y is not None or (beta is not None and beta != X.beta):
            raise ConfigError("A problem was given together with y or β.", "Give the problem alone.")
        return X
    if y is None and hasattr(X, "X") and hasattr(X, "y"):  # a Dataset
        X, y = X.X, X.y
    if y is None or beta is None:
        raise ConfigError("Targets y or the weight decay β are missing.", "Give a Problem, or X, y and β.")
    return Problem(X, y, loss, beta, weights)


__all__ = ["Problem", "Units", "as_problem", "data_fingerprint"]
