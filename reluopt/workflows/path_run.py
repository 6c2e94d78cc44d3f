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
from reluopt.search.path import PathPoint, RegularizationPath
from reluopt.tracking.plots import save_path
from reluopt.training import TrainConfig
from reluopt.workflows.preparation import Prepared
from reluopt.workflows.runs import RunRecord, where_it_started
from reluopt.workflows.solve_run import SolveRun
from reluopt.writing import unwritable, write_atomically


def require_new(folder: Path) -> None:
    """Refuse a place where something is already, before any work.

    Raises
    ------
    CheckpointError : it is a file, or a folder that is not empty.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise CheckpointError(f"'{folder}' is there already.", "Name a new folder with --out, or remove it.")


def keep_path(
    folder: Path,
    path: RegularizationPath,
    prepared: Prepared,
    data: DataConfig,
    choice: TrainConfig,
    settings: PathConfig,
) -> None:
    """Write a run for every point, path.json and path.png.

    Raises
    ------
    CheckpointError : the folder cannot be written.
    """
    points = []
    for point in path.points:
        name = f"beta-{point.beta / prepared.beta_max:.6g}"
        _keep_point(RunFolder(folder / name), point, prepared, data, choice, settings)
        points.append(_record(point, prepared.beta_max) | {"run": name})
    record = {"score": path.score, "best": path.best, "beta_max_estimate": prepared.beta_max, "points": points}
    finite = [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in p.items()} for p in points]
    try:
        write_atomically(folder / "path.json", json.dumps(record | {"points": finite}, indent=1) + "\n")
        title = f"{prepared.data.name}: n = {prepared.problem.n}, d = {prepared.problem.d}, {choice.loss} loss"
        save_path(folder / "path.png", points, title, path.best)
    except OSError as error:
        raise unwritable(folder, error) from error


def _record(point: PathPoint, beta_max: float) -> dict[str, Any]:
    names = ("beta", "objective", "bound", "known", "gap", "neurons", "seconds", "test_loss", "score")
    return {"fraction": float(f"{point.beta / beta_max:.12g}")} | {name: getattr(point, name) for name in names}


def _keep_point(
    run: RunFolder, point: PathPoint, prepared: Prepared, data: DataConfig, choice: TrainConfig, settings: PathConfig
) -> None:
    """A run with the point's network and the proof of its own bound."""
    record = RunRecord(prepared.data, choice, prepared.problem.with_beta(point.beta), prepared.beta_max)
    tables = {
        "data": data.to_mapping(),
        "train": record.of_loss(),
        "run": {**where_it_started(run), **record.facts(), "solve": {"gap": settings.gap, "seed": settings.seed}},
    }
    run.path.parent.mkdir(parents=True, exist_ok=True)
    with run.locked():
        keeper = SolveRun(run, record, tables, None, "reluopt path")
        keeper.keep(replace(point.solved, network=point.network))
        keeper.close()
