"""`reluopt relax` leaves a run that `certify` reads; `reluopt theory` names every theorem; bad input is refused."""

from pathlib import Path

import pytest
from commands import reluopt

from reluopt.certificate.config import CertifyConfig
from reluopt.clock import Clock
from reluopt.data import DataConfig
from reluopt.errors import CheckpointError
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.theory.summary import THEOREMS
from reluopt.training import TrainConfig, Trainer
from reluopt.training.checkpoint import load_weights
from reluopt.workflows import preparation
from reluopt.workflows.certification import certify_run, read_trained
from reluopt.workflows.runs import read_run

SMALL = ("planted", "--n", 25, "--d", 4)


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory) -> tuple[RunFolder, str]:
    """A run of `relax` and what it printed."""
    folder = tmp_path_factory.mktemp("relax")
    done = reluopt("relax", *SMALL, "--patterns", 20, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return RunFolder.open(folder / "run"), done.stdout


def test_relax_writes_a_run_that_certify_reads(relaxed: tuple[RunFolder, str]) -> None:
    folder, said = relaxed
    assert "20 distinct patterns" in said
    assert "reluopt certify" in said
    settings = CertifyConfig(time_budget=120.0, gaussian_patterns=0, effort="fast")
    certificate, stop = certify_run(read_trained(folder), settings)
    assert stop is None
    U, alpha = load_weights(folder)
    assert 1 <= len(U) == len(alpha) <= 25
    assert certificate["moment"].value <= certificate["objective"].value
    assert f"L = {certificate['objective'].value:.6g}"[:9] in said


def test_relax_with_more_patterns_than_the_data_have_takes_those_there_are(tmp_path: Path) -> None:
    done = reluopt("relax", "gaussian", "--n", 6, "--d", 2, "--patterns", 1000, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12 distinct patterns (of the 1,000 asked for" in done.stdout


def test_training_does_not_resume_from_a_relaxed_network(relaxed: tuple[RunFolder, str]) -> None:
    folder, _ = relaxed
    record = read_run(folder)
    with pytest.raises(CheckpointError, match="reluopt relax"):
        Trainer(record.train.make_network(record.data.d), record.problem, config=record.train, run=folder).fit(
            resume=True
        )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--patterns", 0), "patterns"),
        (("--beta", 1, "--beta-fraction", 0.1), "Both"),
    ],
)
def test_relax_refuses_bad_input_before_it_works(tmp_path: Path, extra: tuple, message: str) -> None:
    done = reluopt("relax", *SMALL, "--out", "never", *extra, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "never").exists()


def test_theory_prints_every_theorem(tmp_path: Path) -> None:
    done = reluopt("theory", *SMALL, "--patterns", 15, "--cones", 4, "--time-budget", 10, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    of_trained_networks = {"2.3", "2.4", "2.5"}
    for word in (THEOREMS.keys() - of_trained_networks) | {"holds", "fails", "assumed", "moment bound"}:
        assert word.removesuffix(" (A1)") in done.stdout


def test_theory_refuses_too_many_samples_before_it_works(tmp_path: Path, monkeypatch) -> None:
    def never(*_, **__):
        raise AssertionError("work had begun")

    monkeypatch.setattr(preparation, "beta_max_estimate", never)
    done = reluopt("theory", "planted", "--n", 10_001, "--d", 2, cwd=tmp_path)
    assert done.returncode == 2
    assert "n × n matrices" in done.stderr and "--subset 10000" in done.stderr
    monkeypatch.undo()
    asked = ("--patterns", 3, "--cones", 1, "--time-budget", 0)
    done = reluopt("theory", "planted", "--n", 10_001, "--d", 2, "--subset", 30, *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("choice", "seconds"), [({"beta": 0.3}, 10.0), ({"beta_fraction": 0.3}, 60.0), ({}, 60.0)])
def test_the_search_of_beta_max_is_short_where_beta_is_given(monkeypatch, choice: dict, seconds: float) -> None:
    clocks: list[Clock] = []

    def found(problem: Problem, clock: Clock) -> float:
        clocks.append(clock)
        return 2.0

    monkeypatch.setattr(preparation, "beta_max_estimate", found)
    prepared = preparation.prepare(DataConfig(dataset="planted", n=20, d=2), TrainConfig(**choice))
    assert clocks[0].left == pytest.approx(seconds, abs=5.0)
    assert prepared.problem.beta == choice.get("beta", 2.0 * choice.get("beta_fraction", 0.1))
