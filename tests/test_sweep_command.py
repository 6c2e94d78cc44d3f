"""`reluopt sweep`: the rows, TensorBoard's sessions, what is refused before any work, how it goes on."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from typer.testing import CliRunner

from reluopt.cli import sweep as command
from reluopt.cli.commands import sweep as declared
from reluopt.cli.main import app, load_command
from reluopt.errors import CheckpointError, ConfigError, DataError
from reluopt.sweep import sweeping
from reluopt.sweep.grid import expand
from reluopt.sweep.sweeping import CERTIFIED, run_point

CONFIG = """
[data]
dataset = "planted"
n = 12
d = 2

[train]
epochs = 15
width = 3

[grid]
train.beta_fraction = [0.1, 0.5]
"train.seed" = [0, 1]

[certify]
gaussian_patterns = 4

[sweep]
certify = false
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with grid.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(CONFIG)
    return tmp_path


def sweep(*arguments: str):
    alone = typer.Typer()
    alone.command()(declared.sweep_command)
    return CliRunner().invoke(alone, ["grid.toml", "--workers", "1", *arguments], env={"COLUMNS": "200"})


def sessions(folder: Path) -> list[tuple[dict, dict]]:
    """Settings and metrics of every session that TensorBoard finds."""
    found = []
    for file in sorted(folder.rglob("events.out.tfevents*")):
        events = EventAccumulator(str(file)).Reload()
        metadata = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        start = plugin_data_pb2.HParamsPluginData.FromString(metadata).session_start_info
        settings = {name: value.number_value for name, value in start.hparams.items()}
        scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
        assert all(len(points) == 1 for points in scalars.values())
        found.append((settings, {tag: points[0].value for tag, points in scalars.items()}))
    return found


def test_the_command_writes_rows_and_one_tensorboard_session_a_row(place):
    (place / "grid.toml").write_text(CONFIG.replace("certify = false", "certify = true"))
    result = sweep()
    assert result.exit_code == 0, result.output
    assert "tensorboard --logdir runs/grid" in result.output
    rows = pq.read_table(place / "runs" / "grid" / "rows.parquet").to_pylist()
    assert [(r["train.beta_fraction"], r["train.seed"]) for r in rows] == [(0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1)]
    for row in rows:
        assert row["error"] is None
        assert (row["n"], row["d"], row["epochs"], row["certify.effort"]) == (12, 2, 15, "fast")
        assert row["beta"] == pytest.approx(row["train.beta_fraction"] * row["beta_max"])
        assert 0 < row["lower_bound"] <= row["objective"] * (1 + 1e-9)
        assert row["proved_ratio"] == pytest.approx(row["objective"] / row["lower_bound"], rel=1e-9)
        assert row["own_below"] <= row["own_above"] <= row["objective"] * (1 + 1e-9)
        assert row["gaussian"] >= row["lower_bound"]
        assert 0 <= row["preserved"] <= 1
    for _ in range(2):  # the second time after a restart
        shown = sessions(place / "runs" / "grid")
        places = {(settings["train.beta_fraction"], settings["train.seed"]) for settings, _ in shown}
        assert len(shown) == 4
        assert places == {(row["train.beta_fraction"], row["train.seed"]) for row in rows}
        assert sorted(metrics["train/objective"] for _, metrics in shown) == pytest.approx(
            sorted(row["objective"] for row in rows), rel=1e-6
        )
        sweep()


@pytest.fixture
def trained(monkeypatch) -> list[dict]:
    """The points that were run."""
    points: list[dict] = []

    def counted(point: dict) -> dict:
        points.append(point)
        return run_point(point)

    monkeypatch.setattr(command, "run_point", counted)
    return points


def test_it_is_a_command_of_reluopt():
    assert inspect.unwrap(load_command("sweep").callback) is inspect.unwrap(declared.sweep_command)


def test_the_examples_of_the_readme_and_of_the_help_are_grids():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    in_readme = re.search(r"```toml\n# grid.toml\n(.*?)```", readme, re.DOTALL)
    in_help = re.search(r"(\\\[data\].*?)\nthen", inspect.getdoc(declared.sweep_command) or "", re.DOTALL)
    assert in_readme and in_help
    for text in in_readme[1], in_help[1].replace("\\[", "["):
        keys, points = expand({"certify": {}, "sweep": {}, **tomllib.loads(text)}, "grid.toml")
        assert keys == ["train.width", "train.beta_fraction", "train.seed"]
        assert len(points) == 18


def test_a_larger_grid_trains_only_what_is_new(place, trained):
    sweep("--quiet")
    assert len(trained) == 4
    text = CONFIG.replace("[0, 1]", "[0, 1, 2]").replace("[grid]", '[grid]\n"train.width" = [3]')
    (place / "grid.toml").write_text(text)
    result = sweep()
    assert result.exit_code == 0, result.output
    assert len(trained) == 6
    shown = sessions(place / "runs" / "grid")
    assert len(shown) == 6
    assert all(settings["train.width"] == 3 for settings, _ in shown)


def test_other_settings_are_other_rows(place, trained):
    sweep("--quiet")
    (place / "grid.toml").write_text(CONFIG.replace("epochs = 15", "epochs = 16"))
    assert sweep("--quiet").exit_code == 0
    assert len(trained) == 8
    rows = pq.read_table(place / "runs" / "grid" / "rows.parquet").to_pylist()
    assert [row["train.epochs"] for row in rows] == [16] * 4 + [15] * 4
    assert all(row[name] is None for row in rows[:4] for name in CERTIFIED)
    assert all(row["objective"] > 0 for row in rows)
    assert len(sessions(place / "runs" / "grid")) == 4, "those of the earlier grid are withdrawn"


def test_data_that_change_are_seen(place, trained):
    (place / "table.csv").write_text("a,b,t\n" + "".join(f"{i},{i * i % 7},{i % 3}\n" for i in range(12)))
    text = CONFIG.replace(
        'dataset = "planted"\nn = 12\nd = 2', 'dataset = "table.csv"\ntarget = "t"\ntask = "regression"'
    )
    (place / "grid.toml").write_text(text)
    assert sweep("--quiet").exit_code == 0
    (place / "table.csv").write_text((place / "table.csv").read_text().replace("11,", "13,"))
    sweeping._loaded.cache_clear()
    with pytest.raises(DataError, match="have changed"):
        run_point(trained[0])
    sweep("--quiet")
    assert len(trained) == 8


def test_points_with_free_first_layer_biases_have_the_column_that_these_are_the_weights_on():
    content = {"data": {"dataset": "planted", "n": 12, "d": 2}, "train": {}, "certify": {}, "sweep": {}}
    grid = {"train.first_bias": ["free"], "train.output_bias": ["free"]}
    _, (point,) = expand(content | {"grid": grid}, "grid.toml")
    assert point["data.bias"] is True
    _, (plain,) = expand(content | {"grid": {"train.seed": [0]}}, "grid.toml")
    assert plain.get("data.bias") is not True


def test_a_run_that_diverges_is_a_row_with_its_error(place, trained):
    (place / "grid.toml").write_text(
        CONFIG.replace('"train.seed"', '"train.learning_rate" = [0.01, 1e150]\n"train.seed"')
    )
    result = sweep()
    assert result.exit_code == 1
    assert "4 rows ended in an error; run them again: reluopt sweep grid.toml --retry" in result.output
    rows = pq.read_table(place / "runs" / "grid" / "rows.parquet").to_pylist()
    errors = [row["error"] for row in rows if row["train.learning_rate"] == 1e150]
    assert all(error.startswith("TrainingError: ") for error in errors)
    assert all(row["error"] is None for row in rows if row["train.learning_rate"] == 0.01)
    assert len(sessions(place / "runs" / "grid")) == 4
    assert sweep("--quiet").exit_code == 1
    assert len(trained) == 8
    sweep("--quiet", "--retry")
    assert len(trained) == 12


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"train.seed"', '"train.sed"', r"unknown setting 'train\.sed'.*one of: width, beta"),
        ('"train.seed"', '"model.seed"', r"'model\.seed'.*data\.…, train\.…"),
        ('"train.seed"', "seed", r"'seed'.*data\.…"),
        ("[0, 1]", "0", r"'train\.seed' is 0.*Write a list"),
        ("[0, 1]", "[]", "Write a list"),
        ("[0, 1]", "[0, 1, 0]", r"'train\.seed' has 0 twice"),
        ("[0.1, 0.5]", "[0.1, -1]", r"train\.beta_fraction = -1.*above 0"),
        ('"train.seed"', '"train.optimizer" = ["adam", "newton"]\n"train.seed"', "'optimizer' is 'newton'.*adam, sgd"),
        ('"train.seed"', '"train.batch_size" = [99]\n"train.seed"', "'batch_size' is 99, but there are 12 samples"),
        ('"train.seed"', '"train.beta" = [1.0]\n"train.seed"', "Both 'beta' and 'beta_fraction'"),
        (
            '"train.seed"',
            '"data.dataset" = ["planted", "planed"]\n"train.seed"',
            "no data set, file or folder 'planed'",
        ),
        ("width = 3", "widht = 3", r"unknown setting 'widht'"),
        ('dataset = "planted"\nn = 12\nd = 2', "", "names no data set"),
        ('[grid]\ntrain.beta_fraction = [0.1, 0.5]\n"train.seed" = [0, 1]', "", r"has no \[grid\]"),
        ("[certify]", "[grid.certify]\nseed = [1]\n[certify]", r"'certify\.seed'.*certify = true"),
        ("[certify]", "[sweeps]\n[certify]", "has 'sweeps'"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_before_any_work(place, trained, old, new, said):
    assert old in CONFIG
    (place / "grid.toml").write_text(CONFIG.replace(old, new))
    error = sweep().exception
    assert isinstance(error, ConfigError | DataError)
    assert re.search(said, str(error), re.DOTALL), error
    assert not trained
    assert not (place / "runs").exists()


def test_a_torn_file_is_refused_before_any_work(place, trained):
    sweep("--quiet")
    table = place / "runs" / "grid" / "rows.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    error = sweep().exception
    assert isinstance(error, CheckpointError)
    assert "cannot be read as Parquet" in str(error)
    assert len(trained) == 4


def test_ctrl_c_keeps_what_is_done_and_names_the_next_command(place, trained, monkeypatch):
    def interrupted(point: dict) -> dict:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(point)
        return run_point(point)

    monkeypatch.setattr(command, "run_point", interrupted)
    result = CliRunner().invoke(
        app, ["sweep", "grid.toml", "--workers", "1", "--out", "elsewhere"], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 130
    assert "2 rows are in 'elsewhere/rows.parquet'" in result.output
    assert "go on: reluopt sweep grid.toml --out elsewhere" in result.output
    assert len(sessions(place / "elsewhere")) == 2
    trained.append({})
    assert sweep("--out", "elsewhere").exit_code == 0
    assert len(trained) == 5
