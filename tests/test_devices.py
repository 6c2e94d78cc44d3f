"""--device: refused in words before any work, handed to everything that searches, and on a GPU as on the processor."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import reluopt
from reluopt import Biases
from reluopt.bounds import BOUNDS, Bound, moment
from reluopt.cli.main import app
from reluopt.clock import Clock
from reluopt.errors import ConfigError

NOWHERE = "cuda:63"
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return reluopt.Problem(rng.standard_normal((30, 4)), rng.standard_normal(30), beta=1.0)


@pytest.fixture
def network():
    return reluopt.TrainConfig(width=6).make_network(4)


@pytest.mark.parametrize("device", [NOWHERE, "meta"])  # of the second torch makes tensors, but without numbers
@pytest.mark.parametrize("command", ["train", "solve", "relax", "path"])
def test_a_device_that_cannot_be_used_is_said_before_any_work(command, device, tmp_path):
    out = tmp_path / "run"
    done = CliRunner().invoke(app, [command, "diabetes", "--device", device, "--out", str(out)])
    assert isinstance(done.exception, ConfigError)
    assert device in str(done.exception)
    assert not out.exists()


def test_also_from_python(problem, network):
    with pytest.raises(ConfigError, match=NOWHERE):
        reluopt.certify(network, problem, config=reluopt.CertifyConfig(device=NOWHERE))
    with pytest.raises(ConfigError, match=NOWHERE):
        reluopt.solve_problem(problem, budget=1.0, device=NOWHERE)
    with pytest.raises(ConfigError, match="meta"):
        reluopt.solve_problem(problem, budget=1.0, device="meta")
    with pytest.raises(ConfigError, match="not a device"):
        reluopt.solve_problem(problem, budget=1.0, device="not a device")


class Listening(Bound):
    """What bounds are told."""

    name = "listening"

    def __init__(self):
        self.heard = []

    def run(self, problem, start, clock, device="cpu"):
        self.heard.append(device)
        yield moment(problem)


def test_a_bound_from_outside_is_told_the_device(problem, network):
    quick = reluopt.CertifyConfig(effort="fast", time_limit=1.0, gaussian_patterns=0, device="cpu:0")
    listening = Listening()
    reluopt.certify(network, problem, config=quick, extra_bounds=[listening])
    assert listening.heard == ["cpu:0"]


@GPU
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("biases", ["none", "free"])
def test_bounds_on_a_gpu_are_those_of_the_processor(outputs, biases):
    rng = np.random.default_rng(1)
    X = np.hstack([rng.standard_normal((60, 4)), np.ones((60, 1))])
    y = rng.standard_normal((60, outputs)).squeeze()
    problem = reluopt.Problem(X, y, beta=2.0, biases=Biases(output=biases, first=biases))
    known = reluopt.solve_problem(problem, budget=3.0, bounds=False).objective
    for bound in BOUNDS.values():
        if bound.takes(problem) and bound.suits(problem):
            seconds = 60.0 if bound.quick else 2.0  # quick ones end before that by themselves
            there = bound.best(problem, clock=Clock(seconds), device="cuda").value
            assert 0 < there <= known, bound.name
            if bound.quick:
                here = bound.best(problem, clock=Clock(seconds)).value
                assert abs(there - here) <= 0.01 * here, bound.name


@GPU
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_certificate_on_a_gpu(outputs):
    rng = np.random.default_rng(2)
    problem = reluopt.Problem(rng.standard_normal((60, 4)), rng.standard_normal((60, outputs)).squeeze(), beta=2.0)
    network = reluopt.TrainConfig(width=6).make_network(4, outputs)
    config = reluopt.CertifyConfig(effort="fast", device="cuda", time_limit=20.0)
    certificate = reluopt.certify(network, problem, config=config)
    assert 0 < certificate.lower_bound <= problem.objective(*network.weights())
    solved = reluopt.solve_problem(problem, budget=5.0, device="cuda")
    assert 0 < solved.bound.value <= solved.objective
