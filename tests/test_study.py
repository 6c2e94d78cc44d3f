"""The frame of the studies in experiments/: rows, results.json, a figure, one command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from _lib.study import Study, main
from reluopt.tracking.style import figure

CALLS: list[dict] = []


def square(point: dict) -> dict:
    CALLS.append(point)
    if point["fail"]:
        raise ValueError("as it was told")
    return {"square": point["x"] ** 2}


@pytest.fixture
def calls():
    CALLS.clear()
    return CALLS


def study_in(folder: Path) -> Study:
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("x = [1, 2]\nfail = false\n")

    def draw(results, config):
        drawn, axes = figure()
        axes.plot(results["squares"])
        return drawn

    return Study(
        here=folder,
        points=lambda config: [{"x": x, "fail": config["fail"] and x > 1} for x in config["x"]],
        task=square,
        summarise=lambda rows, config: {"squares": np.array([row["square"] for row in rows])},
        draw=draw,
    )


def test_a_study_writes_rows_results_and_figure_and_draws_again(tmp_path, calls):
    study = study_in(tmp_path / "experiments" / "squares")
    main(study, ["--workers", "1"])
    record = json.loads((study.here / "results.json").read_text())
    assert record["results"] == {"squares": [1, 4]}
    assert record["command"] == "python experiments/squares/run.py"
    assert record["config"] == {"x": [1, 2], "fail": False}
    assert record["failed"] == []
    assert record["versions"].keys() >= {"python", "torch", "reluopt"}
    for rows_there in (True, False):
        (study.here / "figure.png").unlink()
        if not rows_there:
            (study.here / "rows.parquet").unlink()
        main(study, ["--redraw"])
        assert (study.here / "figure.png").stat().st_size > 1000
        assert json.loads((study.here / "results.json").read_text()) == record
    assert len(calls) == 2


def test_a_study_names_its_failed_rows_and_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study = study_in(tmp_path / "experiments" / "squares")
    small = study.here / "small.toml"
    small.write_text("x = [1, 2]\nfail = true\n")
    with pytest.raises(SystemExit) as end:
        main(study, [str(small), "--workers", "1"])
    assert end.value.code == 1
    assert '{"fail": true, "x": 2}: ValueError: as it was told' in capsys.readouterr().err
    record = json.loads((tmp_path / "runs" / "squares-small" / "results.json").read_text())
    assert record["command"] == "python experiments/squares/run.py experiments/squares/small.toml"
    assert record["failed"][0]["settings"] == {"x": 2, "fail": True}
    assert record["results"] == {"squares": [1]}


def test_a_study_refuses_what_it_cannot_read_or_draw(tmp_path, capsys):
    study = study_in(tmp_path / "experiments" / "squares")
    for arguments, said in (["--redraw"], "nothing to draw"), (["none.toml"], "cannot be read as TOML"):
        with pytest.raises(SystemExit) as end:
            main(study, arguments)
        assert end.value.code == 2
        assert said in capsys.readouterr().err
