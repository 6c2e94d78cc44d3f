"""The regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from reluopt.errors import ConfigError
from reluopt.estimators.base import ReLUEstimator, as_given
from reluopt.losses import make_loss


class ReLURegressor(RegressorMixin, ReLUEstimator):
    """A two-layer ReLU network for numbers, found by solving or by descent, with a proved bound beside it.

    Parameters
    ----------
    width : neurons of "adam", "sgd" and "lbfgs"; "solve" finds their number by itself.
    alpha : β, the weight decay: L = Σ κℓ + (alpha/2)·Σ‖weights‖², with no 1/n. It is the ``alpha`` of scikit-learn's
        MLPRegressor, whose loss times n is this L with ``bias="free"``: that one decays no biases.
    beta_fraction : β as a fraction of β_max instead, above which the zero network is optimal; 0.1 where neither is
        given.
    loss : "squared" (½(f − y)²), "huber:δ", "absolute", "quantile:τ".
    solver : "solve": column generation to a network at which no neuron is worth adding, then proved lower bounds on
        the optimum of every width. "adam", "sgd", "lbfgs": full-batch descent on ``width`` neurons; ``certify`` proves
        afterwards.
    bias : True: append a column of ones to X, whose weights are decayed like the others. "free": no decay of the biases
        of the first layer, and of an intercept of the outputs, as in scikit-learn's MLPRegressor. False: no bias.
    gap : of "solve": tighten the bound until the network is proved to be within this of the optimum, or the time is
        over. None: only the quick bounds.
    time_limit : seconds of one fit; what is there by then stands. None: no limit. A fit that it does not cut short
        depends on ``random_state`` and the data alone.
    tol : of "solve": end when no neuron is dearer than β(1 + tol). Of early stopping: what counts as an improvement,
        relative to the best held-out loss.
    learning_rate, max_iter : of "adam" and "sgd": the first step size (lbfgs has none), and the epochs.
    early_stopping : hold ``validation_fraction`` of the samples out, keep the network that is best on them, and stop
        after ``n_iter_no_change`` rounds ("solve") or epochs without an improvement.
    warm_start : start from the network of the last fit.
    random_state : seed of all random choices.

    Attributes
    ----------
    network_ : the :class:`~reluopt.TwoLayerReLU`; a bias is its last input. ``n_neurons_`` : those that contribute.
    beta_ : the β that was used. ``objective_`` : L of the network, rounded up.
    lower_bound_, proved_within_ : no network of any width has an L below this (rounded down); L ≤ (1 + this)·p*,
        rounded up. After "solve" or ``certify``.
    certificate_ : the :class:`~reluopt.Certificate`, after ``certify``.
    n_iter_, validation_losses_ : rounds or epochs; the held-out loss at each.

    Examples
    --------
    >>> import numpy as np
    >>> from reluopt.estimators import ReLURegressor
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> model = ReLURegressor(alpha=0.1, gap=0.1, random_state=0).fit(X, np.abs(X[:, 0]))
    >>> bool(model.lower_bound_ <= model.objective_ <= 1.1 * model.lower_bound_)
    True
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> ReLURegressor:
        """Fit to X (n, d), y (n,) or (n, C), or to a data set in their place, with sample weights κ (n,) ≥ 0.

        Raises
        ------
        ValueError, DataError, ConfigError : data or parameters that cannot be used.
        """
        self._fit(*self._checked(X, y, sample_weight, reset=True))
        return self

    def _check_settings(self) -> None:
        super()._check_settings()
        if make_loss(self.loss).classes:
            raise ConfigError(
                f"The {self.loss} loss is for classes.", "Use ReLUClassifier, or another loss, such as 'squared'."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """f(X), shape (n,), or (n, C) of C targets."""
        return self._outputs(X)

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n ..."], Float[np.ndarray, " n"]]:
        X, y = validate_data(self, *as_given(X, y), dtype=np.float64, y_numeric=True, multi_output=True, reset=reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, np.asarray(y, dtype=np.float64), self._weights(sample_weight, X)
