r"""What both estimators share: parameters, the training problem of the data, fitting, and the proof.

.. math:: L = Σ_i κ_i ℓ(f(x_i), y_i) + (β/2) Σ_j (‖u_j‖² + α_j²),   β = ``alpha``

n·(the loss that scikit-learn's MLPRegressor and MLPClassifier minimise) is this L with the same ``alpha``: theirs is
the mean of ℓ plus (``alpha``/2n)·(squared weights). They do not decay biases, as ``bias="free"`` does not; otherwise
the bias is the weight on a column of ones, decayed like any other.
"""

from __future__ import annotations

from fractions import Fraction
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from reluopt import neurons, printing
from reluopt.beta_max import beta_max_estimate
from reluopt.biases import NO_BIASES, Biases
from reluopt.certificate.certificate import Certificate, best_lower_bound
from reluopt.certificate.certifying import certify as make_certificate
from reluopt.certificate.config import CertifyConfig
from reluopt.errors import ConfigError, DataError
from reluopt.estimators.fitting import Fitted, Judge, active_neurons, descended, solved
from reluopt.gate import given
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.plain_arrays import as_unwrapped
from reluopt.problem import Problem
from reluopt.rigor.rounding import round_up
from reluopt.training import TrainConfig
from reluopt.training.config import DEFAULT_BETA_FRACTION

SOLVERS = ("solve", "adam", "sgd", "lbfgs")
#: How often a descent looks whether it has become stationary.
RECORDS = 20


class ReLUEstimator(BaseEstimator):
    """Base of :class:`ReLURegressor` and :class:`ReLUClassifier`; their docstrings describe the parameters."""

    def __init__(
        self,
        width=100,
        *,
        alpha=None,
        beta_fraction=None,
        loss="squared",
        solver="solve",
        bias=True,
        gap=None,
        time_limit=30.0,
        tol=1e-3,
        learning_rate=1e-2,
        max_iter=5000,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=50,
        warm_start=False,
        random_state=None,
    ):  # no types: scikit-learn keeps whatever it is given, and fit checks it
        self.width = width
        self.alpha = alpha
        self.beta_fraction = beta_fraction
        self.loss = loss
        self.solver = solver
        self.bias = bias
        self.gap = gap
        self.time_limit = time_limit
        self.tol = tol
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state

    # -- fitting -----------------------------------------------------------------------------------------------------

    def _fit(self, X: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> None:
        """Fit on checked data: X (n, d) without the ones column, targets (n,), weights κ (n,)."""
        self._check_settings()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        whole, held_out = self._split(X, targets, weights, seed)
        problem = whole.with_beta(self._resolved_beta(whole))
        start = self._start(problem)
        judge = None if held_out is None else Judge(held_out, self.n_iter_no_change, self.tol)
        fitted = self._found(problem, start, judge, seed)
        self._seed, self.beta_, self.network_ = seed, problem.beta, fitted.network
        self._loss, self._biases = problem.loss, self._of_bias()
        self.fingerprint_, self.n_iter_ = problem.fingerprint, fitted.iterations
        self.n_neurons_ = active_neurons(fitted.network)
        self.objective_ = problem.objective_upper(*fitted.network.weights())
        self.validation_losses_ = np.array(fitted.validation)
        for name in ("lower_bound_", "proved_within_", "certificate_"):
            self.__dict__.pop(name, None)
        if fitted.bound is not None:
            self._proved(fitted.bound.value)

    def _check_settings(self) -> None:
        if self.solver not in SOLVERS:
            raise ConfigError(f"solver = {self.solver!r}.", f"Choose one of: {', '.join(SOLVERS)}.")
        self._of_bias()
        if self.alpha is not None and self.beta_fraction is not None:
            raise ConfigError("Both 'alpha' and 'beta_fraction' are given.", "Give one of the two.")
        for name in ("gap", "time_limit", "beta_fraction"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and float(value) > 0):
                raise ConfigError(f"{name} = {value!r}.", f"Give a positive {name}, or None.")
        if not self.early_stopping:
            return
        fraction, patience = self.validation_fraction, self.n_iter_no_change
        if not (isinstance(fraction, Real) and 0 < float(fraction) < 1):
            raise ConfigError(f"validation_fraction = {fraction!r}.", "Give a number between 0 and 1.")
        if not (isinstance(patience, Integral) and int(patience) > 0):
            raise ConfigError(f"n_iter_no_change = {patience!r}.", "Give a positive whole number.")

    def _split(
        self, X: np.ndarray, targets: np.ndarray, weights: np.ndarray, seed: int
    ) -> tuple[Problem, Problem | None]:
        """The problem (β = 1) of the samples to train on, and of those that early stopping holds out.

        Samples of weight 0 are left out: they are not there.
        """
        on = weights > 0
        if not on.any():
            raise ValueError("No sample has a positive weight.")
        X, targets, weights = X[on], targets[on], weights[on]
        ones, biases = self._of_bias()
        whole = Problem(_rows(X, ones), targets, self._loss_of(targets), 1.0, weights, biases)
        if not self.early_stopping:
            return whole, None
        count = max(1, round(self.validation_fraction * whole.n))
        if whole.n - count < 1:
            raise DataError(
                f"Early stopping holds {count} of {whole.n} samples out, and none is left to train on.",
                "Give more samples, or set early_stopping=False.",
            )
        order = np.random.default_rng(seed).permutation(whole.n)
        return whole.select(np.sort(order[count:])), whole.select(np.sort(order[:count]))

    def _resolved_beta(self, problem: Problem) -> float:
        """``alpha`` itself, or a fraction of β_max (of 1 where β_max is 0: there the zero network is optimal)."""
        if self.alpha is not None:
            return self.alpha
        fraction = self.beta_fraction if self.beta_fraction is not None else DEFAULT_BETA_FRACTION
        return fraction * (beta_max_estimate(problem) or 1.0)

    def _start(self, problem: Problem) -> TwoLayerReLU | None:
        """The network of the last fit, with ``warm_start``."""
        if not (self.warm_start and hasattr(self, "network_")):
            return None
        if self._of_bias() != self._biases:
            raise ConfigError("warm_start: the last fit had another bias.", "Set it back, or warm_start=False.")
        if self.network_.d != problem.d:
            ones = int(self._biases[0])
            raise ValueError(
                f"warm_start: the last fit had {self.network_.d - ones} features, X has {problem.d - ones}."
            )
        return from_weights(*self.network_.weights())

    def _found(self, problem: Problem, start: TwoLayerReLU | None, judge: Judge | None, seed: int) -> Fitted:
        if self.solver == "solve":
            return solved(
                problem, start, judge, gap=self.gap, time_limit=self.time_limit, tolerance=self.tol, seed=seed
            )
        config = TrainConfig(
            width=self.width, optimizer=self.solver, learning_rate=self.learning_rate, epochs=self.max_iter, seed=seed,
            final_learning_rate=min(1e-7, self.learning_rate), record_every=max(1, self.max_iter // RECORDS),
            output_bias="free" if problem.biases.intercept else None,
            first_bias="free" if problem.biases.first_free else None,
        )  # fmt: skip
        return descended(problem, start, judge, config, self.time_limit)

    def _proved(self, lower: float) -> None:
        self.lower_bound_ = lower
        excess = printing.excess(self.objective_, lower)
        self.proved_within_ = round_up(excess) if isinstance(excess, Fraction) else float(excess)

    # -- afterwards --------------------------------------------------------------------------------------------------

    def certify(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, config: CertifyConfig | None = None, **settings: Any
    ) -> Certificate:
        """The whole certificate of the fitted network, which is kept as ``certificate_``.

        Parameters
        ----------
        X, y, sample_weight : what the estimator was fitted on; with ``early_stopping`` the same part is held out again.
        config, settings : a :class:`~reluopt.CertifyConfig`, or its settings: ``effort="fast"``, ``time_limit=10``.

        Returns
        -------
        The certificate. Also set: ``lower_bound_`` (at least what the fit had proved) and ``proved_within_``.

        Raises
        ------
        DataError : other data than the estimator was fitted on.
        ConfigError : ``loss`` or ``bias`` is not that of the fit.
        """
        check_is_fitted(self)
        if self._of_bias() != self._biases:
            raise ConfigError(f"bias = {self.bias!r} was set after fit.", "Set it back, or fit again.")
        data, targets, weights = self._checked(X, y, sample_weight, reset=False)
        problem = self._split(data, targets, weights, self._seed)[0].with_beta(self.beta_)
        if problem.loss != self._loss:
            raise ConfigError(
                f"loss = {self.loss!r} was set after fit.", f"Set it back to '{self._loss.spec}', or fit again."
            )
        if problem.fingerprint != self.fingerprint_:
            raise DataError(
                "These are not the data that the estimator was fitted on, and its certificate speaks of no others.",
                "Give the X, y and sample_weight of fit, or fit again.",
            )
        certificate = make_certificate(self.network_, problem, config=config or CertifyConfig(**settings))
        self.certificate_ = certificate
        best = best_lower_bound(certificate.estimates)
        if best is not None:
            self._proved(max(best.value, getattr(self, "lower_bound_", best.value)))
        return certificate

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n ..."], Float[np.ndarray, " n"]]:
        """X, the targets of the loss and the weights κ, as float64."""
        raise NotImplementedError

    def _loss_of(self, targets: np.ndarray) -> str:
        """The loss of the training problem."""
        return self.loss

    def _outputs(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """The network's outputs f(x_i), (n,) or (n, C)."""
        check_is_fitted(self)
        X = validate_data(self, as_given(X)[0], dtype=np.float64, reset=False)
        return neurons.predict(_rows(X, self._biases[0]), *self.network_.weights())

    def _of_bias(self) -> tuple[bool, Biases]:
        """Whether X gets a column of ones, and which biases are not decayed."""
        return of_bias(self.bias)

    def _weights(self, sample_weight: Any, X: np.ndarray) -> Float[np.ndarray, " n"]:
        sample_weight = as_unwrapped(sample_weight, "sample_weight")
        return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)


def as_given(X: Any, y: Any = None) -> tuple[Any, Any]:
    """(X, y) as scikit-learn's checks can read them: a data set opened, tensors and masked arrays as plain arrays.

    Raises
    ------
    DataError : tensors that hold no numbers of their own. ConfigError : a data set of pooled patches.
    """
    X, y, pooling = given(X, y)
    if pooling is not None:
        raise ConfigError("The data set has pooled patches of images.", "Use reluopt.Trainer, or give rows of pixels.")
    return as_unwrapped(X, "X"), as_unwrapped(y, "y")


def of_bias(bias: Any) -> tuple[bool, Biases]:
    """``bias`` of an estimator as (a column of ones, the biases that are not decayed).

    Raises
    ------
    ConfigError : it is neither True nor False nor "free".
    """
    if isinstance(bias, str) and bias == "free":
        return True, Biases("free", "free")
    if bias not in (True, False):
        raise ConfigError(f"bias = {bias!r}.", "Give True (decayed like a weight), False, or 'free' (not decayed).")
    return bool(bias), NO_BIASES


def _rows(X: np.ndarray, ones: bool) -> Float[np.ndarray, "n e"]:
    """The rows of the training problem: X, with a column of ones behind where there is a bias."""
    return np.hstack([X, np.ones((len(X), 1))]) if ones else np.ascontiguousarray(X)
