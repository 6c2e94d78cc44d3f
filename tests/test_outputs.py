"""Several outputs: the problem, its losses, networks and training; one output is a special case of them."""

import copy
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reluopt import neurons
from reluopt.beta_max import beta_max_estimate
from reluopt.errors import ConfigError, DataError
from reluopt.interrupts import Interrupted
from reluopt.losses import make_loss
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.pricing import price
from reluopt.problem import Problem
from reluopt.programs.pruning import caratheodory
from reluopt.runs import RunFolder
from reluopt.sequential import from_sequential
from reluopt.training import TrainConfig, Trainer
from reluopt.training.callbacks import Callback

CE = make_loss("cross_entropy")
SPECS = ["squared", "huber:0.7", "logistic", "hinge", "cross_entropy"]


def problem_of(spec, n=12, d=3, C=3, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(C), rng.integers(0, C, n - C)])
    targets = y if spec == "cross_entropy" else np.eye(C)[y]
    if spec in ("squared", "huber:0.7"):
        targets = rng.standard_normal((n, C))
    weights = rng.uniform(0.3, 3.0, n) if weighted else None
    return Problem(rng.standard_normal((n, d)), targets, spec, 0.3, weights)


def network_of(problem, m=5, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, problem.d)), rng.standard_normal((m, problem.outputs))


rows = st.lists(st.floats(-20, 20, allow_subnormal=False), min_size=2, max_size=5)


@given(f=rows, c=st.integers(0, 4))
def test_cross_entropy_is_torchs(f, c):
    c %= len(f)
    at = torch.tensor([f], dtype=torch.float64, requires_grad=True)
    y = np.eye(len(f))[[c]]
    theirs = nn.functional.cross_entropy(at, torch.tensor([c]), reduction="sum")
    (slope,) = torch.autograd.grad(theirs, at)
    for kind in (np.asarray, torch.as_tensor):
        ours = CE.value(kind(np.array([f])), kind(y))
        assert float(ours[0]) == pytest.approx(float(theirs.detach()), rel=1e-12, abs=1e-12)
        assert np.allclose(np.asarray(CE.gradient(kind(np.array([f])), kind(y))), slope.numpy(), atol=1e-12)


@given(f=rows, g=rows, c=st.integers(0, 4), step=st.floats(0.01, 10))
def test_cross_entropy_conjugate_and_prox(f, g, c, step):
    """ℓ(f) ≥ D(z) − zᵀf with equality at z = −ℓ'(f); the prox has z = (f − p)/step."""
    size = min(len(f), len(g))
    f, g, y = np.array([f[:size]]), np.array([g[:size]]), np.eye(size)[[c % size]]
    z = -CE.gradient(g, y)
    assert CE.value(f, y)[0] >= (CE.dual(z, y) - (z * f).sum(-1))[0] - 1e-9 * (1 + abs(f).max())
    assert CE.value(g, y)[0] == pytest.approx((CE.dual(z, y) - (z * g).sum(-1))[0], rel=1e-9, abs=1e-8)
    p = CE.prox(f, y, step)
    assert np.allclose((f - p) / step, CE.gradient(p, y), atol=1e-9)


@given(f=rows, c=st.integers(0, 4), width=st.floats(0, 2))
def test_cross_entropy_exact_values_are_above_and_dual_ones_below(f, c, width):
    y = [Fraction(int(k == c % len(f))) for k in range(len(f))]
    low, high = [Fraction(v) for v in f], [Fraction(v) + Fraction(width) for v in f]
    upper = CE.value_exact_row(low, high, y)
    corner = [b if t == 0 else a for a, b, t in zip(low, high, y, strict=True)]
    with mpmath.workdps(50):
        exps = [mpmath.exp(mpmath.mpf(v.numerator) / v.denominator) for v in corner]
        top = corner[y.index(1)]
        true = mpmath.log(sum(exps)) - mpmath.mpf(top.numerator) / top.denominator
        assert true <= mpmath.mpf(upper.numerator) / upper.denominator <= true + mpmath.mpf(10) ** -28
    z = CE.settled(-CE.gradient(np.array([f]), np.array([y], dtype=float)), np.array([y], dtype=float), np.ones(1))
    exact = [Fraction(v) for v in z[0].tolist()]
    assert sum(exact) == 0
    below = CE.dual_exact_row(exact, y)
    p = [float(t - v) for v, t in zip(exact, y, strict=True)]
    assert float(below) == pytest.approx(-sum(q * math.log(q) for q in p if q > 0), rel=1e-12, abs=1e-12)
    assert CE.dual_exact_row([exact[0] + Fraction(1, 2**60), *exact[1:]], y) is None
    assert CE.dual_exact_row([2 * t for t in [*exact]] if max(p) < 0.5 else [v + 2 for v in exact], y) is None


def test_settled_points_stay_inside_of_their_domain():
    rng = np.random.default_rng(0)
    for weights in (np.ones(200), 10.0 ** rng.uniform(-9, 9, 200)):
        y = np.eye(4)[rng.integers(0, 4, 200)]
        f = rng.standard_normal((200, 4)) * 10.0 ** rng.uniform(-3, 2.5, (200, 1))
        z = CE.settled(-weights[:, None] * CE.gradient(f, y), y, weights)
        assert np.abs(z + weights[:, None] * CE.gradient(f, y)).max() <= 1e-10 * weights.max()
        for row, target, kappa in zip(z.tolist(), y.tolist(), weights.tolist(), strict=True):
            assert (
                CE.dual_exact_row([Fraction(v) / Fraction(kappa) for v in row], [Fraction(t) for t in target])
                is not None
            )


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("weighted", [False, True])
def test_objective_and_gradient_are_autograds(spec, weighted):
    problem = problem_of(spec, weighted=weighted)
    U, alpha = network_of(problem)
    u, a = (torch.tensor(part, requires_grad=True) for part in (U, alpha))
    f = torch.relu(torch.tensor(problem.X) @ u.T) @ a
    values = problem.loss.value(f, torch.tensor(problem.y)).reshape(problem.n, -1).sum(1)
    L = torch.tensor(problem.weights) @ values + problem.beta / 2 * (u.square().sum() + a.square().sum())
    slopes = torch.autograd.grad(L, (u, a))
    assert problem.objective(U, alpha) == pytest.approx(float(L.detach()), rel=1e-12)
    for ours, theirs in zip(problem.gradient(U, alpha), slopes, strict=True):
        assert np.allclose(ours, theirs.numpy(), atol=1e-10)
    upper = problem.objective_upper(U, alpha)
    assert float(L.detach()) * (1 - 1e-14) <= upper <= float(L.detach()) * (1 + 1e-11)


@pytest.mark.parametrize("spec", ["squared", "logistic", "hinge"])
def test_a_loss_of_one_output_is_summed(spec):
    """Two outputs that share no neuron are two problems."""
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((9, 3)), np.where(rng.standard_normal((9, 2)) > 0, 1.0, -1.0)
    U, alpha = rng.standard_normal((4, 3)), rng.standard_normal(4)
    both = np.where(np.arange(4)[:, None] // 2 == np.arange(2), alpha[:, None], 0.0)
    parts = [Problem(X, y[:, k], spec, 0.2).objective(U[2 * k : 2 * k + 2], alpha[2 * k : 2 * k + 2]) for k in (0, 1)]
    assert Problem(X, y, spec, 0.2).objective(U, both) == pytest.approx(sum(parts), rel=1e-13)


@pytest.mark.parametrize("spec", SPECS)
def test_proved_values_hold_for_any_network(spec):
    """The dual value of any z, with B ≥ max ‖zᵀ(Xu)_+‖, is below L of any network (weak duality)."""
    problem = problem_of(spec, weighted=True)
    for seed in range(20):
        U, alpha = network_of(problem, seed=seed)
        z = problem.settled(problem.dual_point(problem.predict(0.3 * U, alpha)))
        most = float(np.linalg.norm(problem.X) * np.linalg.norm(z)) * (1 + 1e-12)
        value, t = problem.proved_value(z, most)
        assert value <= problem.objective(U, alpha) and t * most <= problem.beta * (1 + 1e-12)
        assert value == pytest.approx(problem.estimated_value(z, most), rel=1e-9, abs=1e-9)
        assert value >= 0.0 or problem.loss.name == "squared"


def test_targets_of_every_kind():
    X = np.arange(8.0).reshape(4, 2)
    assert Problem(X, [[1.0], [2.0], [3.0], [5.0]]).outputs == 1
    assert Problem(X, [0, 2, 1, 0], "cross_entropy").y.tolist() == np.eye(3)[[0, 2, 1, 0]].tolist()
    assert Problem(X, [[0, 1], [1, 1], [0, 0], [1, 0]], "logistic").y.tolist() == [[-1, 1], [1, 1], [-1, -1], [1, -1]]
    for bad in ([0, 1, 3, 1], [0.5, 1, 0, 1], [-1, 1, -1, 1], [0, 0, 0, 0], np.ones((4, 2)), np.eye(4)[:, :2]):
        with pytest.raises(DataError, match="class"):
            Problem(X, bad, "cross_entropy")
    with pytest.raises(DataError, match="weights"):
        Problem(X, np.ones((4, 2)), weights=np.ones((4, 2)))
    with pytest.raises(ConfigError, match="several outputs"):
        Problem(X, np.ones((4, 2))).require_one_output("This")
    balanced = Problem(np.ones((6, 1)), [0, 0, 0, 1, 1, 2], "cross_entropy").class_balanced()
    assert np.allclose(balanced.weights, [2 / 3] * 3 + [1, 1, 2])
    with pytest.raises(ConfigError, match="classes"):
        Problem(X, [[0, 1], [1, 1], [0, 0], [1, 0]], "logistic").class_balanced()


def test_fingerprints_tell_shapes_apart():
    """Two targets a sample are not one target and a weight."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 2)), rng.standard_normal((5, 2)) ** 2
    as_weights = Problem(X, y.ravel()[:5], weights=y.ravel()[5:])
    assert Problem(X, y).fingerprint != as_weights.fingerprint


# -- networks ----------------------------------------------------------------------------------------------------------


def test_balance_merge_and_prune():
    problem = problem_of("squared", n=30, d=2)
    U, alpha = network_of(problem, m=8)
    U[6], alpha[6] = 0.3 * U[0], 2.0 * alpha[0]  # the pattern and the output direction of neuron 0
    U[7] = 0.0
    network = from_weights(U, alpha)
    f, L = network(torch.tensor(problem.X)), problem.objective(U, alpha)
    balanced = copy.deepcopy(network).balance()
    u, a = balanced.weights()
    assert np.allclose(np.linalg.norm(u[:7], axis=1), np.linalg.norm(a[:7], axis=1)) and not a[7].any()
    assert torch.allclose(balanced(torch.tensor(problem.X)), f)
    assert (
        problem.objective(u, a) == pytest.approx(problem.balanced_objective(U, alpha)) and problem.objective(u, a) <= L
    )
    merged = network.merge(torch.tensor(problem.X))
    assert merged.width == 6 and merged.outputs == 3
    assert torch.allclose(merged(torch.tensor(problem.X)), f)
    assert problem.objective(*merged.weights()) <= problem.objective(u, a) * (1 + 1e-12)
    assert network.prune().width == 7


def test_one_output_is_the_same_in_both_shapes():
    rng = np.random.default_rng(3)
    U, alpha = rng.standard_normal((6, 4)), rng.standard_normal(6)
    X = rng.standard_normal((20, 4))
    for function in (neurons.balanced, lambda u, a: neurons.merged(X, u, a)):
        (u, a), (v, b) = function(U, alpha), function(U, alpha[:, None])
        assert np.allclose(sorted((u * a[:, None]).ravel()), sorted((v * b).ravel()))
    assert np.array_equal(neurons.active(U, alpha), neurons.active(U, alpha[:, None]))
    assert from_weights(U, alpha[:, None]).outputs == 1
    one, two = (TwoLayerReLU(4, 6, *given) for given in ((), (1,)))
    assert torch.equal(one.alpha, two.alpha) and one.alpha.shape == (6,)


@pytest.mark.parametrize("bias", [False, True])
def test_torch_both_ways(bias):
    model = nn.Sequential(nn.Linear(4, 7, bias=bias), nn.ReLU(), nn.Linear(7, 3, bias=False)).double()
    network = from_sequential(model)
    X = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = torch.cat([X, torch.ones(11, 1, dtype=torch.float64)], 1) if bias else X
    assert torch.allclose(network(ours), model(X), atol=1e-12)
    again = network.to_sequential(bias_column=bias)
    assert torch.allclose(again(X), model(X), atol=1e-12)


def test_an_output_bias_is_refused_or_a_neuron():
    model = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    with pytest.raises(ConfigError, match="output bias"):
        from_sequential(model)
    network = from_sequential(model, output_bias="as_neuron")
    X = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(torch.cat([X, torch.ones(11, 1, dtype=torch.float64)], 1)), model(X), atol=1e-12)
    assert network.biases.output == pytest.approx(float(model[2].bias.detach().norm()))
    assert network.own_objectives(100.0, 1.0) is not None


def test_pruning_leaves_at_most_n_times_C_neurons():
    problem = problem_of("squared", n=4, d=3, C=2)
    U, alpha = network_of(problem, m=30)
    pruned = caratheodory(problem.X, from_weights(U, alpha))
    assert pruned.width <= 8 and pruned.outputs == 2
    assert np.allclose(problem.predict(*pruned.weights()), problem.predict(U, alpha))
    assert problem.objective(*pruned.weights()) <= problem.balanced_objective(U, alpha) * (1 + 1e-9)
    nothing = caratheodory(problem.X, from_weights(0 * U, alpha))
    assert nothing.width == 1 and nothing.outputs == 2


# -- training and pricing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["squared", "cross_entropy", "logistic"])
def test_training_lowers_L_and_records_it(spec):
    problem = problem_of(spec, n=30, d=4)
    problem = problem.with_beta(0.1 * beta_max_estimate(problem))
    config = TrainConfig(width=10, epochs=150, loss=spec)
    network = config.make_network(problem.d, problem.outputs)
    before = problem.objective(*network.weights())
    result = Trainer(network, problem, config=config, progress=False).fit()
    assert result.objective == pytest.approx(problem.objective(*network.weights()), rel=1e-9)
    assert result.objective < min(before, problem.zero_value)
    slopes = problem.gradient(*network.weights())
    assert result.stationarity_residual == pytest.approx(
        math.hypot(*(float(np.linalg.norm(s)) for s in slopes)), rel=1e-6
    )
    assert list(result.scores) == ["train/R2" if spec == "squared" else "train/accuracy"]


def test_a_network_of_other_outputs_is_refused():
    problem = problem_of("squared")
    with pytest.raises(DataError, match="outputs"):
        Trainer(TwoLayerReLU(3, 4, 2), problem, progress=False)


class Stop(Callback):
    def on_epoch(self, state):
        if state.epoch == 7 and not state.resumed:
            state.interrupted = 2


@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path, batch_size):
    problem = problem_of("cross_entropy", n=14)
    config = TrainConfig(
        width=4, epochs=20, loss="cross_entropy", batch_size=batch_size, record_every=5, beta=problem.beta
    )

    def weights(stop, folder):
        network = config.make_network(problem.d, problem.outputs)
        callbacks = [Stop()] if stop else []
        run = RunFolder(tmp_path / folder)
        make = lambda net: Trainer(net, problem, config=config, run=run, callbacks=callbacks, progress=False)  # noqa: E731
        if stop:
            with pytest.raises(Interrupted):
                make(network).fit()
            network = config.make_network(problem.d, problem.outputs)
        make(network).fit(resume=stop)
        return network.weights()

    for ours, theirs in zip(weights(True, "a"), weights(False, "b"), strict=True):
        assert np.array_equal(ours, theirs)


def test_the_largest_price_is_that_of_the_plane():
    """In the plane: max over a fine grid of directions."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 20001)
    grid = np.stack([np.cos(angles), np.sin(angles)])
    for _ in range(5):
        X, z = rng.standard_normal((15, 2)), rng.standard_normal((15, 3))
        found = price(X, z, rng)
        best = float(np.linalg.norm(z.T @ np.maximum(X @ grid, 0), axis=0).max())
        assert best * (1 - 1e-9) <= found.value <= best * (1 + 1e-4)
        at = z.T @ np.maximum(X @ found.direction, 0)
        assert np.allclose(at, found.value * found.sign) and np.linalg.norm(found.sign) == pytest.approx(1)


def test_one_column_is_priced_as_a_vector():
    rng = np.random.default_rng(1)
    X, z = rng.standard_normal((40, 5)), rng.standard_normal(40)
    one, several = price(X, z, np.random.default_rng(0)), price(X, z[:, None], np.random.default_rng(0), starts=512)
    assert several.value == pytest.approx(one.value, rel=1e-9)
