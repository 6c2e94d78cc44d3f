"""The studies in experiments/: the small ones run, the committed ones are what their scripts and READMEs say."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.datasets import load_digits

from reluopt.tracking import style

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"

SMALL = sorted(EXPERIMENTS.glob("*/small.toml"))
#: Studies whose README quotes numbers through a function ``table`` of run.py.
TABLES = sorted(
    run.with_name("results.json")
    for run in EXPERIMENTS.glob("*/run.py")
    if all(run.with_name(needed).exists() for needed in ("results.json", "README.md"))
    and "\ndef table(" in run.read_text(encoding="utf-8")
)
#: The studies of the paper's figures and claims.
STUDIES = {"figure1", "figure2", "peers", "regularization", "theorem21", "theorem25"}
#: Scripts beside a study with results of their own name, whose table the folder's README has.
SCRIPTS = [EXPERIMENTS / "benchmarks" / "output_sdp.json", EXPERIMENTS / "race" / "paired.json"]
FRAMED = [path for path in TABLES if (path.parent / "config.toml").exists()]


def name(path: Path) -> str:
    return path.parent.name


def script(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The study's run.py as a module; it may import its neighbours."""
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location(f"{folder.name}_run", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def results_of(path: Path) -> Any:
    """What ``table`` takes: the results of the frame's record, or the whole of an older file."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return record["results"] if isinstance(record, dict) and "results" in record else record


def assert_picture(path: Path) -> None:
    """A PNG that can be shown in a README, and that shows something."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert path.stat().st_size < style.LARGEST_FILE
    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) >= 200
    assert pixels.max() - pixels.min() > 0.5  # ink on paper
    assert 0.005 < (pixels.min(axis=2) < 0.9 * pixels.max()).mean() < 0.9  # and neither nearly none nor nearly all


def test_every_study_of_the_paper_is_there():
    assert {name(path) for path in SMALL} >= STUDIES
    assert {name(path) for path in FRAMED} >= STUDIES


@pytest.mark.slow
@pytest.mark.parametrize("config", SMALL, ids=name)
def test_the_small_study_runs_and_is_drawn_again(config, tmp_path, monkeypatch):
    def study(*options):
        monkeypatch.setattr(sys, "argv", ["run.py", str(config), "--out", str(tmp_path), *options])
        runpy.run_path(str(config.parent / "run.py"), run_name="__main__")

    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(config.parent))
    study("--workers", "1")
    assert_picture(tmp_path / "figure.png")
    record = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert record["failed"] == []
    assert record["config"] == tomllib.loads(config.read_text(encoding="utf-8"))

    (tmp_path / "figure.png").unlink()
    study("--redraw")
    assert_picture(tmp_path / "figure.png")
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["results"] == record["results"]


@pytest.mark.parametrize("path", TABLES, ids=name)
def test_the_readme_has_the_table_of_the_results(path, monkeypatch):
    readme = (path.parent / "README.md").read_text(encoding="utf-8").splitlines()
    lines = [line for line in script(path.parent, monkeypatch).table(results_of(path)) if line]
    assert len(lines) >= 3  # titles, rule, numbers
    assert [line for line in lines if line not in readme] == []


@pytest.mark.parametrize("results", SCRIPTS, ids=lambda path: path.stem)
def test_the_readme_has_the_table_of_a_script_beside(results, monkeypatch):
    monkeypatch.syspath_prepend(str(results.parent))
    lines = runpy.run_path(str(results.with_suffix(".py")))["table"](json.loads(results.read_text(encoding="utf-8")))
    readme = (results.parent / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 3
    assert [line for line in lines if line not in readme] == []


def test_ten_classes_of_image_files_are_trained_bounded_and_checked(tmp_path, capsys):
    digits = load_digits()
    pixels, labels = digits.images[:80, 2:6, 2:6].astype(np.uint8), digits.target[:80].astype(np.uint8)
    for kind, values in (("images-idx3", pixels), ("labels-idx1", labels)):
        head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">u4").tobytes()
        (tmp_path / f"train-{kind}-ubyte").write_bytes(head + values.tobytes())
    main = runpy.run_path(str(EXPERIMENTS / "benchmarks" / "mnist10.py"))["main"]
    main(tmp_path, images=40, fraction=0.1, width=3, epochs=20, budget=0.2, device="cpu")
    problem, network, *bounds, checked = map(json.loads, capsys.readouterr().out.splitlines())
    assert (problem["n"], problem["d"], problem["outputs"]) == (40, 16, 10)
    values = [line["bound"] for line in bounds]
    assert sorted(set(values)) == values
    assert 0 < values[-1] < network["L"] < problem["zero_network"]
    assert bounds[-1]["ratio"] == pytest.approx(checked["ratio_at_most"], rel=1e-6)
    assert checked["optimum_at_least"] == pytest.approx(values[-1], rel=1e-6)


@pytest.mark.parametrize("path", FRAMED, ids=name)
def test_committed_results_are_those_of_the_committed_configuration(path, tmp_path, monkeypatch):
    record = json.loads(path.read_text(encoding="utf-8"))
    study = script(path.parent, monkeypatch).study
    assert record["failed"] == []
    assert record["config"] == tomllib.loads((path.parent / "config.toml").read_text(encoding="utf-8"))
    assert record["command"] == study.command(path.parent / "config.toml")
    assert record["command"] in (path.parent / "README.md").read_text(encoding="utf-8")
    style.save(study.draw(record["results"], record["config"]), tmp_path / "figure.png")
    assert_picture(tmp_path / "figure.png")


@pytest.mark.parametrize("readme", sorted(EXPERIMENTS.glob("*/README.md")), ids=name)
def test_pictures_of_the_readme_are_there(readme):
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", readme.read_text(encoding="utf-8")):
        assert_picture(readme.parent / target)
