"""scikit-learn's own checks, and what a user of it does: pipelines, searches, weights, early stopping, a proof."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import reluopt
from reluopt import ReLUClassifier, ReLURegressor, ReLURegressorCV
from reluopt.errors import ConfigError, DataError

CHEAP = {"width": 8, "max_iter": 40, "learning_rate": 0.05, "alpha": 0.05, "random_state": 0}
#: A bound that is easily good enough ends the fit.
LOOSE = {"gap": 5.0, "random_state": 0}


@parametrize_with_checks([ReLURegressor(solver="adam", **CHEAP), ReLUClassifier(solver="adam", **CHEAP)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def numbers():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:50, :3], y[:50]
    return (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()


@pytest.fixture(scope="module")
def classes():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X.iloc[:90, :4], y.iloc[:90].map({0: "malignant", 1: "benign"})


# -- the problem -----------------------------------------------------------------------------------------------------


def test_alpha_is_that_of_scikit_learn(numbers):
    """n·loss_ = Σℓ + (alpha/2)‖weights‖², for the same alpha in L: squared and logistic loss."""
    X, y = numbers
    for model, targets in ((MLPRegressor, y), (MLPClassifier, y > 0)):
        mlp = model(hidden_layer_sizes=(5,), alpha=0.7, solver="lbfgs", max_iter=30, random_state=0).fit(X, targets)
        inner = np.maximum(X @ mlp.coefs_[0] + mlp.intercepts_[0], 0)
        f = inner @ mlp.coefs_[1][:, 0] + mlp.intercepts_[1][0]
        loss, signed = ("squared", y) if model is MLPRegressor else ("logistic", np.where(targets, 1.0, -1.0))
        decay = 0.35 * sum((w**2).sum() for w in mlp.coefs_)
        ours = reluopt.Problem(X, signed, loss, beta=0.7).loss_value(f) + decay
        assert mlp.loss_ * len(y) == pytest.approx(ours, rel=1e-8)


def test_the_objective_is_that_of_the_problem(numbers):
    X, y = numbers
    model = ReLURegressor(alpha=3.0, **LOOSE).fit(X, y)
    U, alpha = model.network_.weights()
    f = np.maximum(np.c_[X, np.ones(len(X))] @ U.T, 0) @ alpha
    L = 0.5 * ((f - y) ** 2).sum() + 1.5 * ((U**2).sum() + (alpha**2).sum())
    assert model.beta_ == 3.0
    assert model.objective_ == pytest.approx(L, rel=1e-9)
    np.testing.assert_allclose(model.predict(X), f, atol=1e-9)
    assert model.n_neurons_ == reluopt.TwoLayerReLU.active(model.network_, 1e-6).sum()


@pytest.mark.parametrize("solver", ["solve", "adam", "sgd"])
def test_every_solver_ends_above_the_bound(numbers, solver):
    X, y = numbers
    model = ReLURegressor(
        20, beta_fraction=0.3, solver=solver, max_iter=200, **LOOSE,
        learning_rate=1e-2 if solver == "adam" else 1e-3,
    ).fit(X, y)  # fmt: skip
    assert hasattr(model, "lower_bound_") == (solver == "solve")
    certificate = model.certify(X, y, effort="fast", gaussian_patterns=0)
    assert model.certificate_ is certificate
    assert 0 < model.lower_bound_ <= certificate.objective
    assert model.objective_ <= (1 + model.proved_within_) * model.lower_bound_ * (1 + 1e-12)


def test_a_gap_that_is_asked_for_is_proved(numbers):
    X, y = numbers
    loose = ReLURegressor(beta_fraction=0.2, **LOOSE).fit(X, y)
    tight = clone(loose).set_params(gap=loose.proved_within_ / 2, time_limit=20).fit(X, y)
    assert tight.proved_within_ <= loose.proved_within_ / 2
    assert tight.lower_bound_ > loose.lower_bound_


def test_the_same_seed_gives_the_same_network(numbers):
    X, y = numbers
    first, again = (ReLURegressor(gap=5.0, random_state=3).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.predict(X), again.predict(X))


def test_a_certificate_speaks_of_the_data_of_the_fit_only(numbers):
    X, y = numbers
    model = ReLURegressor(random_state=0, solver="adam", max_iter=5).fit(X, y)
    with pytest.raises(DataError):
        model.certify(X, y + 1e-9)
    with pytest.raises(DataError):
        model.certify(X, y, np.linspace(1, 2, len(y)))


@pytest.mark.parametrize("later", [{"loss": "absolute"}, {"bias": False}])
def test_what_is_set_after_fit_changes_neither_predictions_nor_proofs(numbers, later):
    """lower_bound_ of one problem must not become that of another."""
    X, y = numbers
    model = ReLURegressor(alpha=1.0, **LOOSE).fit(X, y)
    before, bound = model.predict(X), model.lower_bound_
    model.set_params(**later)
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ConfigError, match=next(iter(later))):
        model.certify(X, y, effort="fast", gaussian_patterns=0)
    assert model.lower_bound_ == bound
    model.set_params(loss="squared", bias=True).certify(X, y, effort="fast", gaussian_patterns=0)
    assert bound <= model.lower_bound_ <= model.objective_


def test_probabilities_are_those_of_the_loss_of_the_fit(classes):
    X, y = StandardScaler().fit_transform(classes[0]), classes[1]
    model = ReLUClassifier(alpha=1.0, loss="hinge", **LOOSE).fit(X, y).set_params(loss="logistic")
    assert not hasattr(model, "predict_proba")


# -- weights ---------------------------------------------------------------------------------------------------------


def test_class_weights_count_samples(classes):
    X, y = StandardScaler().fit_transform(classes[0]), classes[1]
    size = dict(y.value_counts())
    as_samples = [len(y) / (2 * size[label]) for label in y]
    given = {label: len(y) / (2 * count) for label, count in size.items()}
    models = [
        ReLUClassifier(alpha=1.0, class_weight="balanced", **LOOSE).fit(X, y),
        ReLUClassifier(alpha=1.0, class_weight=given, **LOOSE).fit(X, y),
        ReLUClassifier(alpha=1.0, **LOOSE).fit(X, y, as_samples),
    ]
    for other in models[1:]:
        np.testing.assert_allclose(other.decision_function(X), models[0].decision_function(X), atol=1e-8)
    plain = ReLUClassifier(alpha=1.0, **LOOSE).fit(X, y)
    assert np.abs(plain.decision_function(X) - models[0].decision_function(X)).max() > 1e-3


@pytest.mark.parametrize("weights", [{"malignant": -1.0}, {"malignant": float("nan")}])
def test_class_weights_that_are_no_weights_are_refused(classes, weights):
    with pytest.raises(ConfigError, match="class_weight"):
        ReLUClassifier(alpha=1.0, class_weight=weights, **LOOSE).fit(*classes)


def test_a_class_of_weight_zero_is_not_there(classes):
    with pytest.raises(ValueError, match="one class"):
        ReLUClassifier(alpha=1.0, class_weight={"malignant": 0.0}, **LOOSE).fit(*classes)


@pytest.mark.parametrize(
    "settings",
    [{"beta_fractions": ["a"]}, {"beta_fractions": [np.nan]}, {"loss": "logistic"}, {"time_limit": 0}, {"gap": -1}],
)
def test_cross_validation_refuses_settings_before_it_begins(numbers, settings, monkeypatch):
    monkeypatch.setattr(ReLURegressorCV, "_losses", None)
    with pytest.raises(ConfigError):
        ReLURegressorCV(**settings).fit(*numbers)


def test_probabilities_belong_to_the_logistic_loss(classes):
    X, y = StandardScaler().fit_transform(classes[0]), classes[1]
    model = ReLUClassifier(alpha=1.0, **LOOSE).fit(X, y)
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(model.classes_[p.argmax(1)], model.predict(X))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)
    for loss in ("hinge", "squared_hinge", "squared"):
        other = ReLUClassifier(alpha=1.0, loss=loss, **LOOSE).fit(X, y)
        assert not hasattr(other, "predict_proba")
        assert other.score(X, y) > 0.8


@pytest.mark.parametrize(
    ("loss", "solver"), [("logistic", "solve"), ("logistic", "adam"), ("squared", "adam"), ("hinge", "adam")]
)
def test_three_classes(loss, solver):
    X, y = (part[::2] for part in load_iris(return_X_y=True))
    X, names = (X - X.mean(0)) / X.std(0), np.array(["a", "b", "c"])[y]
    model = ReLUClassifier(20, alpha=1.0, loss=loss, solver=solver, max_iter=200, learning_rate=0.03, **LOOSE).fit(
        X, names
    )
    assert model.score(X, names) > 0.9
    assert model.decision_function(X).shape == (75, 3)
    targets = np.where(y[:, None] == np.arange(3), 1.0, 0.0 if loss == "logistic" else -1.0)
    problem = reluopt.Problem(np.c_[X, np.ones(75)], targets, "cross_entropy" if loss == "logistic" else loss, 1.0)
    assert model.objective_ == pytest.approx(problem.objective(*model.network_.weights()), rel=1e-9)
    if solver == "solve":
        assert 0 < model.lower_bound_ <= model.objective_
    if loss == "logistic":
        np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)
        np.testing.assert_array_equal(model.classes_[model.predict_proba(X).argmax(1)], model.predict(X))


# -- early stopping, warm start --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["solve", "adam"])
def test_early_stopping_keeps_the_best_network(numbers, solver):
    X, y = numbers
    model = ReLURegressor(
        30, solver=solver, alpha=1.0, early_stopping=True, validation_fraction=0.3, n_iter_no_change=3, max_iter=300,
        learning_rate=0.05, **LOOSE,
    ).fit(X, y)  # fmt: skip
    losses = model.validation_losses_
    assert len(losses) < 300
    assert losses.min() <= losses[-1]
    rng_seed = model._seed
    held = np.sort(np.random.default_rng(rng_seed).permutation(len(y))[: round(0.3 * len(y))])
    assert 0.5 * ((model.predict(X[held]) - y[held]) ** 2).mean() == pytest.approx(losses.min(), rel=2e-3)
    assert model.certify(X, y, effort="fast", gaussian_patterns=0).data["n"] == len(y) - len(held)


def test_a_warm_start_goes_on(numbers):
    X, y = numbers
    model = ReLURegressor(solver="adam", alpha=1.0, max_iter=40, warm_start=True, random_state=0).fit(X, y)
    before = model.objective_
    assert model.fit(X, y).objective_ < before
    with pytest.raises(ValueError, match="warm_start"):
        model.fit(X[:, :2], y)


def test_cross_validation_chooses_beta_along_a_path(numbers):
    X, y = numbers[0], np.abs(numbers[0][:, 0])
    model = reluopt.ReLURegressorCV((0.9, 0.1, 3.0), cv=2, gap=5.0, random_state=0).fit(X, y)
    assert model.cv_losses_.shape == (2, 3)
    # at 3 β_max the network is zero, so its held-out loss is that of nothing
    assert model.cv_losses_[:, 2].mean() == pytest.approx(0.5 * (y**2).mean(), rel=1e-9)
    assert model.beta_fraction_ == 0.1
    assert model.estimator_.lower_bound_ <= model.estimator_.objective_
    np.testing.assert_array_equal(model.predict(X), model.estimator_.predict(X))
    with pytest.raises(ConfigError):
        reluopt.ReLURegressorCV((0.1, -1.0)).fit(X, y)


# -- in the hands of scikit-learn ------------------------------------------------------------------------------------


def test_a_search_in_a_pipeline_and_a_proof(classes):
    X, y = classes
    pipeline = make_pipeline(StandardScaler(), ReLUClassifier(**LOOSE)).set_output(transform="pandas")
    search = GridSearchCV(pipeline, {"reluclassifier__beta_fraction": [0.03, 3.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"reluclassifier__beta_fraction": 0.03}
    best = search.best_estimator_
    assert list(best[-1].feature_names_in_) == list(X.columns)
    best[-1].certify(best[:-1].transform(X), y, effort="fast", gaussian_patterns=0)
    assert best[-1].certificate_.lower_bound > 0
    assert set(search.predict(X)) <= {"malignant", "benign"}


def test_scores_of_folds(numbers):
    X, y = numbers
    scores = cross_val_score(ReLURegressor(**LOOSE), pd.DataFrame(X), pd.Series(y), cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


def test_it_can_be_kept(numbers):
    X, y = numbers
    model = ReLURegressor(**LOOSE).fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_the_skorch_recipe(numbers):
    """A network that skorch trained is certified: ½Σ(f − y)² and coupled weight decay β, in full batches."""
    skorch = pytest.importorskip("skorch")
    X, y = numbers
    X = np.c_[X, np.ones(len(X))]
    net = skorch.NeuralNetRegressor(
        reluopt.TwoLayerReLU, module__d=X.shape[1], module__width=20, module__scale=0.1, batch_size=-1, max_epochs=150,
        criterion=torch.nn.MSELoss, criterion__reduction="sum", optimizer=torch.optim.Adam, lr=0.02,
        optimizer__weight_decay=2 * 1.0, train_split=None, verbose=0,
    )  # fmt: skip
    net.fit(X, torch.as_tensor(y))  # Σ(f − y)² with weight_decay 2β is twice L
    certificate = reluopt.certify(net.module_, X, y, 1.0, reluopt.CertifyConfig(effort="fast", gaussian_patterns=0))
    assert 0 < certificate.lower_bound <= certificate.objective
    assert certificate.stationarity.relative_gap_after_program < 0.05


# -- what cannot be --------------------------------------------------------------------------------------------------


def test_several_targets(numbers):
    X, y = numbers
    model = ReLURegressor(alpha=1.0, **LOOSE).fit(X, np.c_[y, -y])
    assert model.predict(X).shape == (len(y), 2)
    assert model.lower_bound_ <= model.objective_


@pytest.mark.parametrize(
    "settings",
    [{"solver": "newton"}, {"alpha": 1.0, "beta_fraction": 0.1}, {"gap": 0}, {"time_limit": -1}, {"loss": "logistic"},
     {"alpha": -1.0}, {"early_stopping": True, "validation_fraction": 1.5}, {"loss": "nothing"}],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_named(numbers, settings):
    with pytest.raises(ConfigError):
        ReLURegressor(**settings).fit(*numbers)


def test_a_loss_of_numbers_is_refused_for_classes(classes):
    with pytest.raises(ConfigError):
        ReLUClassifier(loss="huber:1").fit(*classes)


# -- what people have ------------------------------------------------------------------------------------------------


def test_data_sets_and_tensors_are_taken(numbers):
    X, y = numbers
    plain = ReLURegressor(alpha=1.0, **LOOSE).fit(X, y)
    data, tensors = reluopt.Dataset.from_arrays(X, y), (torch.tensor(X, requires_grad=True), torch.tensor(y))
    for given in ((data,), tensors, (np.ma.array(X), np.ma.array(y)), ([torch.tensor(row) for row in X], y)):
        model = clone(plain).fit(*given)
        np.testing.assert_array_equal(model.predict(given[0]), plain.predict(X))
    assert plain.certify(data, effort="fast", gaussian_patterns=0).objective > 0
    labels = reluopt.Dataset.from_arrays(X, y > 0, task="classification")
    assert set(ReLUClassifier(alpha=1.0, **LOOSE).fit(labels).predict(labels)) <= {-1.0, 1.0}
    assert ReLURegressorCV((0.5,), cv=2, gap=5.0, random_state=0).fit(data).predict(data).shape == y.shape


def test_what_is_masked_is_missing(numbers):
    X, y = numbers
    hide, model = np.ma.masked_greater, ReLURegressor(alpha=1.0, **LOOSE)
    for bad in ((hide(X, 1), y), (X, hide(y, 1)), (X, y, hide(np.abs(y), 1)), ([hide(row, 1) for row in X], y)):
        with pytest.raises(ValueError, match="NaN"):
            model.fit(*bad)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X, y).predict(hide(X, 1))
    for bad in (torch.tensor(X).to_sparse(), torch.empty(X.shape, device="meta")):
        with pytest.raises(DataError):
            model.fit(bad, y)
