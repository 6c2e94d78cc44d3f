r"""A fitted MLPRegressor or MLPClassifier of scikit-learn, certified in its own terms.

With one hidden layer of ReLUs the gradient that ``fit`` follows is that of

.. math:: \frac{1}{n} \Bigl[ Σ_i ℓ(f_i, y_i) + \frac{α}{2} (‖W_1‖² + ‖W_2‖²) \Bigr]

with ℓ = ½(f − y)² summed over the outputs, the logistic loss, or the cross-entropy: n times it is L with β = alpha and
biases that are not decayed, of both layers. Mini-batches of B < n samples divide α by B instead of n.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from reluopt.biases import Biases
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.errors import ConfigError, DataError
from reluopt.gate import as_beta, as_matrix, as_numbers
from reluopt.integrations.certified_module import CertifiedModule
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.plain_arrays import as_array
from reluopt.problem import Problem
from reluopt.rigor.rounding import round_down

#: scikit-learn's predictions must be those of the network up to this, relatively; models of float32 have fewer digits.
SAME = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}


def certify_mlp(model: Any, X: Any, y: Any, config: CertifyConfig | None = None) -> CertifiedModule:
    """Certify a fitted MLP of scikit-learn on the data it was fitted to.

    Parameters
    ----------
    X, y : as ``fit`` got them. ``config`` : of the certificate.

    Raises
    ------
    ConfigError : more hidden layers, another activation or loss, alpha = 0, predictions of something else.
    DataError : data that cannot be used, labels that the model does not know.
    """
    _require_plain(model)
    features = as_matrix(X)
    loss, targets = _targets(model, y, len(features))
    network = _network(model, features)
    rows = np.hstack([features, np.ones((len(features), 1))])
    problem = Problem(rows, targets, loss, _alpha(model), biases=Biases("free", "free"))
    _require_same(model, X, problem.predict(*network.weights()), loss)
    certificate = certify(network, problem, config=config)
    n = problem.n
    own = problem.objective(*network.weights()) / n
    lower = round_down(Fraction(certificate.lower_bound) / n)
    return CertifiedModule(own, lower, certificate, problem, network, 1.0 / n, _remarks(model, n))


def _require_plain(model: Any) -> None:
    layers, activation = len(model.coefs_), getattr(model, "activation", None)
    if layers != 2 or activation != "relu":
        raise ConfigError(
            f"The model has {layers - 1} hidden layers with activation {activation!r}.",
            "Fit one hidden layer of ReLUs: hidden_layer_sizes=(m,), activation='relu'.",
        )
    loss = getattr(model, "loss", "squared_error")
    if loss not in ("squared_error", "log_loss"):
        raise ConfigError(f"The model has loss={loss!r}.", "Fit with the squared error, or a classifier.")


def _alpha(model: Any) -> float:
    try:
        return as_beta(model.alpha)
    except ConfigError:
        raise ConfigError(f"The model has alpha = {model.alpha!r}.", "Fit it with a positive alpha.") from None


def _network(model: Any, X: np.ndarray) -> TwoLayerReLU:
    """The weights in float64, with the first layer's biases as the last column of U."""
    first, last, b, c = (np.asarray(part, dtype=np.float64) for part in (*model.coefs_, *model.intercepts_))
    if first.shape[0] != X.shape[1]:
        raise ConfigError(f"The model takes {first.shape[0]} features, X has {X.shape[1]}.", "Give its own X.")
    return from_weights(np.hstack([first.T, b[:, None]]), last[:, 0] if last.shape[1] == 1 else last, c)


def _targets(model: Any, y: Any, n: int) -> tuple[str, np.ndarray]:
    """The loss by name, and the targets as it takes them."""
    if not hasattr(model, "classes_"):
        values = as_numbers(y, "y")
        return "squared", values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    labels = as_array(y, "y")
    if labels.ndim == 2 and labels.shape[1] > 1:  # several labels a sample
        if not np.isin(labels, (0, 1)).all():
            raise DataError("y has other labels than 0 and 1.", "Give y as fit got it, 0 or 1 for each label.")
        return "logistic", 2.0 * as_numbers(labels, "y") - 1.0
    labels = labels.reshape(-1)
    known = np.isin(labels, model.classes_)
    if len(labels) != n or not known.all():
        strange = "" if known.all() else f"the label {labels[~known].tolist()[0]!r}, which the model lacks"
        raise DataError(
            f"y has {strange if len(labels) == n else 'another length than X'}.", "Give X and y as fit got them."
        )
    number = np.searchsorted(model.classes_, labels)
    if len(model.classes_) == 2:
        return "logistic", 2.0 * number - 1.0
    return "cross_entropy", np.eye(len(model.classes_))[number]


def _require_same(model: Any, X: Any, f: np.ndarray, loss: str) -> None:
    """What the model predicts must be what the network says."""
    classes = hasattr(model, "classes_")
    try:
        own = np.asarray((model.predict_proba if classes else model.predict)(X), dtype=np.float64)
    except (ValueError, TypeError) as error:  # names of columns, types
        said = str(error).splitlines()[0]
        raise ConfigError(f"The model cannot be asked on X ({said}).", "Give X as fit got it.") from error
    ours = f
    if classes:
        ours = softmax(f, axis=1) if loss == "cross_entropy" else expit(f)
        own = own[:, 1] if ours.ndim == 1 else own
    near = SAME.get(np.asarray(model.coefs_[0]).dtype, 1e-4)
    if own.shape != ours.shape or not np.abs(own - ours).max() <= near * (1.0 + np.abs(ours).max()):
        raise ConfigError("The model predicts something else than its two layers of ReLUs.", "Give the fitted MLP.")


def _remarks(model: Any, n: int) -> tuple[str, ...]:
    found = []
    batch = min(200, n) if model.batch_size == "auto" else int(model.batch_size)
    if model.solver != "lbfgs" and batch < n:
        found.append(
            f"It was fitted in mini-batches of {batch} of {n} samples, which decay {n / batch:.3g} times as much as "
            "alpha says: the objective here is that of its alpha on all samples, not the one that its steps went down."
        )
    if model.solver != "lbfgs" and model.early_stopping:
        found.append("It was fitted with early_stopping, to a part of the samples; the objective is that of all given.")
    return tuple(found)
