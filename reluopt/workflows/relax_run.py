"""The polynomial-time algorithm (KP Thm 2.3) in a run folder, whose network `certify` and `refine` read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.errors import ConfigError
from reluopt.machine import usable_device
from reluopt.runs import RunFolder
from reluopt.search.config import RelaxConfig
from reluopt.search.polynomial import Relaxation, relax
from reluopt.solvers import CvxpySolver, NativeSolver, Solver, VectorSolver
from reluopt.training import TrainConfig
from reluopt.training.checkpoint import save_weights
from reluopt.workflows.preparation import for_training, prepare
from reluopt.workflows.run_start import new_run
from reluopt.workflows.runs import RunRecord, next_run, where_it_started


@dataclass(frozen=True)
class RelaxRun:
    """A relaxation that is ready to be solved, in a folder that is locked."""

    folder: RunFolder
    record: RunRecord
    settings: RelaxConfig
    tables: Mapping[str, Mapping[str, Any]]
    replace: bool = False

    def find(self, say: Callable[[str], None] = lambda message: None) -> Relaxation:
        """Sample patterns, solve the relaxed program over them, map it to a network; nothing is written.

        ``say`` : receives a line on each step.
        """
        settings = self.settings
        problem, tolerance, limit = self.record.problem, settings.tolerance, settings.time_limit
        solver: Solver = VectorSolver(tolerance=tolerance, time_limit=limit)
        if problem.outputs == 1:
            solver = NativeSolver(tolerance=tolerance, time_limit=limit, device=settings.device)
            if problem.biases:
                solver = CvxpySolver(tolerance=tolerance, time_limit=limit)
        rng = np.random.default_rng(settings.seed)
        return relax(problem, patterns=settings.patterns, rng=rng, solver=solver, say=say)

    def keep(self, found: Relaxation) -> None:
        """Make the run, whole or not at all.

        Raises
        ------
        CheckpointError : the folder cannot be written.
        """
        preparation = self.record.data.preparation
        with new_run(self.folder, self.tables, overwrite=self.replace, preparation=preparation) as new:
            # nothing moved: the start and the end are the same network
            for which in ("initial", "latest"):
                save_weights(new, which, found.network, self.record.problem, "reluopt relax")


@contextmanager
def new_relaxation(
    data: DataConfig,
    train: TrainConfig,
    settings: RelaxConfig,
    out: Path | None = None,
    *,
    replace: bool = False,
    load: Callable[[DataConfig], Dataset] = load_dataset,
) -> Iterator[RelaxRun]:
    """Within it the folder of a new run is locked. ``train`` has its loss, biases, class weights and β.

    Raises
    ------
    DataError, ConfigError : data or settings that cannot be used.
    CheckpointError : no run can be made in the folder.
    """
    device = usable_device(settings.device)
    data = for_training(data, train)
    prepared = prepare(data, train, load)
    outputs = prepared.problem.outputs
    if (outputs > 1 or prepared.problem.biases) and device.type != "cpu":
        of = f"of {outputs} outputs" if outputs > 1 else f"with {prepared.problem.biases.words}"
        raise ConfigError(
            f"The program {of} is solved on the processor, not on '{settings.device}'.", "Leave out --device."
        )
    record = RunRecord(prepared.data, train, prepared.problem, prepared.beta_max)
    folder = RunFolder(out) if out else next_run(record.data.name)
    folder.require_free(overwrite=replace, need=2**20)
    facts = {**where_it_started(folder), **record.facts(), "relax": settings.to_mapping()}
    tables = {"data": data.to_mapping(), "train": record.of_loss(), "run": facts}
    with folder.locked():
        yield RelaxRun(folder, record, settings, tables, replace)
