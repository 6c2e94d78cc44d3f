"""Run folders as they were trained: where a run was started, what its config.toml and checkpoint say."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reluopt.config import short
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.data.config import BUILT_IN
from reluopt.errors import CheckpointError, DataError
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.training import TrainConfig
from reluopt.training.checkpoint import require_as_trained


@dataclass(frozen=True)
class RunRecord:
    """What a run folder is about: its data, settings, training problem, and the estimate of β_max."""

    data: Dataset
    train: TrainConfig
    problem: Problem
    beta_max: float

    def facts(self) -> dict[str, Any]:
        """What config.toml says of it under [run], and :func:`read_run` compares."""
        fingerprint = self.data.fingerprint
        return {"beta": self.problem.beta, "beta_max_estimate": self.beta_max, "fingerprint": fingerprint}

    def of_loss(self) -> dict[str, Any]:
        """What config.toml of a run that was not trained says of its loss and biases under [train]."""
        names = ("loss", "class_weight", "output_bias", "first_bias")
        chosen = {name: getattr(self.train, name) for name in names}
        return {name: value for name, value in chosen.items() if value is not None}


def where_it_started(run: RunFolder) -> dict[str, str]:
    """The folder from which relative paths of the data are seen: as it is, and from the run (if both are moved)."""
    here = Path.cwd()
    return {"started_in": str(here), "started_from_run": os.path.relpath(here, run.path)}


def read_run(run: RunFolder) -> RunRecord:
    """The record of a run folder; nothing is written.

    Raises
    ------
    CheckpointError : a folder without these, data that changed since, settings that are not those of the training.
    """
    tables = run.config()
    facts = _facts(run, tables)
    beta, beta_max = (_positive(run, facts, name) for name in ("beta", "beta_max_estimate"))
    config = DataConfig.from_mapping(tables.get("data", {}), f"[data] of '{run.config_file}'")
    data = _load(run, config, facts)
    if data.fingerprint != facts["fingerprint"]:
        raise CheckpointError(
            f"The data of '{run.path}' are not those it was trained on (another sha256 of X and y).",
            "Put the original file and the settings in [data] back, or train a new run.",
        )
    train = TrainConfig.from_mapping(tables.get("train", {}), f"[train] of '{run.config_file}'")
    X, pooling = data.pooled
    problem = train.make_problem(X, data.y, beta, pooling=pooling)
    if run.latest_checkpoint.is_file():
        require_as_trained(run, problem, train.to_mapping() if "train" in tables else {})
    return RunRecord(data, train, problem, beta_max)


#: What helps where a file of a run was edited.
PUT_BACK = "Put back what training wrote there, or train a new run."


def _facts(run: RunFolder, tables: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The table [run] with the sha256 of the data; CheckpointError where one is not there."""
    if "run" not in tables:
        raise CheckpointError(f"'{run.config_file}' has no table [run].", PUT_BACK)
    known = tables["run"].get("fingerprint")
    if not isinstance(known, str):
        what = "no fingerprint" if known is None else f"fingerprint = {short(known)}"
        raise CheckpointError(f"'{run.config_file}' has {what} in [run], the sha256 of its data.", PUT_BACK)
    return tables["run"]


def _positive(run: RunFolder, facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name)
    if value is None:
        raise CheckpointError(f"'{run.config_file}' has no {name} in [run].", PUT_BACK)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise CheckpointError(
            f"'{run.config_file}' has {name} = {short(value)} in [run], which is no positive number.", PUT_BACK
        )
    return float(value)


def _load(run: RunFolder, config: DataConfig, facts: Mapping[str, Any]) -> Dataset:
    """The run's data; a relative path is looked for where the training was started, then from here."""
    if config.dataset in BUILT_IN or Path(config.dataset).expanduser().is_absolute():
        return load_dataset(config)
    started = [facts.get("started_in"), facts.get("started_from_run")]
    places = [run.path / text for text in started if isinstance(text, str)] + [Path()]
    for place in places:
        if (place / config.dataset).exists():
            return load_dataset(config.replace(dataset=str(place / config.dataset)))
    looked = ", ".join(f"'{os.path.normpath(place.absolute())}'" for place in places)
    raise DataError(
        f"The data '{config.dataset}' of '{run.config_file}' are not there; looked for in {looked}.",
        "Put the file where it was when the run was trained, or write its full path under [data] of that file.",
    )


def next_run(name: str) -> RunFolder:
    """runs/NAME-001, or the next free number: made at once, so that commands side by side never get the same."""
    number = 0
    while True:
        number += 1
        run = RunFolder(Path("runs") / f"{name}-{number:03d}")
        try:
            if not run.path.exists() and run.lock.make_folder():
                return run
        except OSError:  # whoever writes into it says why not
            return run
