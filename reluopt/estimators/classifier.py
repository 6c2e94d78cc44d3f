"""The classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from reluopt.errors import ConfigError
from reluopt.estimators.base import ReLUEstimator, as_given
from reluopt.losses import make_loss


def _has_probabilities(model: ReLUClassifier) -> bool:
    """Whether the loss, of the fit where there is one, is one whose outputs are log odds."""
    loss = getattr(model, "_loss", None) or make_loss(model.loss)
    if loss.name not in ("logistic", "cross_entropy"):
        raise AttributeError(f"predict_proba is there with loss='logistic', and this one has loss={loss.spec!r}.")
    return True


class ReLUClassifier(ClassifierMixin, ReLUEstimator):
    """A two-layer ReLU network for classes, found by solving or by descent, with a proved bound beside it.

    Two classes have one output. More of them have an output each: "logistic" is then the cross-entropy of all classes,
    and every other loss is summed over one class against the others.

    Parameters
    ----------
    loss : "logistic", "hinge", "squared_hinge", or "squared" on the targets −1 and +1.
    class_weight : None, "balanced" (n/(2 n_c)), or a mapping from label to weight; it multiplies ``sample_weight``.
    width, alpha, beta_fraction, solver, bias, gap, time_limit, tol, learning_rate, max_iter, early_stopping, \
validation_fraction, n_iter_no_change, warm_start, random_state : see :class:`ReLURegressor`; ``alpha`` is that of
        scikit-learn's MLPClassifier.

    Attributes
    ----------
    classes_ : (C,) the labels; of two, positive outputs speak for the second.
    network_, n_neurons_, beta_, objective_, lower_bound_, proved_within_, certificate_, n_iter_, validation_losses_ :
        see :class:`ReLURegressor`.
    """

    def __init__(
        self,
        width=100,
        *,
        alpha=None,
        beta_fraction=None,
        loss="logistic",
        class_weight=None,
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
        super().__init__(
            width, alpha=alpha, beta_fraction=beta_fraction, loss=loss, solver=solver, bias=bias, gap=gap,
            time_limit=time_limit, tol=tol, learning_rate=learning_rate, max_iter=max_iter,
            early_stopping=early_stopping, validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change, warm_start=warm_start, random_state=random_state,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> ReLUClassifier:
        """Fit to X (n, d) and labels y (n,), or to a data set in their place, with sample weights κ (n,) ≥ 0.

        Raises
        ------
        ValueError, DataError, ConfigError : data or parameters that cannot be used; one class only.
        """
        loss = make_loss(self.loss)
        if loss.couples or not (loss.classes or loss.name == "squared"):
            raise ConfigError(
                f"The {self.loss} loss cannot be chosen for classes.",
                "Choose logistic, hinge, squared_hinge or squared.",
            )
        self._fit(*self._checked(X, y, sample_weight, reset=True))
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """f(X): of two classes (n,), positive for ``classes_[1]``, log odds with the logistic loss; else (n, C)."""
        return self._outputs(X)

    def predict(self, X: Any) -> np.ndarray:
        """The labels (n,)."""
        f = self.decision_function(X)
        return self.classes_[(f > 0).astype(int) if f.ndim == 1 else f.argmax(axis=1)]

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Float[np.ndarray, "n C"]:
        """Probabilities of ``classes_``, shape (n, C), with the logistic loss."""
        return np.exp(self.predict_log_proba(X))

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Float[np.ndarray, "n C"]:
        """Their logarithms, also where the probabilities are too small for float64."""
        f = self.decision_function(X)
        return log_softmax(np.column_stack([np.zeros_like(f), f]) if f.ndim == 1 else f, axis=1)

    def _class_weights(self, y: np.ndarray) -> Float[np.ndarray, " n"]:
        weights = compute_sample_weight(self.class_weight, y)
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ConfigError(f"class_weight = {self.class_weight!r}.", "Give weights ≥ 0, or 'balanced'.")
        return weights

    def _loss_of(self, targets: np.ndarray) -> str:
        several = targets.ndim == 2
        return "cross_entropy" if several and make_loss(self.loss).name == "logistic" else self.loss

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n ..."], Float[np.ndarray, " n"]]:
        X, y = validate_data(self, *as_given(X, y), dtype=np.float64, reset=reset)
        check_classification_targets(y)
        weights = self._weights(sample_weight, X)
        if self.class_weight is not None:
            weights = weights * self._class_weights(y)
        present = np.unique(y[weights > 0])
        if len(present) < 2:
            raise ValueError(f"The target has only one class ({present[0] if len(present) else 'none'}); give two.")
        if reset:
            self.classes_ = present
        else:
            check_is_fitted(self)
        if len(self.classes_) == 2:
            return X, np.where(y == self.classes_[1], 1.0, -1.0), weights
        own = y[:, None] == self.classes_
        coupled = make_loss(self.loss).name == "logistic"
        return X, np.where(own, 1.0, 0.0 if coupled else -1.0), weights
