"""Training under every loss: the step goes along ∇L, weights are repetitions, what does not fit is refused."""

import numpy as np
import pytest
import torch

import reluopt
from reluopt.errors import ConfigError, DataError
from reluopt.losses import LOSSES, make_loss
from reluopt.network import from_weights
from reluopt.training import TrainConfig, Trainer
from reluopt.training.state import begin

SPECS = ["squared", "huber:0.7", "absolute", "quantile:0.3", "hinge", "squared_hinge", "logistic"]


def data_of(spec: str, n: int = 20, d: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    return X, np.where(y > 0, 1.0, -1.0) if make_loss(spec).classes else y


def test_every_loss_is_tried():
    assert {make_loss(spec).name for spec in SPECS} == set(LOSSES)


@pytest.mark.parametrize("spec", SPECS)
def test_a_step_goes_along_the_gradient_of_L(spec):
    X, y = data_of(spec)
    rng = np.random.default_rng(1)
    kappa = rng.uniform(0, 2, len(y))
    problem = reluopt.Problem(X, y, spec, 0.3, kappa)
    U, alpha = rng.standard_normal((4, 3)), rng.standard_normal(4)
    config = TrainConfig(loss=spec, optimizer="sgd", learning_rate=1e-4, momentum=0.0, schedule="constant", epochs=1)
    network = from_weights(U, alpha)
    result = Trainer(network, problem, config=config, progress=False).fit()
    parts = [torch.tensor(part, requires_grad=True) for part in (U, alpha)]
    f = torch.relu(torch.tensor(X) @ parts[0].T) @ parts[1]
    loss = (torch.tensor(kappa) * problem.loss.value(f, torch.tensor(y))).sum()
    (loss + 0.15 * sum((part * part).sum() for part in parts)).backward()
    for after, before in zip((network.U, network.alpha), parts, strict=True):
        torch.testing.assert_close(after.detach(), before.detach() - 1e-4 * before.grad, rtol=1e-10, atol=1e-12)
    assert result.objective == pytest.approx(problem.objective(*network.weights()))


@pytest.mark.parametrize("spec", SPECS)
def test_training_lowers_L_and_weights_are_repetitions(spec):
    X, y = data_of(spec)
    config = TrainConfig(loss=spec, width=6, epochs=60, seed=1)
    counts = np.random.default_rng(2).integers(1, 4, len(y))
    weighted = reluopt.Problem(X, y, spec, 0.2, counts)
    repeated = reluopt.Problem(np.repeat(X, counts, 0), np.repeat(y, counts), spec, 0.2)
    ends = []
    for problem in (weighted, repeated):
        network = config.make_network(3)
        start = problem.objective(*network.weights())
        end = Trainer(network, problem, config=config, progress=False).fit().objective
        assert end < start
        ends.append(end)
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_balanced_classes_have_the_same_weight():
    X, y = data_of("logistic")
    y[:] = np.where(np.arange(len(y)) < 3, 1.0, -1.0)
    problem = TrainConfig(loss="logistic", class_weight="balanced").make_problem(X, y, 0.1)
    assert problem.weights[y > 0].sum() == pytest.approx(problem.weights[y < 0].sum())
    assert problem.weights.sum() == pytest.approx(len(y))
    with pytest.raises(ConfigError, match="classes"):
        TrainConfig(class_weight="balanced")
    with pytest.raises(ConfigError, match="class_weight"):
        TrainConfig(loss="logistic", class_weight="balanced").make_problem(X, y, 0.1, np.ones(len(y)))
    config = TrainConfig(loss="logistic", class_weight="balanced", epochs=1, width=2)
    Trainer(config.make_network(X.shape[1]), problem, config=config, progress=False).fit()
    with pytest.raises(ConfigError, match="class_weight"):
        Trainer(config.make_network(X.shape[1]), reluopt.Problem(X, y, "logistic", 0.1), config=config, progress=False)


def test_a_loss_of_classes_asks_for_classes():
    X, y = data_of("squared")
    config = TrainConfig(loss="hinge", width=2, epochs=1)
    with pytest.raises(DataError, match="two classes"):
        Trainer(config.make_network(3), X, y, 0.1, config)


def test_a_configuration_that_contradicts_its_problem():
    problem = reluopt.Problem(*data_of("logistic"), "logistic", 0.1)
    config = TrainConfig(loss="hinge", width=2)
    with pytest.raises(ConfigError, match="loss"):
        begin(config.make_network(3), problem, config, None)
    silent = TrainConfig(width=2)  # says nothing of the loss: it follows
    assert begin(silent.make_network(3), problem, silent, None).config.loss == "logistic"


def test_the_score_is_in_the_record():
    for spec, name in (("squared", "train/R2"), ("logistic", "train/accuracy")):
        seen = []

        class Look(reluopt.Callback):
            def on_record(self, state, record):
                seen.append(record.scalars)  # noqa: B023

        X, y = data_of(spec)
        config = TrainConfig(loss=spec, width=8, epochs=200)
        network = config.make_network(3)
        Trainer(network, X, y, 0.01, config, callbacks=[Look()], progress=False).fit()
        f = np.maximum(X @ network.weights()[0].T, 0) @ network.weights()[1]
        assert seen[-1][name] == pytest.approx(make_loss(spec).score(f, y)[1])
