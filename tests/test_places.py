"""Places that cannot be written, files that moved, terminals that lack letters: every command, as users have them."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import GRID, LINES, NEW, PLANTED, QUICK, reluopt

from reluopt.cli.main import COMMANDS, run

WRITING = [name for name in LINES if "{out}" in LINES[name]]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a run that is certified, under a name that markup, shells and narrow encodings stumble over."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "grid.toml").write_text(GRID)
    (folder / "new.csv").write_text(NEW)
    for line in (LINES["train"], LINES["certify"]):
        done = give(line, folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(made, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "here")


def give(line: tuple[str, ...], cwd: Path, out: str = "a [run] β"):
    return reluopt(*(word.format(out=out, run="a [run] β") for word in line), cwd=cwd)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_command_has_a_line():
    assert set(LINES) == set(COMMANDS)


@pytest.mark.parametrize("name", WRITING)
def test_a_file_in_the_place_of_a_folder_is_a_message_and_stays(name, place):
    (place / "note").write_text("mine")
    before = files(place)
    done = give(LINES[name], place, out="note/deeper/x")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "error:" in done.stderr and "note" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(place) == before


@pytest.fixture
def read_only(monkeypatch) -> Callable[[Path], None]:
    """Make a folder one of a disk that was mounted read-only, for root too."""

    def make(folder: Path) -> None:
        def refuse(path) -> None:
            if isinstance(path, str | os.PathLike) and Path(path).absolute().is_relative_to(folder):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        def opening(open_file):
            def wrapped(file, mode="r", *args, **kwargs):
                if set(mode) & set("wax+"):
                    refuse(file)
                return open_file(file, mode, *args, **kwargs)

            return wrapped

        def changing(change):
            def wrapped(path, *args, **kwargs):
                refuse(path)
                return change(path, *args, **kwargs)

            return wrapped

        def descriptor(path, flags, *args, **kwargs):
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                refuse(path)
            return low(path, flags, *args, **kwargs)

        low = os.open
        monkeypatch.setattr(os, "open", descriptor)
        monkeypatch.setattr(io, "open", opening(io.open))
        monkeypatch.setattr(builtins, "open", opening(builtins.open))
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
            monkeypatch.setattr(os, name, changing(getattr(os, name)))
        access = os.access

        def allowed(path, mode, **kwargs):
            inside = Path(path).absolute().is_relative_to(folder)
            return not (mode & os.W_OK and inside) and access(path, mode, **kwargs)

        monkeypatch.setattr(os, "access", allowed)

    return make


@pytest.mark.parametrize("name", WRITING)
def test_a_disk_that_can_only_be_read_is_a_message(name, place, read_only):
    before = files(place)
    read_only(place)
    done = give(LINES[name], place, out="new/x")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "error:" in done.stderr and "Traceback" not in done.stderr
    assert files(place) == before


def test_a_run_on_such_a_disk_is_certified_in_words_and_verified(place, read_only):
    before = files(place)
    read_only(place)
    done = give(LINES["certify"], place)
    assert done.returncode == 2
    assert "no network of any width" in done.stdout and "cannot be written" in done.stderr
    assert give(LINES["verify"], place).returncode == 0
    resumed = reluopt("train", "--resume", "a [run] β", cwd=place)
    assert resumed.returncode == 2 and "cannot be written" in resumed.stderr
    assert files(place) == before


@pytest.mark.parametrize("name", LINES)
def test_a_terminal_without_greek_letters_gets_replacements(name, place, monkeypatch):
    encoding = "cp1252" if len(name) % 2 else "ascii"
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setattr(sys, "argv", ["reluopt", *(w.format(out="new [x]", run="a [run] β") for w in LINES[name])])
    with pytest.raises(SystemExit) as end:
        run()
    for stream in streams:
        stream.flush()
    said, errors = (stream.buffer.getvalue().decode(encoding) for stream in streams)
    assert end.value.code in (0, None), errors
    assert said.strip()
    assert "Traceback" not in errors


@pytest.mark.parametrize("name", [name for name in LINES if name != "show"])  # it is there to print
def test_quiet_is_quiet(name, place):
    done = give((*LINES[name], "--quiet"), place, out="new")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) <= 1 or name in ("data", "theory")


def test_a_run_and_its_data_move_together(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "project"
    folder.mkdir()
    np.savez(folder / "mine.npz", X=rng.standard_normal((14, 2)), y=rng.standard_normal(14))
    line = ("train", "mine.npz", "--epochs", "3", "--width", "2", "--out", "runs/one")
    assert reluopt(*line, cwd=folder).returncode == 0
    assert reluopt("certify", "runs/one", *QUICK, cwd=folder).returncode == 0
    moved = tmp_path / "elsewhere" / "project 2"
    moved.parent.mkdir()
    folder.rename(moved)
    for cwd, run_folder in ((moved, "runs/one"), (moved / "runs", "one"), (tmp_path, "elsewhere/project 2/runs/one")):
        done = reluopt("verify", run_folder, cwd=cwd)
        assert done.returncode == 0, done.stderr
    (moved / "mine.npz").rename(tmp_path / "mine.npz")
    for command in (("certify", *QUICK), ("verify",), ("refine", "--budget", "1")):
        done = reluopt(command[0], moved / "runs" / "one", *command[1:], cwd=tmp_path / "elsewhere")
        assert done.returncode == 2
        assert "mine.npz" in done.stderr and "Traceback" not in done.stderr


def test_a_sweep_a_run_and_its_certificate_share_a_folder(place):
    for line in (
        ("train", *PLANTED, "--epochs", "3", "--width", "2"),
        ("sweep", "grid.toml", "--workers", "1"),
        ("solve", *PLANTED, "--budget", "1", "--gap", "10"),
        ("certify", "runs/planted-001", *QUICK),
        ("sweep", "grid.toml", "--workers", "1"),
        ("verify", "runs/planted-001"),
    ):
        done = reluopt(*line, cwd=place)
        assert done.returncode == 0, (line, done.stderr)
    assert {path.name for path in (place / "runs").iterdir()} == {"grid", "planted-001", "planted-002"}
