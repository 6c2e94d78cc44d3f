"""`reluopt solve` and `reluopt refine` leave runs whose proof is accepted; bad input is refused before any work."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from commands import killed_when, reluopt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reluopt import printing
from reluopt.cli.solve import _row
from reluopt.cli.train import _line
from reluopt.runs import RunFolder
from reluopt.search.records import Progress
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.runs import read_run
from reluopt.workflows.solve_run import read_earlier

DATA = ("planted", "--n", 30, "--d", 4)


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("solve")
    done = reluopt("solve", *DATA, "--gap", 0.5, "--budget", 60, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_solve_leaves_a_run_with_its_proof(solved: tuple[Path, str]) -> None:
    folder, said = solved
    assert "the gap asked for is proved" in said and "reluopt certify run" in said
    run = RunFolder.open(folder / "run")
    lines = [json.loads(line) for line in (run.path / "solve.jsonl").read_text().splitlines()]
    assert read_run(run).problem.objective(*load_weights(run)) == pytest.approx(lines[-1]["objective"])
    assert lines[-1]["gap"] <= 0.5 and (run.path / "gap.png").stat().st_size > 1000
    assert reluopt("data", *DATA, "--save", "data.npz", cwd=folder).returncode == 0
    verified = reluopt("verify", run.proof_file, "--data", "data.npz", cwd=folder)
    assert verified.returncode == 0 and "proved" in verified.stdout + verified.stderr


def test_refine_goes_on_from_a_run(solved: tuple[Path, str]) -> None:
    folder, _ = solved
    done = reluopt("refine", "run", "--gap", 0.5, "--budget", 60, "--out", "again", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "again"
    before, after = (RunFolder.open(folder / name) for name in ("run", "again"))
    problem = read_run(after).problem
    assert problem.objective(*load_weights(after)) <= problem.objective(*load_weights(before))
    assert (load_weights(after, "initial")[0] == load_weights(before)[0]).all()


def test_other_losses_and_class_weights_stay_with_the_run(tmp_path: Path) -> None:
    """Solved, refined, certified and verified with the loss and the weights that were asked for."""
    rows = [f"{i % 7},{i * i % 5},{'yes' if i % 3 else 'no'}" for i in range(15)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,kind", *rows]))
    options = ("--loss", "logistic", "--class-weight", "balanced", "--gap", 2, "--budget", 60)
    for words in (
        ("solve", "table.csv", "--target", "kind", *options, "--out", "run"),
        ("refine", "run", "--gap", 2, "--budget", 60, "--out", "again"),
        ("certify", "again", "--effort", "fast", "--time-budget", 0),
        ("verify", "again"),
    ):
        done = reluopt(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    problem = read_run(RunFolder.open(tmp_path / "again")).problem
    assert problem.loss.name == "logistic" and problem.is_weighted
    assert problem.weights[problem.y > 0].sum() == pytest.approx(problem.weights[problem.y < 0].sum())


@pytest.mark.parametrize(
    "bad",
    [
        ("solve", *DATA, "--gap", 0),
        ("solve", *DATA, "--budget", -1),
        ("solve", "nothing"),
        ("refine", "nowhere"),
        ("solve", *DATA, "--loss", "cubic"),
        ("solve", *DATA, "--class-weight", "balanced"),
    ],
)
def test_bad_input_is_refused(bad: tuple[object, ...], tmp_path: Path) -> None:
    done = reluopt(*bad, cwd=tmp_path)
    assert done.returncode == 2 and "->" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_is_kept_on_the_way_and_goes_on(tmp_path: Path) -> None:
    """Killed after the first time that the run was kept, it is whole; --resume goes on with its network and bound."""
    words = ("solve", *DATA, "--beta-fraction", 0.01, "--gap", 1e-9, "--budget", 600, "--out", "run")
    run = RunFolder(tmp_path / "run")
    killed_when(run.proof_file, *words, cwd=tmp_path)
    record, network = read_run(run), load_weights(run)
    before = read_earlier(run, record.problem)
    assert before.trace and before.bound is not None and before.bound.value > 0
    gone_on = reluopt(
        "solve", "--resume", "run", "--budget", before.seconds + 3.0, "--gap", 1e-8, "--quiet", cwd=tmp_path
    )
    assert gone_on.returncode == 0, gone_on.stderr
    after = read_earlier(run, record.problem)
    assert after.trace[: len(before.trace)] == before.trace and len(after.trace) > len(before.trace)
    assert after.bound is not None and after.bound.value >= before.bound.value
    assert record.problem.objective(*load_weights(run)) <= record.problem.objective(*network)
    assert run.config()["run"]["solve"]["gap"] == 1e-8
    assert (np.diff([line.objective for line in after.trace]) <= 0).all()
    assert reluopt("verify", "run", cwd=tmp_path).returncode == 0
    events = EventAccumulator(str(run.path), size_guidance={"scalars": 0}).Reload()
    assert len(events.Scalars("solve/objective")) == len(after.trace)
    assert events.Scalars("certificate/lower_bound")[-1].value <= after.bound.value


def test_what_cannot_go_on_is_refused(tmp_path: Path) -> None:
    assert reluopt("train", *DATA, "--epochs", 2, "--out", "trained", "-q", cwd=tmp_path).returncode == 0
    for words in (("--resume", "trained"), ("--resume", "nowhere"), (*DATA, "--resume", "trained")):
        done = reluopt("solve", *words, cwd=tmp_path)
        assert done.returncode == 2 and "->" in done.stderr


@pytest.mark.parametrize("price", [0.0, 1.00001, 999999.0, 1e6, 2.2e301, math.inf])
def test_lines_of_a_search_are_short_whatever_the_price(price: float, capsys: pytest.CaptureFixture[str]) -> None:
    now = Progress(1.0, 2.0, 1.0, 1.0, price, 3)
    _line(now)
    for said in (_row(now), capsys.readouterr().err):
        assert len(said) < 90 and printing.nearest(price, decimals=5) in said


def test_a_network_is_found_at_a_tiny_beta(tmp_path: Path) -> None:
    """No cut is left there, and prices have hundreds of digits."""
    done = reluopt("solve", *DATA, "--beta", 1e-300, "--budget", 1, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0 and "e+" in done.stdout and max(map(len, done.stderr.splitlines())) < 100
