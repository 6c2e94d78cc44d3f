"""Biases that are not decayed: the problem, its dual, its bounds, its training."""

from fractions import Fraction

import bias_problems as cases
import numpy as np
import pytest
import torch
from counts import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from reluopt.beta_max import beta_max_estimate, largest_price
from reluopt.biases import Biases, sums, with_zero_sums
from reluopt.bounds import beta_max_upper, bias_forms
from reluopt.bounds.bias_forms import Lift, LiftedEvidence, best_levels
from reluopt.bounds.evidence import theorem_a, unsplit
from reluopt.bounds.output_forms import theorem_c
from reluopt.bounds.protocol import Start
from reluopt.bounds.registry import BOUNDS, race
from reluopt.clock import Clock
from reluopt.errors import ConfigError
from reluopt.network import from_weights
from reluopt.patterns.sampling import sample_patterns
from reluopt.problem import Problem
from reluopt.programs.ridge import RidgeProgram
from reluopt.search.optimal_networks import minimal_network, optimal_set
from reluopt.theory.summary import report
from reluopt.training import TrainConfig, Trainer

seeds = st.integers(0, 10**6)


# -- the theorem, by brute force ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("levels", ["best", "any"])
def test_no_neuron_exceeds_the_bound_whatever_its_bias(outputs, levels, monkeypatch):
    """Theorems A and C with trace weight 0 on b: random z that sum to 0, random multipliers, 30 u with all kinks b.

    Also at levels (λ, μ) far from the best ones: what they lack is added.
    """
    if levels == "any":
        shares, best = np.random.default_rng(0), bias_forms.best_levels
        monkeypatch.setattr(bias_forms, "best_levels", lambda *a: tuple(v * shares.uniform() for v in best(*a)))
    for seed in range(tries(3, 150)):  # 20 cases each
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(2, 9)), int(rng.integers(1, 4))
        X = np.hstack([rng.standard_normal((n, d)) * rng.uniform(0.1, 3) + rng.standard_normal(d), np.ones((n, 1))])
        lift, U = Lift.of(X), rng.standard_normal((30, d))
        U /= np.linalg.norm(U, axis=1, keepdims=True)
        for _ in range(20):
            z, nu = rng.standard_normal((n, outputs)), rng.uniform(0.1, 3.0, n)
            z = with_zero_sums(z[:, 0] if outputs == 1 else z)
            if outputs == 1:
                q = [np.maximum(-v, 0) * rng.uniform(0, 1, n) for v in (z, -z)]
                sides = [theorem_a(v, part, nu * np.maximum(v, 0)) for v, part in zip((z, -z), q, strict=True)]
                inner = unsplit(z, d + 1, *sides)
            else:
                inner = theorem_c(z, nu)
            bound = LiftedEvidence(inner, lift).support_upper(X)
            assert cases.largest_at_kinks(X[:, :-1], z, U).max() <= bound < np.inf
            small = Lift(lift.centre, lift.reach * (1 - 1e-9))
            assert LiftedEvidence(inner, small).support_upper(X) == np.inf


@given(seeds, st.sampled_from(["squared", "huber:0.7", "logistic"]), st.sampled_from(["free", "decayed"]))
@settings(max_examples=tries(15, 3000), deadline=None)
def test_the_dual_value_with_an_intercept_is_below_every_network(seed, loss, output):
    """Random z made to sum to 0, B by brute force over random u, networks of those u with their best intercept."""
    p = cases.problem(seed, Biases(output), loss, n=6)
    rng = np.random.default_rng(seed)
    z = p.balanced_dual_point(rng.standard_normal(6))
    U = rng.standard_normal((5, p.d))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    largest = float(np.abs(z @ np.maximum(p.X @ U.T, 0)).max())
    below = p.proved_value(z, largest * (1 + 1e-12))[0]
    alpha = rng.uniform(0, 2) * rng.standard_normal(5)
    size = np.sqrt(np.abs(alpha))
    net = (size[:, None] * U, np.sign(alpha) * size)
    assert below <= p.objective(*net, p.best_intercept(p.predict(*net))) * (1 + 1e-9)


def test_the_kinks_are_enough_and_the_sum_must_be_zero():
    """Beyond its kinks zᵀ(Xu + b)_+ is constant in b where Σz = 0, and unbounded where it is not."""
    rng = np.random.default_rng(0)
    X, z, u = rng.standard_normal((7, 2)), with_zero_sums(rng.standard_normal(7)), rng.standard_normal(2)
    far = 3 * np.abs(X @ u).max()
    values = [float(z @ np.maximum(X @ u + b, 0)) for b in (far, 2 * far, 9 * far)]
    assert np.allclose(values, float(z @ (X @ u))) and np.maximum(X @ u - far, 0).max() == 0
    assert abs(float((z + 1) @ np.maximum(X @ u + 1e6, 0))) > 1e5


def test_a_ball_holds_all_rows_and_less_is_seen():
    X = np.hstack([np.random.default_rng(1).standard_normal((20, 3)) + 5, np.ones((20, 1))])
    lift = Lift.of(X)
    assert lift.covers(X) and lift.reach < np.linalg.norm(X[:, :3], axis=1).max()
    assert not Lift(lift.centre, lift.reach * (1 - 1e-9)).covers(X)
    assert not lift.covers(np.hstack([X[:, :3], np.full((20, 1), 2.0)]))


@given(seeds)
@settings(max_examples=tries(25, 500), deadline=None)
def test_the_levels_hold_the_matrix(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 7))
    half = rng.standard_normal((size, size))
    M = half @ half.T - rng.uniform(0, 2) * np.eye(size)
    level, spread = best_levels(M, 1)
    diagonal = np.concatenate([[level], np.full(size - 2, level - spread), [spread]])
    assert np.linalg.eigvalsh(np.diag(diagonal) - M)[0] >= -1e-9 * np.abs(M).max()


# -- z that sums to 0, exactly -----------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 60), st.sampled_from([1e-310, 1e-200, 1.0, 1e150]))
@settings(max_examples=tries(60, 2000), deadline=None)
def test_sums_are_exactly_zero_and_no_entry_grows(seed, n, size):
    z = size * np.random.default_rng(seed).standard_normal(n) ** 3
    settled = with_zero_sums(z)
    assert sums(settled) == [Fraction(0)]
    assert (np.abs(settled) <= np.abs(z)).all() and (settled * z >= 0).all()
    if size < 1e-300:
        return
    near = with_zero_sums(z - z.mean())
    assert np.abs(near - (z - z.mean())).max() <= 1e-12 * n * np.abs(z).max()


@given(seeds, st.integers(2, 5), st.booleans())
@settings(max_examples=tries(40, 1000), deadline=None)
def test_rows_and_columns_of_the_cross_entropy_sum_to_zero(seed, C, weighted):
    p = cases.problem(seed, Biases("free"), "cross_entropy", C, n=12, weighted=weighted)
    z = p.balanced_dual_point(np.random.default_rng(seed).standard_normal((12, C)))
    assert not any(sums(z)) and not any(sums(z.T)) and z.any()
    assert p.proved_value(z, 0.0)[0] > -np.inf and ((p.weights[:, None] * p.targets - z) >= 0).all()


# -- the problem -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("biases", "outputs"), [(b, c) for b in cases.KINDS for c in (1, 3)])
def test_objective_gradient_and_proved_objective(biases, outputs):
    p = cases.problem(3, biases, outputs=outputs)
    parts = cases.network(4, p)
    value = cases.cost(p, *parts)
    assert p.objective(*parts) == pytest.approx(value, rel=1e-12)
    assert value <= p.objective_upper(*parts) * (1 + 1e-12) and p.objective_upper(*parts) <= value * (1 + 1e-9)
    net = from_weights(*parts)
    net.objective(p).backward()
    by_U, by_alpha = p.gradient(*parts)
    assert np.allclose(net.U.grad, by_U) and np.allclose(net.alpha.grad, by_alpha)
    balanced = (*p.balanced(*parts[:2]), *parts[2:])
    assert p.objective(*balanced) == pytest.approx(p.balanced_objective(*parts), rel=1e-12)
    assert np.allclose(p.predict(*balanced), p.predict(*parts))
    scaled, units = p.scaled()
    in_units = (parts[0] / units.weight, parts[1] / units.weight, *(c / units.f for c in parts[2:]))
    assert scaled.objective(*in_units) * units.value == pytest.approx(value, rel=1e-10)


def test_words_that_are_none_and_columns_that_are_missing():
    with pytest.raises(ConfigError, match="output bias is 'some'"):
        Biases(output="some")
    with pytest.raises(ConfigError, match="first bias is 'decayed'"):
        Biases(first="decayed")
    with pytest.raises(ConfigError, match="last column of ones"):
        Problem(np.eye(3), np.ones(3), biases=Biases(first="free"))
    assert not Biases() and Biases("decayed") and "free first-layer" in Biases(first="free").words


@pytest.mark.parametrize(("biases", "loss"), cases.kinds_and_losses())
def test_without_neurons_the_best_constant_is_the_optimum(biases, loss):
    p = cases.problem(5, biases, loss)
    grid = np.linspace(-6, 6, 401)
    paid = 0.5 * (p.intercept_decay or 0.0) * grid**2
    costs = [p.loss_value(np.full(p.n, c)) + extra for c, extra in zip(grid, paid, strict=True)]
    assert p.zero_value <= min(costs) + 1e-6
    assert p.zero_value_lower <= p.zero_value * (1 + 1e-12) and p.zero_value_lower >= p.zero_value - 1e-4


def test_what_has_no_biases_refuses_them():
    p, one = cases.problem(0, Biases("free")), np.random.default_rng(0)
    first = cases.problem(0, Biases(first="free"))
    for refused in (
        lambda: RidgeProgram(p, sample_patterns(p.X, 5, one)),
        lambda: report(p),
        lambda: list(race(first, names=["exact"])),
        lambda: minimal_network(p, from_weights(np.ones((1, p.d)), np.ones(1))),
        lambda: optimal_set(p, from_weights(np.ones((1, p.d)), np.ones(1)), sample_patterns(p.X, 5, one)),
    ):
        with pytest.raises(ConfigError, match="bias") as refusal:
            refused()
        assert "certify" in refusal.value.remedy or "tightened" in refusal.value.remedy


# -- bounds ------------------------------------------------------------------------------------------------------------


@given(seeds, st.sampled_from(cases.kinds_and_losses()), st.booleans())
@settings(max_examples=tries(3, 500), deadline=None)
def test_no_bound_is_above_any_network(seed, kind, weighted):
    p = cases.problem(seed, *kind, weighted=weighted)
    below = max(bound.value for bound in race(p, Start(), Clock(0.2)))
    sizes = (0.0, 0.1, 0.5, 1.0)
    nets = [cases.network(seed + k, p, size=size) for k, size in enumerate(sizes)]
    if p.biases.intercept:  # the best intercept of each
        nets = [(U, a, p.best_intercept(p.predict(U, a))) for U, a, _ in nets]
    assert 0 <= below <= min(p.objective_upper(*net) for net in nets)
    assert below <= p.zero_value * (1 + 1e-9)


@given(seeds, st.sampled_from(cases.OF_OUTPUTS), st.sampled_from(cases.KINDS[:2]))
@settings(max_examples=tries(2, 300), deadline=None)
def test_no_bound_is_above_any_network_of_several_outputs(seed, loss, biases):
    p = cases.problem(seed, biases, loss, outputs=3)
    below = max(bound.value for bound in race(p, Start(), Clock(0.2)))
    U, a, _ = cases.network(seed, p, size=0.3)
    assert 0 <= below <= min(p.objective_upper(U, a, p.best_intercept(p.predict(U, a))), p.zero_value * (1 + 1e-9))


@pytest.mark.parametrize("biases", cases.KINDS)
def test_near_beta_max_the_bound_is_the_constant(biases):
    """β_max with biases: above its proved upper bound the best network is a constant, and the moment bound says so."""
    p = cases.problem(7, biases, n=6, beta=1.0)
    p = p.with_beta(beta_max_estimate(p))
    assert largest_price(p, p.zero_dual_point, np.random.default_rng(0)) == pytest.approx(p.beta, rel=1e-2)
    p = p.with_beta(3.0 * beta_max_upper(p, time_limit=0.2))
    assert beta_max_upper(p, time_limit=0.2) <= p.beta
    assert 0.95 * p.zero_value <= BOUNDS["moment"].best(p, clock=Clock(0.5)).value <= p.zero_value * (1 + 1e-9)


# -- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", cases.KINDS)
@pytest.mark.parametrize("batch", [None, 4, "lbfgs"])
def test_training_goes_down_the_objective_with_its_biases(biases, batch):
    p = cases.problem(1, biases, n=12, beta=0.2)
    method = {"optimizer": "lbfgs"} if batch == "lbfgs" else {"optimizer": "sgd", "momentum": 0.0, "batch_size": batch}
    settings = TrainConfig(width=6, epochs=30, learning_rate=1e-3, **method,
                           output_bias=None if biases.output == "none" else biases.output,
                           first_bias="free" if biases.first_free else None)  # fmt: skip
    net = settings.make_network(p.d)
    U, alpha, *own = net.weights()
    trainer = Trainer(net, p, config=settings, progress=False)
    result = trainer.fit()
    assert result.objective == pytest.approx(p.objective(*net.weights()), rel=1e-12)
    assert result.objective < p.objective(U, alpha, *own)
    net.zero_grad()
    net.objective(p).backward()
    slope = np.sqrt(sum(float((w.grad**2).sum()) for w in net.parameters()))
    assert result.stationarity_residual == pytest.approx(slope, rel=1e-9)


def test_a_step_moves_free_biases_by_the_loss_alone():
    p = cases.problem(2, Biases("free", "free"), beta=5.0)
    settings = TrainConfig(width=3, epochs=1, optimizer="sgd", learning_rate=1e-3, momentum=0.0, schedule="constant")
    net = settings.replace(output_bias="free").make_network(p.d)
    before = [torch.from_numpy(part).requires_grad_() for part in net.weights()]
    f = torch.relu(torch.from_numpy(p.X) @ before[0].T) @ before[1] + before[2]
    (0.5 * ((f - torch.from_numpy(p.y)) ** 2).sum()).backward()
    Trainer(net, p, config=settings, progress=False).fit()
    decayed = [before[0] * torch.tensor([1.0, 1.0, 0.0]), before[1], 0 * before[2]]
    for now, then, paid in zip(net.parameters(), before, decayed, strict=True):
        assert torch.allclose(now, then - 1e-3 * (then.grad + 5.0 * paid))


def test_a_network_and_a_problem_must_agree_on_the_intercept():
    p = cases.problem(0, Biases("free"))
    with pytest.raises(ConfigError, match="an intercept, and the network has none"):
        Trainer(TrainConfig(width=2).make_network(p.d), p, progress=False)
