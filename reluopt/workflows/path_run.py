"""The folder of `reluopt path`: a run at every β, the numbers of all, and their picture."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from reluopt.data import DataConfig
from reluopt.errors import CheckpointError
from reluopt.runs import RunFolder
from reluopt.search.config import PathConfig
from reluopt.search.path import PathPoint, RegularizationPath, as_path
from reluopt.tracking.plots import save_path
from reluopt.training import TrainConfig
from reluopt.workflows.preparation import Prepared
from reluopt.workflows.runs import RunRecord, where_it_started
from reluopt.workflows.solve_run import SolveRun
from reluopt.writing import require_space, unwritable, write_atomically


class PathRun:
    """Keeps a path in a folder, β by β: a run for each point, and path.json with the points so far.

    Killed at any moment, the folder has the network and the proof of each β that was finished.

    Parameters
    ----------
    choice : the loss, biases and class weights of the problem.

    Raises
    ------
    CheckpointError : the folder is a file, is not empty, or its disk has too little space.
    """

    def __init__(
        self, folder: Path, prepared: Prepared, data: DataConfig, choice: TrainConfig, settings: PathConfig
    ) -> None:
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise CheckpointError(f"'{folder}' is there already.", "Name a new folder with --out, or remove it.")
        require_space(folder, 2**20 * len(settings.numbers))
        self.folder, self.prepared, self.data, self.choice, self.settings = folder, prepared, data, choice, settings
        self._keepers: dict[str, SolveRun] = {}
        self._points: list[PathPoint] = []

    def keep(self, point: PathPoint) -> None:
        """Write the run of the next β, and the numbers so far.

        Raises
        ------
        CheckpointError : the folder cannot be written; what was there is there.
        """
        self._keep_run(point)
        self._points.append(point)
        self._keep_numbers(as_path(self.prepared.problem, self._points), finished=False)

    def finish(self, path: RegularizationPath, *, finished: bool = True) -> None:
        """Write what all points give together: the best network at each β, the numbers and their picture.

        ``finished`` : False of a path that was interrupted.

        Raises
        ------
        CheckpointError : the folder cannot be written; what was there is there.
        """
        for number, point in enumerate(path.points):
            kept = self._points[number : number + 1]
            if not kept or kept[0].network is not point.network:
                self._keep_run(point)
        for keeper in self._keepers.values():
            keeper.close()
        problem = self.prepared.problem
        title = f"{self.prepared.data.name}: n = {problem.n}, d = {problem.d}, {self.choice.loss} loss"
        records = self._keep_numbers(path, finished=finished)
        try:
            save_path(self.folder / "path.png", records, title, path.best)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def run_of(self, point: PathPoint) -> Path:
        """The folder of a point's run."""
        return self.folder / f"beta-{point.beta / self.prepared.beta_max:.6g}"

    def _keep_numbers(self, path: RegularizationPath, *, finished: bool) -> list[dict[str, Any]]:
        """Write path.json; the records of its points."""
        points = [self._record(point) for point in path.points]
        record = {
            "score": path.score, "best": path.best, "beta_max_estimate": self.prepared.beta_max, "finished": finished,
            "points": [
                {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in p.items()} for p in points
            ],
        }  # fmt: skip
        try:
            write_atomically(self.folder / "path.json", json.dumps(record, indent=1) + "\n")
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return points

    def _record(self, point: PathPoint) -> dict[str, Any]:
        names = ("beta", "objective", "bound", "known", "gap", "neurons", "seconds", "test_loss", "score")
        fraction = float(f"{point.beta / self.prepared.beta_max:.12g}")
        numbers = {name: getattr(point, name) for name in names}
        return {"fraction": fraction, **numbers, "run": self.run_of(point).name}

    def _keep_run(self, point: PathPoint) -> None:
        """The point's run: its network and the proof of its own bound."""
        place = self.run_of(point)
        if place.name not in self._keepers:
            self._keepers[place.name] = self._keeper(RunFolder(place), point)
        keeper = self._keepers[place.name]
        with keeper.run.locked():
            keeper.keep(replace(point.solved, network=point.network))

    def _keeper(self, run: RunFolder, point: PathPoint) -> SolveRun:
        prepared, choice, settings = self.prepared, self.choice, self.settings
        record = RunRecord(prepared.data, choice, prepared.problem.with_beta(point.beta), prepared.beta_max)
        tables = {
            "data": self.data.to_mapping(),
            "train": record.of_loss(),
            "run": {**where_it_started(run), **record.facts(), "solve": {"gap": settings.gap, "seed": settings.seed}},
        }
        return SolveRun(run, record, tables, None, "reluopt path")
