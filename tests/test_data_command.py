"""`reluopt data` and the data options of the other commands, as a user calls them."""

import os
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from reluopt.cli import data as command
from reluopt.cli.commands import data, relax, theory, train
from reluopt.data import Dataset
from reluopt.errors import DataError

ROWS = [
    (i, f"{i * 7 % 13}.5", "red" if i % 3 else "blue", "" if i == 4 else i % 5, 3, i * i % 17 + 0.25) for i in range(20)
]
TABLE = "Unnamed: 0,size,[bold]kind,gap,same,price\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)


COMMANDS = {
    "data": data.data_command,
    "train": train.train_command,
    "relax": relax.relax_command,
    "theory": theory.theory_command,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


def run(name, *arguments):
    """One command alone."""
    app = typer.Typer(rich_markup_mode="rich")
    app.command()(COMMANDS[name])
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_data_says_what_became_of_every_column(place):
    done = run("data", "table.csv", "--target", "price", "--missing", "drop-rows")
    assert done.exit_code == 0, done.output
    for words in (
        "Unnamed: 0 │ index, left out",
        "[bold]kind │ one-hot",
        "2 values: blue, red; 0 is blue",
        "same       │ constant, left out",
        "price      │ target",
        "size, gap  │ kept as numbers",
        "1 of 20 rows dropped: a cell is missing (first: line 6)",
        "left out, the index: Unnamed: 0",
        "reluopt train table.csv --target price --missing drop-rows",
    ):
        assert words in done.output, words


def test_data_says_which_label_is_plus_one(place):
    done = run("data", "table.csv", "--target", "[bold]kind", "--drop", "gap", "--drop", "price")
    assert done.exit_code == 0, done.output
    assert "−1 is blue; +1 is red" in done.output and "--drop gap --drop price" in done.output
    done = run("data", "table.csv", "--target", "gap", "--missing", "mean", "--positive", 2)
    assert done.exit_code == 0 and "+1 is 2" in done.output


@pytest.mark.parametrize(
    "options", [("--no-header", "--target", "last"), ("--target", "prize"), ("--target", "price"), ("--target", "gap")]
)
def test_data_refuses_with_a_remedy(place, options):
    done = run("data", "table.csv", *options)
    assert isinstance(done.exception, DataError) and len(done.exception.remedy) > 10


def test_quiet_is_one_line(place):
    line = run("data", "table.csv", "--target", "price", "--missing", "drop-rows", "--quiet").stdout
    assert line.count("\n") == 1 and "n = 19" in line
    low, high = re.search(r"([\d.]+) ≤ β_max ≤ ([\d.]+)", line).groups()
    assert 0 < float(low) <= float(high)


def test_save_names_its_file_and_asks_before_it_replaces_one(place, monkeypatch):
    wanted = ("data", "planted", "--n", 20, "--d", 2)
    done = run(*wanted, "--save", "mine")
    assert done.exit_code == 0 and "X and y are in mine.npz" in done.output
    with np.load("mine.npz") as saved:
        assert Dataset.from_arrays(saved["X"], saved["y"]).fingerprint in done.output
    before = (place / "mine.npz").read_bytes()
    done = run(*wanted, "--data-seed", 1, "--save", "mine.npz")  # no terminal to ask on
    assert isinstance(done.exception, DataError) and "--replace" in done.exception.remedy
    monkeypatch.setattr(command, "_can_ask", lambda: True)
    monkeypatch.setattr(command.typer, "confirm", lambda question: False)
    assert run(*wanted, "--data-seed", 1, "--save", "mine").exit_code == 2
    assert (place / "mine.npz").read_bytes() == before
    assert run(*wanted, "--data-seed", 1, "--save", "mine", "--replace").exit_code == 0
    assert (place / "mine.npz").read_bytes() != before


def test_a_save_that_fails_leaves_what_was_there(place, monkeypatch):
    wanted = ("data", "planted", "--n", 20, "--d", 2, "--save")
    for bad in ("none/mine.npz", "."):
        assert isinstance(run(*wanted, bad).exception, DataError)
    assert run(*wanted, "mine.npz").exit_code == 0
    before = (place / "mine.npz").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = run(*wanted, "mine.npz", "--replace", "--data-seed", 3)
    assert isinstance(done.exception, DataError) and "No space left" in done.exception.problem
    assert (place / "mine.npz").read_bytes() == before
    assert sorted(path.name for path in place.iterdir()) == ["mine.npz", "table.csv"]


def test_the_data_options_are_those_of_every_command(place):
    for name in ("data", "train", "relax", "theory"):
        printed = run(name, "--help").output
        for option in ("--no-header", "--target", "--drop", "--index-column", "--categorical", "--missing", "--task"):
            assert option in printed, (name, option)


def test_a_config_holds_what_the_options_say(place):
    (place / "a.toml").write_text('[data]\ntarget = "price"\nmissing = "mean"\ndrop = ["gap", "same"]\nheader = true\n')
    done = run("data", "table.csv", "--config", "a.toml")
    assert done.exit_code == 0, done.output
    assert "left out, as asked: gap, same" in done.output and "--config a.toml" in done.output


@pytest.mark.parametrize("scaling", ["none", "centre"])
def test_columns_of_very_different_size_bring_a_warning(caplog, scaling):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 2)) * [1e6, 1e-6]
    Dataset.from_arrays(X, rng.standard_normal(20), scaling=scaling)
    assert "'x1'" in caplog.text and "--scaling standardise" in caplog.text
    caplog.clear()
    Dataset.from_arrays(X, rng.standard_normal(20), scaling="standardise")
    Dataset.from_arrays(X * [1e-6, 1e6], rng.standard_normal(20), scaling=scaling)
    assert not caplog.text
