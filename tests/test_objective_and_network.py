"""The scaling of L, torch's steps against it, and what may be done to neurons without changing f or raising L."""

import by_formula
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reluopt.errors import ConfigError, DataError
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.sequential import from_sequential
from reluopt.training.config import TrainConfig
from reluopt.training.state import begin

few = settings(max_examples=25, deadline=None)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 7), st.integers(0, 2**32 - 1))


def problem(n, d, m, seed):
    """X, y, U, alpha at random, with zero neurons, copies and opposite neurons among the m."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    U, alpha = rng.standard_normal((m, d)), rng.standard_normal(m)
    if m > 3:
        U[1], alpha[2], U[3] = 2 * U[0], 0.0, 0.0
    return X, y, U, alpha


def torch_problem(*args):
    return [torch.from_numpy(a) for a in problem(*args)]


@few
@given(shapes, st.floats(1e-3, 10))
def test_objective_and_gradient_are_the_formula_of_the_paper(shape, beta):
    X, y, U, alpha = problem(*shape)
    f = sum(np.maximum(X @ u, 0) * a for u, a in zip(U, alpha, strict=True))
    by_hand = 0.5 * np.sum((f - y) ** 2) + beta / 2 * (np.sum(U**2) + np.sum(alpha**2))
    given = Problem(X, y, beta=beta)
    assert given.objective(U, alpha) == pytest.approx(by_hand, rel=1e-12)
    network = from_weights(U, alpha)
    L = network.objective(torch.from_numpy(X), torch.from_numpy(y), beta)
    L.backward()
    assert float(L.detach()) == pytest.approx(by_hand, rel=1e-12)
    gU, ga = given.gradient(U, alpha)
    np.testing.assert_allclose(network.U.grad.numpy(), gU, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(network.alpha.grad.numpy(), ga, rtol=1e-10, atol=1e-10)


def test_gradient_agrees_with_finite_differences():
    X, y, U, alpha = problem(8, 3, 3, 1)
    given = Problem(X, y, beta=0.3)
    gU, ga = given.gradient(U, alpha)
    step = 1e-6
    for j in range(3):
        for k in range(3):
            E = np.zeros_like(U)
            E[j, k] = step
            slope = given.objective(U + E, alpha) - given.objective(U - E, alpha)
            assert slope / (2 * step) == pytest.approx(gU[j, k], rel=1e-6, abs=1e-6)
        e = step * (np.arange(3) == j)
        slope = given.objective(U, alpha + e) - given.objective(U, alpha - e)
        assert slope / (2 * step) == pytest.approx(ga[j], rel=1e-6, abs=1e-6)


@few
@given(shapes, st.floats(1e-3, 10))
def test_one_sgd_step_with_coupled_decay_goes_along_the_gradient_of_L(shape, beta):
    X, y, U, alpha = torch_problem(*shape)
    network = from_weights(U, alpha)
    config = TrainConfig(optimizer="sgd", learning_rate=1e-3, momentum=0.0)
    state = begin(network, config.make_problem(X, y, beta), config, None)
    by_formula.squared_loss(network(X), y).backward()
    state.optimizer.step()
    gU, ga = by_formula.gradient(X, y, U, alpha, beta)
    torch.testing.assert_close(network.U.detach(), U - 1e-3 * gU, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(network.alpha.detach(), alpha - 1e-3 * ga, rtol=1e-10, atol=1e-10)


@few
@given(shapes, st.floats(1e-3, 10))
def test_mean_squared_error_with_decay_2_beta_over_n_is_the_same_problem(shape, beta):
    X, y, U, alpha = torch_problem(*shape)
    n = len(X)
    ours, theirs = from_weights(U, alpha), from_weights(U, alpha)
    # MSELoss(mean) is 2/n times the loss of L, so the same step needs n/2 times the step size
    a = torch.optim.SGD(ours.parameters(), lr=1e-3, weight_decay=beta)
    b = torch.optim.SGD(theirs.parameters(), lr=1e-3 * n / 2, weight_decay=2 * beta / n)
    by_formula.squared_loss(ours(X), y).backward()
    nn.MSELoss()(theirs(X), y).backward()
    a.step()
    b.step()
    torch.testing.assert_close(ours.U.detach(), theirs.U.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.alpha.detach(), theirs.alpha.detach(), rtol=1e-10, atol=1e-10)


@few
@given(shapes, st.floats(0.01, 5), st.floats(0.01, 10))
def test_best_multiple_is_feasible_and_not_beaten_by_a_grid(shape, bound, beta):
    X, y, _, _ = problem(*shape)
    z, given = y + 0.1 * np.arange(len(y)), Problem(X, y, beta=beta)
    t = given.best_multiple(z, beta / bound)
    assert 0 <= t <= beta / bound
    for s in np.linspace(0, beta / bound, 50):
        assert given.dual_value(s * z) <= given.dual_value(t * z) + 1e-9


@few
@given(shapes, st.floats(1e-2, 10))
def test_balance_keeps_f_and_lowers_L_to_the_balanced_objective(shape, beta):
    X, y, U, alpha = torch_problem(*shape)
    balanced = from_weights(U, alpha).balance()
    V, a = balanced.U.detach(), balanced.alpha.detach()
    torch.testing.assert_close(balanced(X).detach(), by_formula.predict(X, U, alpha), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(V.norm(dim=1), a.abs(), rtol=1e-12, atol=1e-14)
    L, L_bal = by_formula.objective(X, y, U, alpha, beta), by_formula.balanced_objective(X, y, U, alpha, beta)
    assert float(by_formula.objective(X, y, V, a, beta)) == pytest.approx(float(L_bal), rel=1e-10)
    assert L_bal <= L * (1 + 1e-12)
    dead = (U.norm(dim=1) == 0) | (alpha == 0)
    assert not V[dead].any() and not a[dead].any()


def test_balance_survives_extreme_scales():
    network = from_weights(np.array([[1e-120, 0.0]]), np.array([1e200])).balance()
    assert network.alpha[0].item() == pytest.approx(1e40)
    assert network.U[0, 0].item() == pytest.approx(1e40)


@few
@given(shapes, st.floats(1e-2, 10))
def test_merge_keeps_f_on_the_data_never_raises_L_and_leaves_one_neuron_a_pattern_and_sign(shape, beta):
    X, y, U, alpha = torch_problem(*shape)
    merged = from_weights(U, alpha).merge(X)
    V, a = merged.U.detach(), merged.alpha.detach()
    torch.testing.assert_close(merged(X).detach(), by_formula.predict(X, U, alpha), rtol=1e-9, atol=1e-9)
    L_bal = float(by_formula.balanced_objective(X, y, U, alpha, beta))
    assert float(by_formula.objective(X, y, V, a, beta)) <= L_bal * (1 + 1e-9) + 1e-12
    keys = {(tuple((X @ u >= 0).tolist()), bool(s > 0)) for u, s in zip(U[alpha != 0], alpha[alpha != 0], strict=True)}
    assert merged.width <= max(1, len(keys))


@few
@given(shapes)
def test_prune_drops_exactly_what_contributes_nothing(shape):
    X, _, U, alpha = torch_problem(*shape)
    pruned = from_weights(U, alpha).prune()
    assert pruned.width == max(1, int(((U.norm(dim=1) > 0) & (alpha != 0)).sum()))
    torch.testing.assert_close(pruned(X).detach(), by_formula.predict(X, U, alpha), rtol=1e-10, atol=1e-12)


def test_pruning_and_merging_the_zero_network_leave_one_zero_neuron():
    zero, X = from_weights(torch.zeros(3, 2), torch.zeros(3)), torch.ones(4, 2)
    for network in (zero.prune(), zero.merge(X)):
        assert network.width == 1
        assert not network(X).any()


@few
@given(shapes, st.booleans())
def test_sequential_round_trip_is_exact(shape, bias):
    X, _, U, alpha = torch_problem(*shape)
    if bias:
        X, U = torch.cat([X, torch.ones(len(X), 1)], dim=1), torch.cat([U, U[:, :1] + 1], dim=1)
    network = from_weights(U, alpha)
    model = network.to_sequential(bias_column=bias)
    inputs = X[:, :-1] if bias else X
    torch.testing.assert_close(model(inputs)[:, 0], network(X), rtol=1e-12, atol=1e-12)
    back = from_sequential(model)
    assert torch.equal(back.U, network.U) and torch.equal(back.alpha, network.alpha)


def model_with(constant, *, scale=1.0):
    """A model of torch with biases in both layers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        model[0].bias.mul_(scale)
        model[2].bias.fill_(constant)
    return model


@pytest.mark.parametrize("constant", [0.7, -2.0])
def test_an_output_bias_is_refused_unless_a_neuron_is_asked_for(constant):
    model = model_with(constant)
    with pytest.raises(ConfigError, match=r"(?s)output bias .*y − c.*as_neuron"):
        from_sequential(model)
    X = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network = from_sequential(model, output_bias="as_neuron")
    assert network.width == 5
    torch.testing.assert_close(network(torch.cat([X, torch.ones(6, 1)], dim=1)), model(X)[:, 0])


def test_an_output_bias_of_zero_is_none():
    assert from_sequential(model_with(0.0)).width == 4


@few
@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0.01, 5))
def test_the_own_objectives_of_a_model_are_those_of_its_own_training(constant, scale, beta):
    """½‖f − y‖² + (β/2) of what is decayed, straight from the model's parameters."""
    model = model_with(constant, scale=scale)
    X, y = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    network = from_sequential(model, output_bias="as_neuron")
    L = network.objective(torch.cat([X, torch.ones(7, 1)], dim=1), y, beta).item()
    with torch.no_grad():
        loss = 0.5 * ((model(X)[:, 0] - y) ** 2).sum()
        everything = loss + beta / 2 * sum((p**2).sum() for p in model.parameters())
        weights = loss + beta / 2 * sum((model[k].weight ** 2).sum() for k in (0, 2))
    own = network.own_objectives(L, beta)
    np.testing.assert_allclose(own, [float(everything), float(weights)], rtol=1e-9)
    np.testing.assert_allclose(network.prune().own_objectives(L, beta), own, rtol=1e-9)


def test_own_objectives_are_only_for_models_with_biases():
    bare = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
    assert from_sequential(bare).own_objectives(1.0, 0.1) is None
    assert from_weights(np.ones((2, 3)), np.ones(2)).own_objectives(1.0, 0.1) is None
    network = from_sequential(model_with(2.0), output_bias="as_neuron")
    with torch.no_grad():  # trained further: the last neuron is no constant any more
        network.U[-1, 0] = 0.1
    both, none = network.own_objectives(10.0, 0.1)
    assert both == 10.0 and none < 10.0


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)),
        nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=True)),
    ],
)
def test_models_that_do_not_fit_are_refused(model):
    with pytest.raises(ConfigError):
        from_sequential(model)


def test_weights_that_do_not_fit_or_are_not_finite_are_refused():
    with pytest.raises(DataError, match="shapes"):
        from_weights(np.ones((2, 3)), np.ones(3))
    with pytest.raises(DataError, match="NaN"):
        from_weights(np.full((2, 3), np.nan), np.ones(2))


def test_integer_weights_become_float64():
    assert from_weights(np.array([[1, 2]]), np.array([3])).U.dtype == torch.float64


def test_float32_and_float64_networks_start_at_the_same_point():
    a = TwoLayerReLU(3, 5, dtype=torch.float64)
    b = TwoLayerReLU(3, 5, dtype=torch.float32)
    assert torch.equal(a.U.float(), b.U) and torch.equal(a.alpha.float(), b.alpha)
