"""The regressor that chooses β by cross-validation along a path."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from reluopt.beta_max import beta_max_estimate
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.estimators.base import as_given, of_bias
from reluopt.estimators.regressor import ReLURegressor
from reluopt.problem import Problem
from reluopt.search.refinement import refine

#: The share of the time that cross-validation may take; the fit on all samples has the rest.
FOLDS_SHARE = 0.7


class ReLURegressorCV(RegressorMixin, BaseEstimator):
    """A :class:`ReLURegressor` whose β is chosen by cross-validation, each network of the path from the one before.

    Parameters
    ----------
    beta_fractions : β as fractions of β_max *of each fold*, so that folds of other sizes ask the same (L has no 1/n).
    cv : as in scikit-learn: a number of folds, or a splitter.
    loss, bias, gap, time_limit, tol, random_state : see :class:`ReLURegressor`; ``time_limit`` is for everything.

    Attributes
    ----------
    beta_fraction_ : the chosen one. ``beta_`` : the β that it is for all samples.
    cv_losses_ : (folds, fractions) mean held-out losses ℓ, in the order of ``beta_fractions``.
    estimator_ : the regressor on all samples, with its proofs: ``estimator_.lower_bound_``, ``estimator_.certify``.
    """

    def __init__(  # no types: scikit-learn keeps whatever it is given, and fit checks it
        self,
        beta_fractions=(0.5, 0.2, 0.1, 0.05, 0.02, 0.01),
        *,
        cv=5,
        loss="squared",
        bias=True,
        gap=None,
        time_limit=120.0,
        tol=1e-3,
        random_state=None,
    ):
        self.beta_fractions = beta_fractions
        self.cv = cv
        self.loss = loss
        self.bias = bias
        self.gap = gap
        self.time_limit = time_limit
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ReLURegressorCV:
        """Choose β on folds of X (n, d), y (n,) (or a data set), then fit on all of them.

        Raises
        ------
        ValueError, DataError, ConfigError : data or parameters that cannot be used.
        """
        X, y = validate_data(self, *as_given(X, y), dtype=np.float64, y_numeric=True)
        fractions = self._fractions()
        self._regressor(float(fractions[0]))._check_settings()  # before the folds, not after them
        seed, clock = int(check_random_state(self.random_state).randint(2**31 - 1)), Clock(self.time_limit)
        folds = list(check_cv(self.cv).split(X, y))
        part = clock.part(FOLDS_SHARE)
        self.cv_losses_ = np.array([
            self._losses(X, y, train, test, fractions, part.part(1 / (len(folds) - k)), seed)
            for k, (train, test) in enumerate(folds)
        ])  # fmt: skip
        self.beta_fraction_ = float(fractions[int(self.cv_losses_.mean(axis=0).argmin())])
        left = None if self.time_limit is None else max(1.0, clock.left)
        self.estimator_ = self._regressor(self.beta_fraction_).set_params(time_limit=left, random_state=seed).fit(X, y)
        self.beta_ = self.estimator_.beta_
        return self

    def _fractions(self) -> Float[np.ndarray, " k"]:
        try:
            fractions = np.array(self.beta_fractions, dtype=np.float64)
        except (TypeError, ValueError):
            fractions = np.empty(0)
        if fractions.ndim != 1 or not len(fractions) or not (np.isfinite(fractions) & (fractions > 0)).all():
            raise ConfigError(f"beta_fractions = {self.beta_fractions!r}.", "Give positive numbers.")
        return fractions

    def _regressor(self, fraction: float) -> ReLURegressor:
        return ReLURegressor(
            beta_fraction=fraction, loss=self.loss, bias=self.bias, gap=self.gap, tol=self.tol,
            time_limit=self.time_limit,
        )  # fmt: skip

    def predict(self, X: Any) -> Float[np.ndarray, " n"]:
        """f(X), shape (n,)."""
        check_is_fitted(self)
        return self.estimator_.predict(validate_data(self, as_given(X)[0], dtype=np.float64, reset=False))

    def _losses(
        self,
        X: np.ndarray,
        y: np.ndarray,
        train: np.ndarray,
        test: np.ndarray,
        fractions: Float[np.ndarray, " k"],
        clock: Clock,
        seed: int,
    ) -> Float[np.ndarray, " k"]:
        """The mean held-out loss of each fraction, the largest β first, each from the network before."""
        ones, biases = of_bias(self.bias)
        rows = np.hstack([X, np.ones((len(X), 1))]) if ones else X
        known, held_out = (Problem(rows[part], y[part], self.loss, biases=biases) for part in (train, test))
        beta_max = beta_max_estimate(known) or 1.0
        losses, network = np.empty(len(fractions)), None
        order = np.argsort(-fractions)
        for done, k in enumerate(order):
            share = clock.part(1.0 / (len(order) - done))
            found = refine(
                known.with_beta(fractions[k] * beta_max), network, clock=share, tolerance=self.tol, seed=seed
            )
            network = found.network
            losses[k] = held_out.loss_value(held_out.predict(*network.weights())) / held_out.n
        return losses
