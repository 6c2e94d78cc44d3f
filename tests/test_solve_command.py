"""`reluopt solve` and `reluopt refine` leave runs whose proof is accepted; bad input is refused before any work."""

import json
from pathlib import Path

import pytest
from test_cli import reluopt

from reluopt import Problem
from reluopt.cli.train import read_run
from reluopt.runs import RunFolder
from reluopt.training.checkpoint import load_weights

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
    data, _, beta, _ = read_run(run)
    lines = [json.loads(line) for line in (run.path / "solve.jsonl").read_text().splitlines()]
    assert Problem(data.X, data.y, beta=beta).objective(*load_weights(run)) == pytest.approx(lines[-1]["objective"])
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
    data, _, beta, _ = read_run(after)
    problem = Problem(data.X, data.y, beta=beta)
    assert problem.objective(*load_weights(after)) <= problem.objective(*load_weights(before))
    assert (load_weights(after, "initial")[0] == load_weights(before)[0]).all()


@pytest.mark.parametrize(
    "bad",
    [("solve", *DATA, "--gap", 0), ("solve", *DATA, "--budget", -1), ("solve", "nothing"), ("refine", "nowhere")],
)
def test_bad_input_is_refused(bad: tuple[object, ...], tmp_path: Path) -> None:
    done = reluopt(*bad, cwd=tmp_path)
    assert done.returncode == 2 and "->" in done.stderr
    assert not (tmp_path / "runs").exists()
