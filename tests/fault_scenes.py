"""What ``faults.py`` disturbs: commands, what must be whole whenever they end, and what must be there in the end."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet as pq
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reluopt.certificate import checker
from reluopt.certificate.record import check_record, check_run
from reluopt.cli.main import COMMANDS, load_command
from reluopt.runs import RunFolder
from reluopt.training.checkpoint import load_weights, read_checkpoint
from reluopt.workflows.runs import read_run

DATA = '[data]\ndataset = "planted"\nn = 20\nd = 3\n'
TRAIN = f"{DATA}[train]\nepochs = 80\nwidth = 4\nrecord_every = 1\ncheckpoint_every = 8\nseed = 3\n"
SEEDS = '[grid]\n"train.seed" = [0, 1, 2, 3, 4, 5, 6, 7]\n'
GRID = f"{DATA}[train]\nepochs = 8\nwidth = 4\n{SEEDS}[sweep]\ncertify = false\n"
PROBLEM = ["planted", "--n", "20", "--d", "3"]
SMALL = ["planted", "--n", "8", "--d", "2"]  # where all cells are proved in a moment

# what the first optimizer, picture, table and command of a process import, once for all of the commands to come
assert pandas.DataFrame
with contextlib.suppress(ImportError):  # there with the lock, not with our lower bounds
    importlib.import_module("pydantic")
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
FigureCanvasAgg(Figure()).draw()
for _name in COMMANDS:
    load_command(_name)


def rest_is_whole(run: RunFolder) -> None:
    """What certify must not touch, and that a proof, where there is one, is one."""
    problem = read_run(run).problem
    if run.proof_file.exists():
        content = checker.read_certificate(run.proof_file, 2**30)
        check_run(content, run, problem)
        verdict = checker.check(content, problem.X, problem.targets, problem.weights)
        if run.certificate_file.exists():
            check_record(run, problem, verdict)


def contents(run: RunFolder) -> dict[str, bytes]:
    """The files of training, by name, but for TensorBoard's, which holds times."""
    files = [run.config_file, run.metrics_file, run.initial_checkpoint, run.latest_checkpoint]
    return {file.name: file.read_bytes() for file in files}


def weights(run: RunFolder) -> list[bytes]:
    """The network, bit for bit."""
    return [array.tobytes() for array in load_weights(run)]


class Scene:
    """A command, and what must not be lost by it. ``seconds`` is how long it takes undisturbed, in :meth:`prepare`."""

    name = ""

    def __init__(self) -> None:
        self.seconds, self.reference = 0.0, Path()

    def prepare(self, folder: Path, start: Callable[[list[str], Path], Any]) -> None:
        """Give the command undisturbed, twice: what it left is what the others are compared with."""
        self.start = start
        for place in (folder, folder.with_name(f"{folder.name} again")):
            self.begin(place)
            started = time.monotonic()
            self.give(self.command(place), place)
            self.seconds = time.monotonic() - started
            self.whole(place)
            self.reference = folder
            self.same(place)

    def give(self, arguments: list[str], folder: Path) -> None:
        """Give a command that must end well."""
        command = self.start(arguments, folder)
        said = command.end()
        assert command.code == 0, said

    def begin(self, folder: Path) -> None:
        """What is there before."""
        folder.mkdir()
        (folder / "settings.toml").write_text(TRAIN)
        (folder / "grid.toml").write_text(GRID)

    def command(self, folder: Path) -> list[str]:
        """What to give next, given what is there."""
        raise NotImplementedError

    def whole(self, folder: Path) -> None:
        """AssertionError (or any other) unless what is there is whole."""

    def same(self, folder: Path) -> None:
        """AssertionError unless the end is that of the undisturbed command."""

    def end(self, folder: Path) -> None:
        """Make room."""
        shutil.rmtree(folder)


class Train(Scene):
    """Metrics and weights are bit for bit those of a run that nothing disturbed; no checkpoint is lost."""

    name = "train"

    def begin(self, folder: Path) -> None:
        super().begin(folder)
        self.epoch = -1

    def command(self, folder: Path) -> list[str]:
        if (folder / "a [run]" / "config.toml").is_file():
            return ["train", "--resume", "a [run]"]
        return ["train", "--config", "settings.toml", "--out", "a [run]"]

    def whole(self, folder: Path) -> None:
        run = RunFolder(folder / "a [run]")
        if not run.latest_checkpoint.exists():
            assert self.epoch == -1, "the checkpoint is gone"
            return
        now = read_checkpoint(run.latest_checkpoint)[1]["epoch"]
        assert now >= self.epoch, f"epoch {now} after {self.epoch}"
        self.epoch = now
        records = run.metrics()
        if self.reference != Path():
            assert records == RunFolder(self.reference / "a [run]").metrics()[: len(records)], "metrics differ"
            assert len(records) >= now, f"{len(records)} records before epoch {now}"

    def same(self, folder: Path) -> None:
        runs = [RunFolder(place / "a [run]") for place in (folder, self.reference)]
        one, other = ((run.metrics_file.read_bytes(), weights(run)) for run in runs)
        assert one == other, "metrics or weights differ"


class Certify(Scene):
    """What training left stays as it is, and what is said to be proved is; in the end there is a certificate."""

    name = "certify"

    def prepare(self, folder: Path, start: Callable[[list[str], Path], Any]) -> None:
        self.start = start
        self.trained = folder.with_name("trained")
        super().begin(self.trained)
        self.give(["train", "--config", "settings.toml", "--out", "a [run]"], self.trained)
        self.before = contents(RunFolder(self.trained / "a [run]"))
        super().prepare(folder, start)

    def begin(self, folder: Path) -> None:
        shutil.copytree(self.trained, folder)

    def command(self, folder: Path) -> list[str]:
        return ["certify", "a [run]", "--effort", "fast", "--time-budget", "1", "--gaussian-patterns", "4"]

    def whole(self, folder: Path) -> None:
        run = RunFolder(folder / "a [run]")
        assert contents(run) == self.before, "the run was changed"
        rest_is_whole(run)

    def same(self, folder: Path) -> None:
        run = RunFolder(folder / "a [run]")
        assert all(file.exists() for file in (run.proof_file, run.certificate_file, run.ladder_file))


class Sweep(Scene):
    """Rows that were written stay; in the end all are there, and the same."""

    name = "sweep"

    def begin(self, folder: Path) -> None:
        super().begin(folder)
        self.done = 0

    def command(self, folder: Path) -> list[str]:
        return ["sweep", "grid.toml", "--out", "rows [x]", "--workers", "1"]

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """What is in the file, without the seconds."""
        file = folder / "rows [x]" / "rows.parquet"
        rows = pq.read_table(file).to_pylist() if file.exists() else []
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    def whole(self, folder: Path) -> None:
        rows = self.rows(folder)
        assert len(rows) >= self.done, f"{len(rows)} rows after {self.done}"
        self.done = len(rows)
        if self.reference != Path():
            assert all(row in self.rows(self.reference) for row in rows), "rows differ"

    def same(self, folder: Path) -> None:
        assert self.rows(folder) == self.rows(self.reference), "rows differ"


class Solve(Scene):
    """The earlier run or the new one is there, whole; in the end there is a network with its proof."""

    name = "solve"

    def begin(self, folder: Path) -> None:
        super().begin(folder)
        if self.reference != Path():
            shutil.copytree(self.reference / "a [run]", folder / "a [run]")

    def command(self, folder: Path) -> list[str]:
        return [
            "solve",
            "planted",
            "--n",
            "8",
            "--d",
            "2",
            "--budget",
            "2",
            "--gap",
            "1e-3",
            "--out",
            "a [run]",
            "--replace",
        ]

    def whole(self, folder: Path) -> None:
        run = RunFolder(folder / "a [run]")
        assert run.config_file.exists(), "neither the earlier run nor the new one is there"
        assert weights(run)
        rest_is_whole(run)

    def same(self, folder: Path) -> None:
        run = RunFolder(folder / "a [run]")
        assert run.proof_file.exists(), "no proof"
        assert (run.path / "solve.jsonl").exists()


class Data(Scene):
    """The file holds the earlier arrays or the new ones."""

    name = "data"

    def begin(self, folder: Path) -> None:
        super().begin(folder)
        np.savez(folder / "made [x].npz", X=np.zeros((2, 1)), y=np.ones(2))

    def command(self, folder: Path) -> list[str]:
        return ["data", *PROBLEM, "--save", "made [x].npz", "--replace"]

    def whole(self, folder: Path) -> None:
        with np.load(folder / "made [x].npz") as arrays:
            assert (arrays["X"].shape, arrays["y"].shape) in (((2, 1), (2,)), ((20, 3), (20,))), "the arrays differ"

    def same(self, folder: Path) -> None:
        one, other = ((place / "made [x].npz").read_bytes() for place in (folder, self.reference))
        assert one == other, "the arrays differ"


SCENES: tuple[Scene, ...] = (Train(), Certify(), Sweep(), Solve(), Data())
