"""Models with biases in their own terms, torch's and scikit-learn's: no bound is above their own objective."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from counts import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn

import reluopt
from reluopt.errors import ConfigError, DataError

FAST = reluopt.CertifyConfig(effort="fast", gaussian_patterns=0, time_budget=0.0, time_limit=0.5)
LOSSES = [
    nn.MSELoss(), nn.MSELoss(reduction="sum"), nn.L1Loss(), nn.HuberLoss(delta=0.7), nn.BCEWithLogitsLoss(),
    nn.SoftMarginLoss(reduction="sum"), nn.CrossEntropyLoss(),
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def samples(loss, outputs=1, n=10, seed=0):
    """(X, y as the loss reads it)."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 2)) + rng.normal(size=2), rng.normal(size=(n, outputs)) + 3 * rng.normal(size=outputs)
    if isinstance(loss, nn.CrossEntropyLoss):
        return X, np.arange(n) % outputs
    if isinstance(loss, nn.BCEWithLogitsLoss):
        y = (y > np.median(y, axis=0)).astype(float)
    return X, np.where(y > np.median(y, axis=0), 1.0, -1.0) if isinstance(loss, nn.SoftMarginLoss) else y


def objective(model, loss, X, y, decay, biases):
    """As torch has it, with its gradient; ``biases`` says whether they are decayed."""
    paid = sum((p**2).sum() for name, p in model.named_parameters() if biases or not name.endswith("bias"))
    return loss(model(torch.from_numpy(X)), torch.from_numpy(np.asarray(y))) + 0.5 * decay * paid


@given(st.integers(0, 10**6), st.sampled_from(LOSSES), st.floats(1e-2, 1.0), *[st.booleans()] * 3)
@settings(max_examples=tries(3, 500), deadline=None)
def test_no_bound_is_above_the_own_objective(seed, loss, decay, first, last, decayed):
    """Random modules, and the same after some steps of an optimizer that decays biases or does not."""
    torch.manual_seed(seed)
    outputs = 3 if isinstance(loss, nn.CrossEntropyLoss) else 1 + seed % 2
    model = nn.Sequential(nn.Linear(2, 4, bias=first), nn.ReLU(), nn.Linear(4, outputs, bias=last)).double()
    X, y = samples(loss, outputs, seed=seed)
    ask = {"weight_decay": decay, "loss": loss, "decayed_biases": decayed, "config": FAST}
    found = reluopt.certify_module(model, X, y, **ask)
    own = (model, loss, X, y, decay, decayed)
    assert found.own_objective == pytest.approx(objective(*own).item(), rel=1e-9)
    assert 0 <= found.own_lower_bound <= found.own_objective
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        objective(*own).backward()
        optimizer.step()
    assert found.own_lower_bound <= objective(*own).item()


def groups(model, kind):
    """An optimizer whose second group has the biases, without decay."""
    named = list(model.named_parameters())
    weights = [p for name, p in named if not name.endswith("bias")]
    biases = [p for name, p in named if name.endswith("bias")]
    return kind([{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}], lr=1e-2)


def with_groups(*parts):
    """SGD with (parameters, weight_decay) as its groups."""
    return torch.optim.SGD([{"params": p, "weight_decay": decay} for p, decay in parts], lr=1e-2)


def test_the_groups_of_an_optimizer_say_what_is_decayed():
    torch.manual_seed(1)
    model, (X, y) = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).double(), samples(nn.MSELoss())

    def ask(decay, **options):
        return reluopt.certify_module(model, X, y, weight_decay=decay, loss=nn.MSELoss(), config=FAST, **options)

    by_groups, by_number = ask(groups(model, torch.optim.Adam)), ask(0.1, decayed_biases=False)
    assert by_groups.own_objective == by_number.own_objective
    assert by_groups.problem.biases == reluopt.Biases("free", "free")
    (first, last), (w, b, v, c) = (model[0], model[2]), model.parameters()
    assert ask(with_groups((list(model.parameters()), 0.1))).problem.biases == reluopt.Biases("decayed")
    assert ask(with_groups(([w, b, v], 0.1), ([c], 0.0))).problem.biases == reluopt.Biases("free")
    for refused, words in (
        (groups(model, torch.optim.AdamW), "decouples"),
        (groups(model, torch.optim.Adafactor), "not known"),
        (groups(model, type("Own", (torch.optim.SGD,), {})), "not known"),
        (torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1, maximize=True), "maximize"),
        (with_groups(([w], 0.1)), "lacks a parameter"),
        (with_groups(([w, b, v, c], 0.0)), "positive weight_decay"),
        (with_groups((list(first.parameters()), 0.2), (list(last.parameters()), 0.1)), "two layers' weights"),
        (with_groups(([b], 0.2), ([w, v, c], 0.1)), "A bias has weight_decay"),
    ):
        with pytest.raises(ConfigError, match=words):
            ask(refused)
    decoupled = groups(model, torch.optim.Adam)
    for group in decoupled.param_groups:
        group["decoupled_weight_decay"] = True  # as newer torch has it
    with pytest.raises(ConfigError, match="decouples"):
        ask(decoupled)
    with pytest.raises(ConfigError, match="beside an optimizer"):
        ask(groups(model, torch.optim.Adam), decayed_biases=False)


def test_frozen_biases_are_zero_or_refused():
    X, y = samples(nn.MSELoss())
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    model[2].bias.requires_grad_(False)
    with pytest.raises(ConfigError, match="last layer is frozen"):
        reluopt.certify_module(model, X, y, weight_decay=0.1, loss=nn.MSELoss(), config=FAST)
    nn.init.zeros_(model[2].bias)
    found = reluopt.certify_module(model, X, y, weight_decay=0.1, loss=nn.MSELoss(), config=FAST)
    assert not found.problem.biases and found.network.intercept is None


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_a_fitted_regressor_and_its_own_objective(alpha):
    """lbfgs on all samples: loss_ is the objective with alpha = β to all digits, and no other start goes below."""
    X, y = samples(None, n=20, seed=3)
    fit = {"alpha": alpha, "solver": "lbfgs", "max_iter": 2000}
    model = MLPRegressor(hidden_layer_sizes=(8,), random_state=0, **fit).fit(X, y[:, 0])
    found = reluopt.certify_module(model, X, y[:, 0], config=FAST)
    assert found.own_objective == pytest.approx(model.loss_, rel=1e-9) and not found.remarks
    assert 0 < found.own_lower_bound <= found.own_objective and found.problem.beta == alpha
    assert found.problem.biases == reluopt.Biases("free", "free")
    assert found.own_lower_bound <= min(
        MLPRegressor(hidden_layer_sizes=(8,), random_state=k, **fit).fit(X, y[:, 0]).loss_ for k in (1, 2)
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_a_fitted_classifier_and_its_own_objective(classes):
    rng = np.random.default_rng(classes)
    X, y = rng.normal(size=(18, 2)), np.array(["a", "b", "c"])[np.arange(18) % classes]
    model = MLPClassifier(hidden_layer_sizes=(5,), alpha=0.5, solver="lbfgs", max_iter=2000, random_state=0).fit(X, y)
    found = reluopt.certify_module(model, X, y, config=FAST)
    assert found.own_objective == pytest.approx(model.loss_, rel=1e-9)
    assert 0 < found.own_lower_bound <= found.own_objective
    assert found.problem.loss.name == ("logistic" if classes == 2 else "cross_entropy")
    with pytest.raises(DataError, match="which the model lacks"):
        reluopt.certify_module(model, X, np.where(y == "a", "z", y), config=FAST)


def test_several_targets_and_several_labels_of_scikit_learn():
    X, y = samples(None, outputs=2, n=14, seed=5)
    fit = {"alpha": 0.3, "solver": "lbfgs", "max_iter": 500, "random_state": 0}
    found = reluopt.certify_module(MLPRegressor(hidden_layer_sizes=(4,), **fit).fit(X, y), X, y, config=FAST)
    assert 0 < found.own_lower_bound <= found.own_objective
    labels = (y > y.mean(axis=0)).astype(int)
    model = MLPClassifier(hidden_layer_sizes=(4,), **fit).fit(X, labels)
    found = reluopt.certify_module(model, X, labels, config=FAST)
    assert found.own_objective == pytest.approx(model.loss_, rel=1e-9) and found.own_lower_bound <= found.own_objective


def test_what_was_not_fitted_to_the_documented_objective_is_said():
    X, y = samples(None, n=30, seed=2)
    model = MLPRegressor(hidden_layer_sizes=(4,), alpha=0.1, batch_size=10, max_iter=3, random_state=0).fit(X, y[:, 0])
    found = reluopt.certify_module(model, X, y[:, 0], config=FAST)
    assert "mini-batches of 10 of 30 samples" in found.remarks[0] and "3 times" in found.remarks[0]
    fit = {"alpha": 0.1, "max_iter": 3, "early_stopping": True, "random_state": 0}
    model = MLPRegressor(hidden_layer_sizes=(4,), **fit).fit(X, y[:, 0])
    (remark,) = reluopt.certify_module(model, X, y[:, 0], config=FAST).remarks
    assert "early_stopping" in remark


def test_models_of_scikit_learn_that_are_other_problems_are_refused():
    X, y = samples(None, n=12)
    y, fit = y[:, 0], {"max_iter": 3, "random_state": 0}
    for model, words in (
        (MLPRegressor(hidden_layer_sizes=(3, 3), **fit), "2 hidden layers"),
        (MLPRegressor(hidden_layer_sizes=(3,), activation="tanh", **fit), "tanh"),
        (MLPRegressor(hidden_layer_sizes=(3,), alpha=0.0, **fit), "alpha = 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            reluopt.certify_module(model.fit(X, y), X, y, config=FAST)
    model = MLPRegressor(hidden_layer_sizes=(3,), **fit).fit(X, y)
    with pytest.raises(ConfigError, match="has its own"):
        reluopt.certify_module(model, X, y, weight_decay=0.1, config=FAST)
    with pytest.raises(ConfigError, match="takes 2 features"):
        reluopt.certify_module(model, X[:, :1], y, config=FAST)
    named = pd.DataFrame(X, columns=["a", "b"])
    with pytest.raises(ConfigError, match="cannot be asked"):
        reluopt.certify_module(model.fit(named, y), named.rename(columns={"a": "c"}), y, config=FAST)
    labels = np.stack([y > 0, X[:, 0] > 0], axis=1).astype(int)
    with pytest.raises(DataError, match="0 and 1"):
        reluopt.certify_module(MLPClassifier(hidden_layer_sizes=(3,), **fit).fit(X, labels), X, 2 * labels, config=FAST)
    model.loss = "poisson"
    with pytest.raises(ConfigError, match="loss='poisson'"):
        reluopt.certify_module(model, X, y, config=FAST)
    model.loss, model.predict = "squared_error", lambda X: np.exp(MLPRegressor.predict(model, X))
    with pytest.raises(ConfigError, match="predicts something else"):
        reluopt.certify_module(model, X, y, config=FAST)
