"""Models of torch in their own terms: the bound is never above their own objective, and other problems are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from counts import tries
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neural_network import MLPRegressor
from torch import nn

import reluopt
from reluopt.errors import ConfigError, DataError
from reluopt.integrations.torch_losses import read_loss

FAST = reluopt.CertifyConfig(effort="fast", gaussian_patterns=0, time_budget=0.0, time_limit=5.0)
LOSSES = [
    nn.MSELoss(), nn.MSELoss(reduction="sum"), nn.L1Loss(), nn.HuberLoss(delta=0.7), nn.SmoothL1Loss(beta=0.5),
    nn.BCEWithLogitsLoss(), nn.SoftMarginLoss(reduction="sum"),
]  # fmt: skip


class Wrapped(nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3, 6, bias=bias), nn.ReLU())
        self.head = nn.Linear(6, 1, bias=False)

    def forward(self, x):
        return self.head(self.body(x)).squeeze(1)


def data(loss, n=12, seed=0):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 3)), rng.normal(size=n)
    if isinstance(loss, nn.BCEWithLogitsLoss):
        y = (y > 0).astype(float)
    return X, np.sign(y) if isinstance(loss, nn.SoftMarginLoss) else y


def own(model, loss, X, y, decay):
    """The objective as torch has it, from the model itself."""
    out = model.double()(torch.from_numpy(X)).reshape(-1)
    return float(loss(out, torch.from_numpy(y)) + 0.5 * decay * sum((p**2).sum() for p in model.parameters()))


@given(st.integers(0, 10**6), st.sampled_from(LOSSES), st.floats(1e-2, 1.0), st.booleans())
@settings(max_examples=tries(8, 500), deadline=None)
def test_no_bound_is_above_the_own_objective(seed, loss, decay, bias):
    torch.manual_seed(seed)
    model, (X, y) = Wrapped(bias), data(loss, seed=seed)
    found = reluopt.certify_module(model, X, y, weight_decay=decay, loss=loss, config=FAST)
    assert found.own_objective == pytest.approx(own(model, loss, X, y, decay), rel=1e-9)
    assert 0 <= found.own_lower_bound <= found.own_objective


def test_a_trained_model_is_proved_near_its_optimum():
    """Adam with coupled weight_decay on MSELoss() goes down the problem of the certificate: β = n·weight_decay/2."""
    torch.manual_seed(0)
    X, y = data(None, n=20)
    model, decay = Wrapped().double(), 0.1
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=decay)
    before = own(model, nn.MSELoss(), X, y, decay)
    for _ in range(400):
        optimizer.zero_grad()
        nn.MSELoss()(model(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        optimizer.step()
    found = reluopt.certify_module(model, X, y, weight_decay=decay, loss=nn.MSELoss(), config=FAST)
    assert found.problem.beta == pytest.approx(decay * 20 / 2)
    assert found.own_objective < before
    assert found.own_lower_bound > 0.5 * found.own_objective


def test_a_compiled_model_named_layers_and_half_precision_are_taken():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(3, 4, bias=False), nn.Linear(4, 1, bias=False), nn.Linear(2, 2)
            self.unused.requires_grad_(False)

        def forward(self, x):
            return self.b(torch.relu(self.a(x)))

    X, y = data(None)
    with pytest.raises(ConfigError, match="layers="):
        reluopt.certify_module(Two(), X, y[:, None], weight_decay=0.1, loss=nn.MSELoss(), config=FAST)
    models = [Two(), torch.compile(Two()), Two().bfloat16()]
    for model, layers in zip(models, [("a", "b"), ("_orig_mod.a", "_orig_mod.b"), ("a", "b")], strict=True):
        found = reluopt.certify_module(
            model, X, y[:, None], weight_decay=0.1, loss=nn.MSELoss(), layers=layers, config=FAST
        )
        assert 0 < found.own_lower_bound <= found.own_objective


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("classes", [2, 3])
def test_classes_of_the_cross_entropy(reduction, classes):
    torch.manual_seed(0)
    X, loss = data(None)[0], nn.CrossEntropyLoss(reduction=reduction)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, classes, bias=False))
    labels = torch.arange(12) % classes
    literal = loss(model.double()(torch.from_numpy(X)), labels) + 0.05 * sum((p**2).sum() for p in model.parameters())
    for y in (labels, labels.numpy(), nn.functional.one_hot(labels)):
        found = reluopt.certify_module(model, X, y, weight_decay=0.1, loss=loss, config=FAST)
        assert found.own_objective == pytest.approx(float(literal), rel=1e-12)
        assert 0 < found.own_lower_bound <= found.own_objective


def test_a_model_stays_as_it_was():
    """Modes module by module, running means, and torch's generator; also where it is refused."""
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, bias=False))
    model[0].eval()
    before, generator = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    X, y = data(None)
    X = (X - X.mean(0)) / X.std(0)  # so that it changes next to nothing
    with pytest.raises(ConfigError, match="something else"):
        reluopt.certify_module(model, X, y[:, None], weight_decay=0.1, loss=nn.MSELoss(), config=FAST)
    assert [module.training for module in model] == [False, True, True, True]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def layers(activation=None, tie=False, freeze=False, norm=False):
    """Two layers of three neurons, all of them active on positive data, with one thing that is not L's."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), activation or nn.ReLU(), nn.Linear(3, 3, bias=False))
    model[0].weight.data.abs_()
    if tie:
        model[2].weight = model[0].weight
    if freeze:
        model[0].requires_grad_(False)
    if norm:
        nn.utils.parametrizations.weight_norm(model[0])
    return model


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = layers()

    def forward(self, x):
        return self.body(x), x


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = layers()

    def forward(self, x):
        return nn.functional.dropout(self.body(x), 1e-9, self.training)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (layers(nn.LeakyReLU(0.5)), "something else"),
        (layers(nn.ReLU6()), "something else"),
        (layers(nn.Identity()), "something else"),
        (layers(tie=True), "share one weight"),
        (layers(freeze=True), "frozen"),
        (layers(norm=True), "made of"),
        (Pair(), "tuple"),
        (Dropped(), "random numbers"),
    ],
)
def test_what_agrees_at_these_weights_and_has_another_optimum_is_refused(model, words):
    X = np.abs(data(None)[0])
    with pytest.raises(ConfigError, match=words):
        reluopt.certify_module(model, X, X, weight_decay=0.1, loss=nn.MSELoss(), config=FAST)


class Clipped(nn.MSELoss):
    """The squared loss where it is small."""

    def forward(self, a, b):
        return ((a - b) ** 2).clamp(max=50.0).mean()


@pytest.mark.parametrize(
    ("y", "loss", "words"),
    [
        (np.zeros(12), nn.MSELoss(), "all pairs"),
        (np.zeros((12, 3)), Clipped(), "The loss gives"),
        (np.arange(12) % 3, nn.CrossEntropyLoss(ignore_index=1), "The loss gives"),
        (np.full((12, 3), 0.5), nn.BCEWithLogitsLoss(), "0 and 1"),
        (np.zeros((12, 3)), nn.functional.mse_loss, "function"),
    ],
)
def test_a_loss_that_is_not_that_of_the_problem_is_refused(y, loss, words):
    with pytest.raises((ConfigError, DataError), match=words):
        reluopt.certify_module(layers(), data(None)[0], y, weight_decay=0.1, loss=loss, config=FAST)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1, bias=False)), "something else"),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 1, bias=False)), "random numbers"),
        (nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 1, bias=False)), "more than the two"),
        (nn.Sequential(nn.Linear(3, 1, bias=False)), "linear layers"),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1, bias=False)), "inputs"),
        (MLPRegressor(hidden_layer_sizes=(3, 3), max_iter=5).fit(*data(None)), "a scikit-learn model"),
    ],
)  # fmt: skip
def test_other_problems_are_refused_by_what_differs(model, words):
    torch.manual_seed(0)
    X, y = data(None)
    with pytest.raises(ConfigError, match=words):
        reluopt.certify_module(model, X, y, weight_decay=0.1, loss=nn.MSELoss(), config=FAST)


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(reduction="none"), nn.PoissonNLLLoss(), nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)),
             nn.CrossEntropyLoss(label_smoothing=0.1)]
)  # fmt: skip
def test_other_losses_are_refused(loss):
    with pytest.raises(ConfigError):
        read_loss(loss, 10, 1)


def test_a_data_set_stands_in_the_place_of_x_and_y():
    X, y = data(nn.MSELoss())
    how = {"weight_decay": 0.1, "loss": nn.MSELoss(), "config": FAST}
    column = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    for model, targets in ((column, y[:, None]), (Wrapped(), y)):
        given = (X, targets), (reluopt.Dataset.from_arrays(X, y),)
        plain, whole = (reluopt.certify_module(model, *parts, **how) for parts in given)
        assert plain.own_objective == whole.own_objective
        with pytest.raises(DataError, match="no y"):
            reluopt.certify_module(model, X, **how)
