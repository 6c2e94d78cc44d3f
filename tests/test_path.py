"""A path over β: every number is proved at its β, and none is worse than what one β alone gives."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections import namedtuple
from fractions import Fraction

import numpy as np
import pytest
import torch
from arrays import REFUSED
from commands import reluopt

from reluopt import Dataset, Problem, bounds
from reluopt.beta_max import beta_max_estimate
from reluopt.errors import ConfigError, DataError
from reluopt.interrupts import Interrupted
from reluopt.losses import make_loss
from reluopt.runs import RunFolder
from reluopt.search import path as module
from reluopt.search.path import concave_bound, regularization_path
from reluopt.search.records import SolveInterrupted
from reluopt.training.checkpoint import load_weights


def problem(seed: int, n: int = 18, d: int = 2, loss: str = "squared") -> tuple[Problem, np.ndarray, np.ndarray]:
    """A problem and held-out samples of the same kind."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n + 40, d))
    y = np.abs(X[:, 0]) - 0.5 + 0.2 * rng.standard_normal(n + 40)
    y = np.where(y > 0, 1.0, -1.0) if make_loss(loss).classes else y
    return Problem(X[:n], y[:n], loss, 1.0), X[n:], y[n:]


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_the_optimum_lies_between_at_every_beta(loss: str) -> None:
    made, X, y = problem(1, loss=loss)
    seen = []
    path = regularization_path(
        made, fractions=[0.05, 0.6, 0.2], gap=1e-3, budget=60.0, validation=(X, y), callback=seen.append
    )
    betas = [point.beta for point in path.points]
    assert betas == sorted(betas, reverse=True) and [point.beta for point in seen] == betas
    assert betas[0] == pytest.approx(0.6 * beta_max_estimate(made))
    for point in path.points:
        at = made.with_beta(point.beta)
        value = at.objective(*point.network.weights())
        optimum = bounds.exact(at).value
        assert point.bound <= optimum * (1 + 1e-9) and optimum <= value * (1 + 1e-9) <= point.objective * (1 + 1e-8)
        assert Fraction(point.objective) <= Fraction(point.bound) * (1 + Fraction(point.gap)) and point.gap <= 1e-3
        f = made.predict(*point.network.weights())
        assert f.shape == (made.n,) and point.test_loss == pytest.approx(
            float(
                made.loss.value(np.maximum(X @ point.network.weights()[0].T, 0) @ point.network.weights()[1], y).mean()
            )
        )
    losses = [point.test_loss for point in path.points]
    assert path.best == int(np.argmin(losses)) and path.score == ("accuracy" if loss == "logistic" else "R2")
    # the optimum falls with β, and so does what the path proves
    assert (np.diff([point.objective for point in path.points]) <= 0).all()
    assert (np.diff([point.bound for point in path.points]) <= 0).all()


def test_concavity_proves_between() -> None:
    """Against a concave, rising function with p(0) ≥ 0: never above it, exact on chords, never below what is known."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        slopes, heights = rng.uniform(0, 2, 5), rng.uniform(0, 3, 5)

        def optimum(beta: float, slopes: np.ndarray = slopes, heights: np.ndarray = heights) -> float:
            return float((heights + slopes * beta).min())

        known = [(beta, optimum(beta) * rng.uniform(0.8, 1.0)) for beta in rng.uniform(0.1, 3, 4)]
        for beta in (*rng.uniform(0.01, 4, 5), *(b for b, _ in known)):
            value, _ = concave_bound(float(beta), known)
            assert 0 <= value <= optimum(float(beta)) * (1 + 1e-12)
        for beta, value in known:
            assert concave_bound(beta, known)[0] >= value * (1 - 1e-15)
    assert concave_bound(2.0, [(1.0, 1.0), (3.0, 2.0)])[0] == 1.5
    assert concave_bound(0.5, [(1.0, 1.0)])[0] == 0.5
    assert concave_bound(5.0, [(1.0, 1.0)])[0] == 1.0


def test_bad_arguments_are_named() -> None:
    made, X, y = problem(2)
    for bad in ({"betas": [0.0]}, {"betas": []}, {"betas": [1.0], "fractions": [0.1]}, {"budget": 0.0}, {"gap": -1.0}):
        with pytest.raises(ConfigError):
            regularization_path(made, **bad)
    with pytest.raises(DataError):
        regularization_path(made, validation=(X[:, :1], y))


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of what is in beta there
@pytest.mark.parametrize("kind", REFUSED)
def test_validation_samples_pass_the_gate(kind: str) -> None:
    made, X, y = problem(2)
    make, words = REFUSED[kind]
    with pytest.raises(DataError, match="(?s)" + words.replace("no X", "no validation")):
        regularization_path(made, validation=(make(np.abs(X).round() + 1.0 * (X > 1)), y))


def test_validation_samples_are_taken_as_people_have_them() -> None:
    made, X, y = problem(2)
    once = {"betas": [2.0], "gap": 5.0}
    for held_out in ((X, y), (torch.tensor(X, requires_grad=True), y[:, None]), Dataset.from_arrays(X, y)):
        point = regularization_path(made, validation=held_out, **once).points[0]
        U, alpha = point.network.weights()
        assert point.score == pytest.approx(made.loss.score(np.maximum(X @ U.T, 0) @ alpha, y)[1])
    for bad in (X, "X", (X, y, y), (X, np.full(len(y), np.nan)), (X, None), (X, y[1:]), (X, np.column_stack([y, y]))):
        with pytest.raises(DataError):
            regularization_path(made, validation=bad, **once)
    data = Dataset.from_arrays(made.X, made.y)
    point = regularization_path(data, **once).points[0]
    assert point.objective == made.with_beta(2.0).objective_upper(*point.network.weights())
    for no_problem in (X, data.X.tolist()):
        with pytest.raises(ConfigError, match="Give a Problem"):
            regularization_path(no_problem, **once)


def test_the_command_leaves_a_run_at_every_beta(tmp_path) -> None:
    data = ("planted", "--n", 40, "--d", 3, "--test-fraction", 0.4)
    done = reluopt("path", *data, "--fractions", "0.5,0.1", "--gap", 0.5, "--budget", 20, "--out", "path", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "path" / "path.json").read_text())
    assert [point["fraction"] for point in record["points"]] == [0.5, 0.1]
    assert record["best"] in (0, 1) and (tmp_path / "path" / "path.png").stat().st_size > 1000
    for point in record["points"]:
        assert point["objective"] >= point["bound"] > 0
    assert reluopt("data", *data, "--save", "data.npz", cwd=tmp_path).returncode == 0
    verified = reluopt(
        "verify",
        tmp_path / "path" / record["points"][0]["run"] / "certificate.safetensors",
        "--data",
        "data.npz",
        cwd=tmp_path,
    )
    assert verified.returncode == 0, verified.stderr
    again = reluopt("path", *data, "--out", "path", cwd=tmp_path)
    assert again.returncode == 2 and "->" in again.stderr
    assert reluopt("path", *data, "--fractions", "0.1,x", "--out", "other", cwd=tmp_path).returncode == 2


PATH = ("path", "planted", "--n", 12, "--d", 2, "--fractions", "0.5,0.2,0.1", "--gap", 0.5, "--budget", 9)


class Killed(BaseException):
    """In the place of SIGKILL: nothing catches it."""


@pytest.mark.parametrize("how", ["stopped in a search", "stopped before one", "killed"])
def test_each_beta_is_there_as_soon_as_it_is_solved(how: str, tmp_path, monkeypatch) -> None:
    """Whatever ends a path at its third β, the folder has the two before; an interruption prints them, too."""
    done = []

    def solve(*arguments, **options):
        done.append(solved := original(*arguments, **options))
        if len(done) == 3:
            stop = Interrupted("", signal.SIGTERM)
            raise {"stopped in a search": SolveInterrupted(solved, stop), "stopped before one": stop}.get(how, Killed())
        return solved

    original = module.solve_problem
    monkeypatch.setattr(module, "solve_problem", solve)
    if how == "killed":
        with pytest.raises(Killed):
            reluopt(*PATH, "--out", "path", cwd=tmp_path)
    else:
        said = reluopt(*PATH, "--out", "path", cwd=tmp_path)
        assert said.returncode == 143, said.stderr
        assert "0.5 " in said.stdout and "0.2 " in said.stdout
        assert f"β {3 if 'search' in how else 2} of 3: 'path' holds" in said.stderr
    monkeypatch.undo()
    record = json.loads((tmp_path / "path" / "path.json").read_text())
    assert not record["finished"]
    assert [point["fraction"] for point in record["points"]][:2] == [0.5, 0.2]
    for point, solved in zip(record["points"], done, strict=False):
        run = RunFolder.open(tmp_path / "path" / point["run"])
        assert len(load_weights(run)[0]) == point["neurons"] > 0 and run.proof_file.is_file()
        assert point["bound"] >= solved.bound.value
    assert (tmp_path / "path" / "path.png").is_file() == ("stopped" in how)
    assert reluopt("solve", "--resume", f"path/{record['points'][-1]['run']}", "-q", cwd=tmp_path).returncode == 0


def full(*_, **__) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_path_asks_for_space_before_it_works_and_leaves_no_empty_folder(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("reluopt.workflows.solve_run.save_weights", full)
        said = reluopt(*PATH, "--out", "path", cwd=tmp_path)
        assert said.returncode == 2 and "cannot be written" in said.stderr
        assert not (tmp_path / "path").exists()
    monkeypatch.setattr(module, "solve_problem", pytest.fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: namedtuple("usage", "free")(10**6))
    said = reluopt(*PATH, "--out", "path", cwd=tmp_path)
    assert said.returncode == 2 and "has 1.0 MB left" in said.stderr
    assert not (tmp_path / "path").exists()
