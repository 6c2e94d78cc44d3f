"""Pooled rows f = A (Xu)_+ α: values, dual, bounds, training, and torch's convolutions, against plain formulas."""

from fractions import Fraction as F

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from reluopt.beta_max import beta_max_estimate
from reluopt.bounds.registry import race
from reluopt.bounds.second_moments import beta_max_upper, moment
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.clock import Clock
from reluopt.convolution import from_convolution, to_convolution
from reluopt.errors import ConfigError, DataError
from reluopt.gate import as_whole
from reluopt.integrations import certify_module
from reluopt.network import from_weights
from reluopt.patterns.sampling import sample_patterns
from reluopt.pooling import Pooling, bags, patches
from reluopt.problem import Problem
from reluopt.programs.relaxed import RelaxedProgram
from reluopt.search.refinement import refine
from reluopt.training import TrainConfig, Trainer

SPECS = [("squared", 1), ("squared", 2), ("logistic", 1), ("cross_entropy", 3)]


def pooled_problem(spec="squared", C=1, n=8, seed=0, A=None):
    rng = np.random.default_rng(seed)
    c = np.concatenate([np.arange(3), rng.integers(0, 3, n - 3)])
    y = {"squared": rng.standard_normal((n, C) if C > 1 else n), "logistic": np.where(c > 0, 1.0, -1.0)}.get(spec, c)
    A = rng.standard_normal((n, 15)) * (rng.random((n, 15)) < 0.4) + np.eye(n, 15) if A is None else A
    problem = Problem(rng.standard_normal((A.shape[1], 3)), y, spec, pooling=Pooling.of_matrix(A))
    return problem.with_beta(0.2 * beta_max_estimate(problem)), A


def network_of(problem, m=5, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, problem.d)), rng.standard_normal((m, *problem.targets.shape[1:]))


@pytest.mark.parametrize(("spec", "C"), SPECS)
def test_values_and_gradients_are_those_of_the_formula(spec, C):
    problem, A = pooled_problem(spec, C)
    U, alpha = network_of(problem)
    u, a = (torch.tensor(part, requires_grad=True) for part in (U, alpha))
    f = torch.tensor(A) @ (torch.relu(torch.tensor(problem.X) @ u.T) @ a)
    values = problem.loss.value(f, torch.tensor(problem.y))
    L = values.sum() + problem.beta / 2 * (u.square().sum() + a.square().sum())
    slopes = torch.autograd.grad(L, (u, a))
    assert problem.n == 8 and np.allclose(problem.predict(U, alpha), f.detach().numpy(), atol=1e-12)
    assert problem.objective(U, alpha) == pytest.approx(float(L.detach()), rel=1e-12)
    for ours, theirs in zip(problem.gradient(U, alpha), slopes, strict=True):
        assert np.allclose(ours, theirs.numpy(), atol=1e-10)
    assert float(L.detach()) * (1 - 1e-14) <= problem.objective_upper(U, alpha) <= float(L.detach()) * (1 + 1e-11)
    z = problem.dual_point(problem.predict(U, alpha))
    assert np.allclose(problem.spread(z), A.T @ z)


@pytest.mark.parametrize(("spec", "C"), SPECS)
def test_bounds_are_below_every_network(spec, C):
    problem, A = pooled_problem(spec, C)
    found = list(race(problem, clock=Clock(0.5)))
    assert len({bound.method for bound in found}) == 4 - (C > 1)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((problem.d, 4000))
    directions /= np.linalg.norm(directions, axis=0)
    for bound in found:
        heights = np.maximum(problem.X @ directions, 0).T @ (A.T @ bound.z)
        assert np.abs(heights).max() <= bound.support and bound.value <= problem.zero_value
        for seed in range(20):
            U, alpha = network_of(problem, seed=seed)
            assert bound.value <= problem.objective(0.2 * U, 0.2 * alpha)
    best = max(bound.value for bound in found)
    trained = Trainer(
        from_weights(*(0.1 * w for w in network_of(problem, 20))), problem,
        config=TrainConfig(epochs=150, loss=spec, width=20), progress=False,
    ).fit()  # fmt: skip
    assert best <= trained.objective < problem.zero_value
    assert trained.objective == pytest.approx(problem.objective(*trained.network.weights()), rel=1e-9)
    assert beta_max_upper(problem, time_limit=20.0) >= 5 * problem.beta * (1 - 1e-9)


@pytest.mark.parametrize(("spec", "C"), SPECS)
def test_the_identity_changes_nothing_and_repeated_rows_are_weights(spec, C):
    problem, _ = pooled_problem(spec, C, A=np.eye(8))
    plain = Problem(problem.X, problem.y, spec, problem.beta)
    U, alpha = network_of(problem)
    assert problem.objective(U, alpha) == plain.objective(U, alpha)
    assert moment(problem, time_limit=60.0).value == pytest.approx(moment(plain, time_limit=60.0).value, rel=5e-3)
    # a sample twice is one of weight 2, and its two rows may be one
    order = np.array([*range(8), 0, 0])
    twice = Problem(plain.X[order], plain.y[order], spec, 0.1)
    A = np.eye(8)[order]
    shared = Problem(plain.X, plain.y[order], spec, 0.1, pooling=Pooling.of_matrix(A))
    weighted = Problem(plain.X, plain.y, spec, 0.1, weights=np.bincount(order))
    values = [p.objective(U, alpha) for p in (twice, shared, weighted)]
    assert values == pytest.approx([values[0]] * 3)
    bounds = [moment(p, time_limit=60.0).value for p in (shared, weighted)]
    assert bounds[0] == pytest.approx(bounds[1], rel=5e-3)


@pytest.mark.parametrize(("channels", "size", "stride", "bias"), [(1, 3, 2, False), (2, 2, 1, True)])
def test_torchs_convolutions_both_ways(channels, size, stride, bias):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(6, channels, 7, 8, dtype=torch.float64, generator=generator)
    model = nn.Sequential(
        nn.Conv2d(channels, 5, size, stride, bias=bias), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 3, bias=False),
    ).double()  # fmt: skip
    network, X, pooling = from_convolution(model, images)
    problem = Problem(X, np.arange(18.0).reshape(6, 3), pooling=pooling)
    theirs = model(images).detach().numpy()
    assert np.abs(problem.predict(*network.weights()) - theirs).max() <= 1e-12
    assert network.biases.first == bias
    again = to_convolution(network, size, stride, channels=channels, bias_column=bias)
    assert np.abs(again(images).detach().numpy() - theirs).max() <= 1e-12


def test_models_that_are_no_such_convolution_are_refused():
    images = np.ones((3, 6, 6))
    rest = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1, bias=False))
    for layers in (
        (nn.Conv2d(1, 4, 3, padding=1), *rest), (nn.Conv2d(1, 4, (3, 2)), *rest), (nn.Conv2d(2, 4, 3), *rest),
        (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), *rest[2:]), rest,
        (nn.Conv2d(1, 4, 3), *rest[:3], nn.Linear(4, 1)),
        (nn.Conv2d(1, 4, 3), *rest[:2], nn.Flatten(0), nn.Linear(4, 1, bias=False)),
        (nn.Conv2d(1, 4, 3), *rest[:3], nn.Linear(12, 1, bias=False)),
        (nn.Conv2d(1, 4, 3, stride=(1, 2)), *rest), (nn.Conv2d(1, 4, 3, dilation=2), *rest),
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            from_convolution(nn.Sequential(*layers), images)
    with pytest.raises(ConfigError):
        from_convolution(nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), *rest), np.ones((3, 2, 6, 6)))
    with pytest.raises(ConfigError, match="inputs"):
        to_convolution(from_weights(np.ones((2, 5)), np.ones(2)), 2)
    with pytest.raises(ConfigError, match="stride"):
        to_convolution(from_weights(np.ones((2, 4)), np.ones(2)), 2, 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: as_whole([1.5, 1.0], "sizes"), "sizes are not whole"),
        (lambda: as_whole([np.nan], "sizes"), "sizes.*NaN"),
        (lambda: Pooling.sum([0, 10**13]), "only 2 rows"),
        (lambda: Pooling.sum([0.5, 1.0]), "groups are not whole"),
        (lambda: Pooling.of_matrix([1.0, 2.0]), "shape"),
        (lambda: Pooling.of_matrix(np.ones((2, 2)) * 1j), "complex"),
        (lambda: Pooling.of_matrix(sparse.csr_array(np.ones((2, 2)) * 1j)), "complex"),
        (lambda: patches(np.full((2, 4, 4), np.nan), 2), "images.*NaN"),
        (lambda: patches("images", 2), "images"),
        (lambda: bags([[[1, 2], [3]]]), r"members\[0\]"),
        (lambda: bags([np.ones((2, 2, 2))]), "width"),
    ],
)  # fmt: skip
def test_what_is_no_pooling_is_refused_by_its_cause(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_patches_and_bags():
    images = np.arange(2 * 4 * 5.0).reshape(2, 4, 5)
    X, pooling = patches(images, 2)
    assert X.shape == (8, 4) and X[1].tolist() == [2, 3, 7, 8] and np.allclose(pooling.matrix.sum(axis=1), 1)
    assert patches(images, 2, 1, pool="sum")[1].matrix.sum() == 24
    X, pooling = bags([np.ones((2, 3)), np.zeros((1, 3)), 2 * np.ones((3, 3))])
    assert X.shape == (6, 3) and pooling.forward(X)[:, 0].tolist() == [2, 0, 6]
    assert np.allclose(pooling.back(np.array([1.0, 2.0, 3.0])), [1, 1, 2, 3, 3, 3])
    means = bags([np.ones((2, 3)), np.zeros((1, 3)), 2 * np.ones((3, 3))], pool="average")[1]
    assert means.forward(X)[:, 0] == pytest.approx([1, 0, 2])
    for bad in (lambda: patches(images, 9), lambda: bags([]), lambda: Pooling.sum([0.5]), lambda: Pooling.sum([0, 2])):
        with pytest.raises(DataError):
            bad()
    with pytest.raises(DataError, match="6 rows"):
        Problem(np.ones((5, 3)), np.arange(3.0), pooling=pooling)


def test_some_samples_keep_all_rows():
    problem, A = pooled_problem("squared", 1)
    U, alpha = network_of(problem)
    for index in (np.array([5, 0, 3]), np.array([2])):
        some = problem.select(index)
        assert len(some.X) == 15 and np.array_equal(some.y, problem.y[index])
        assert np.allclose(some.predict(U, alpha), A[index] @ np.maximum(problem.X @ U.T, 0) @ alpha)


def test_rounding_of_the_pooling_is_counted():
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-70, 1e70):
        A = scale * rng.standard_normal((5, 9)) * (rng.random((5, 9)) < 0.7) + np.eye(5, 9)
        pooling, s = Pooling.of_matrix(A), rng.standard_normal(9)
        exact = [sum((F(float(a)) * F(float(v)) for a, v in zip(row, s, strict=True)), F(0)) for row in A]
        low, high = pooling.interval(s, s)
        assert all(F(float(a)) <= e <= F(float(b)) for a, e, b in zip(low, exact, high, strict=True))
        z = rng.standard_normal(5)
        apart = [
            F(float(v)) - sum((F(float(A[i, r])) * F(float(z[i])) for i in range(5)), F(0))
            for r, v in enumerate(pooling.back(z))
        ]
        assert sum(e * e for e in apart) <= F(pooling.back_error(z)) ** 2


@pytest.mark.parametrize(("spec", "C"), [("squared", 1), ("cross_entropy", 3)])
def test_certify_takes_pooled_rows(spec, C):
    problem, _ = pooled_problem(spec, C)
    config = TrainConfig(epochs=300, loss=spec, width=10)
    network = config.make_network(problem.d, problem.outputs)
    start = network.weights()[0]
    Trainer(network, problem, config=config, progress=False).fit()
    found = certify(network, problem, config=CertifyConfig(effort="fast", time_limit=3.0), initial_U=start)
    assert 0 < found.lower_bound <= found.objective
    assert 0 <= found["own_dual"].value <= found["own_primal"].value * (1 + 1e-9)
    assert found["own_dual"].value >= 0.5 * found.objective
    assert "pooled" in " ".join(found.notes)


def test_the_search_goes_down_on_pooled_rows_of_several_outputs():
    problem, _ = pooled_problem("cross_entropy", 3)
    found = refine(problem, clock=Clock(1.0), most_rounds=6)
    assert found.objective < problem.zero_value
    assert found.objective == pytest.approx(problem.objective(*found.network.weights()))


def test_what_is_not_there_says_so():
    problem, _ = pooled_problem()
    with pytest.raises(ConfigError, match="pooled"):
        RelaxedProgram(problem, sample_patterns(problem.X, 3, np.random.default_rng(0)))
    with pytest.raises(ConfigError, match="pooled"):
        refine(problem)
    with pytest.raises(ConfigError, match="pooled"):
        Trainer(from_weights(*network_of(problem)), problem, config=TrainConfig(batch_size=4), progress=False)


@pytest.mark.parametrize("bias", [False, True])
def test_certify_module_takes_a_convolution(bias):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 1, 4, 4, dtype=torch.float64, generator=generator)
    y = torch.randn(8, 1, dtype=torch.float64, generator=generator)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 2, 2, bias=bias), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1, bias=False)
    ).double()
    with torch.no_grad():
        model[0].weight *= 0.2
    loss, decay = nn.MSELoss(), 0.01
    config = CertifyConfig(effort="fast", time_limit=2.0)
    found = certify_module(model, images, y, weight_decay=decay, loss=loss, config=config)
    squares = sum(float((p.detach() ** 2).sum()) for p in model.parameters())
    own = float(loss(model(images), y).detach()) + decay / 2 * squares
    assert found.own_objective == pytest.approx(own, rel=1e-12) and 0 < found.own_lower_bound <= own
    adam = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=decay)
    for _ in range(200):  # no training goes below the bound
        adam.zero_grad()
        loss(model(images), y).backward()
        adam.step()
    squares = sum(float((p.detach() ** 2).sum()) for p in model.parameters())
    assert found.own_lower_bound <= float(loss(model(images), y).detach()) + decay / 2 * squares
    if bias:
        with pytest.raises(ConfigError, match="not decayed"):
            certify_module(model, images, y, weight_decay=decay, loss=loss, decayed_biases=False)


def test_the_rounding_of_an_average_is_counted_in_what_is_proved_of_the_model():
    """1/49 is rounded down, so the problem's outputs are smaller than the model's, whose β is smaller by as much."""
    share = F(1 / 49) * 49
    images = torch.randn(2, 1, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1, bias=False)
    ).double()
    y, config = torch.tensor([[1.0], [-2.0]], dtype=torch.float64), CertifyConfig(effort="fast", time_limit=0.5)
    found = certify_module(model, images, y, weight_decay=0.125, loss=nn.MSELoss(), config=config)
    assert share < 1 == found.factor and found.own_lower_bound > 0
    assert F(found.own_lower_bound) <= share * F(found.certificate.lower_bound)


class Leaky(nn.ReLU):
    def forward(self, x):
        return torch.where(x > 0, x, 0.1 * x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.__setitem__(4, nn.Linear(3, 1)), "intercept"),  # its bias is zero now, and trained
        (lambda m: m[0].weight.requires_grad_(False), "frozen"),
        (lambda m: m[0].bias.requires_grad_(False), "frozen"),
        (lambda m: nn.utils.parametrizations.weight_norm(m[0]), "weight"),
        (lambda m: m.__setitem__(1, Leaky()), "something else"),
    ],
)
def test_certify_module_refuses_a_convolution_whose_problem_is_another_one(change, words):
    images, y = torch.randn(4, 1, 4, 4), torch.randn(4, 1)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1, bias=False)
    )
    change(model)
    if model[-1].bias is not None:
        nn.init.zeros_(model[-1].bias)
    with pytest.raises(ConfigError, match=words):
        certify_module(model, images, y, weight_decay=0.1, loss=nn.MSELoss(), config=CertifyConfig(effort="fast"))


def test_equal_rows_are_merged_into_one():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (40, 3)).astype(float)
    pooling = Pooling.average(np.repeat(np.arange(10), 4))
    y, (U, alpha) = rng.standard_normal(10), (rng.standard_normal((6, 3)), rng.standard_normal(6))
    rows, merged = pooling.merged(X)
    assert len(rows) == merged.total <= 8
    plain, small = Problem(X, y, beta=0.05, pooling=pooling), Problem(rows, y, beta=0.05, pooling=merged)
    assert np.allclose(plain.predict(U, alpha), small.predict(U, alpha), atol=1e-12)
    nothing = Pooling.of_matrix([[1.0, -1.0]]).merged(np.ones((2, 3)))
    assert nothing[0].shape == (2, 3)


def test_what_is_asked_of_a_pooling_leaves_its_arrays_as_they_were():
    """scipy sorts in place: a fingerprint taken before would be that of other data."""
    rows = np.array([3, 0, 2, 1, 4, 0])
    pooling = Pooling(np.array([3, 3]), rows, np.array([1.0, -2.0, 0.5, 1.0, -1.0, 2.0]), 5)
    problem = Problem(np.random.default_rng(0).standard_normal((5, 2)), np.array([1.0, -1.0]), pooling=pooling)
    before = problem.fingerprint, [part.copy() for part in pooling.arrays]
    pooling.matrix.sort_indices()
    pooling.interval(np.zeros(5), np.ones(5))
    assert all((now == then).all() for now, then in zip(pooling.arrays, before[1], strict=True))
    assert problem.with_beta(2.0).fingerprint == before[0]
