"""The search of `reluopt solve` in a run folder: a new run, one from a trained network, one that goes on; its proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reluopt.certificate.config import CertifyConfig
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.machine import usable_device
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.runs import RunFolder
from reluopt.search.config import SolveConfig
from reluopt.search.records import Earlier, Progress, Solved, SolveInterrupted
from reluopt.search.solving import solve_problem
from reluopt.training import TrainConfig
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.certification import certify_run, keep_certificate, read_trained
from reluopt.workflows.preparation import for_training, prepare
from reluopt.workflows.runs import RunRecord, next_run, read_run, where_it_started
from reluopt.workflows.solve_run import SolveRun, read_earlier
from reluopt.writing import require_space

#: The certificate of the end has this share of the budget more.
CERTIFY_SHARE = 0.1


@dataclass(frozen=True)
class SearchRun:
    """A search that is ready to begin, in a folder that is locked.

    Attributes
    ----------
    keeper : writes the folder. ``start`` : the network to begin with. ``earlier`` : what an earlier search came to.
    """

    keeper: SolveRun
    settings: SolveConfig
    start: TwoLayerReLU | None = None
    earlier: Earlier | None = None

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return self.keeper.run

    @property
    def record(self) -> RunRecord:
        """What the run is about."""
        return self.keeper.record

    def find(self, callback: Callable[[Progress], object] | None = None) -> tuple[Solved, KeyboardInterrupt | None]:
        """Search; what is found is kept in the folder now and then. With it the interruption, if there was one."""
        settings = self.settings
        try:
            solved = solve_problem(
                self.record.problem, gap=settings.gap, budget=settings.budget, network=self.start, seed=settings.seed,
                tolerance=settings.tolerance, device=settings.device, callback=callback, keep=self.keeper.keep,
                earlier=self.earlier,
            )  # fmt: skip
        except SolveInterrupted as stopped:
            return stopped.solved, stopped
        return solved, None

    def keep(self, solved: Solved) -> None:
        """Write the run as it is at the end.

        Raises
        ------
        CheckpointError : the folder cannot be written.
        """
        self.keeper.keep(solved)
        self.keeper.close()

    def certify(self, solved: Solved) -> None:
        """Write the certificate with the bound that was proved; no other is searched. Nothing without a bound.

        Raises
        ------
        KeyboardInterrupt : it was interrupted; the certificate holds what was proved by then.
        """
        if solved.bound is None:
            return
        trained = read_trained(self.folder)
        limit = max(1.0, CERTIFY_SHARE * self.settings.budget)
        settings = CertifyConfig(effort="fast", time_budget=0.0, time_limit=limit)
        certificate, stop = certify_run(trained, settings, bound=solved.bound)
        keep_certificate(trained, certificate)
        if stop is not None:
            raise stop


@contextmanager
def new_search(
    data: DataConfig,
    train: TrainConfig,
    settings: SolveConfig,
    out: Path | None = None,
    *,
    replace: bool = False,
    load: Callable[[DataConfig], Dataset] = load_dataset,
) -> Iterator[SearchRun]:
    """Within it the folder of a new search is locked. ``train`` has its loss, biases, class weights and β.

    Raises
    ------
    DataError, ConfigError : data or settings that cannot be used. CheckpointError : no run can be made in the folder.
    """
    usable_device(settings.device)
    data = for_training(data, train)
    prepared = prepare(data, train, load)
    record = RunRecord(prepared.data, train, prepared.problem, prepared.beta_max)
    with _begun(out, data.to_mapping(), record, settings, None, replace, "reluopt solve") as search:
        yield search


@contextmanager
def new_refinement(
    run: Path, settings: SolveConfig, out: Path | None = None, *, replace: bool = False
) -> Iterator[SearchRun]:
    """Within it the folder of a new search is locked, which begins with the network of a run and leaves that alone.

    Raises
    ------
    ConfigError : a device that cannot be used.
    CheckpointError : the run is not as it was trained, or no run can be made in the folder.
    """
    usable_device(settings.device)
    source = RunFolder.open(run)
    record = read_run(source)
    network = from_weights(*load_weights(source))
    with _begun(out, source.config()["data"], record, settings, network, replace, "reluopt refine") as search:
        yield search


@contextmanager
def resumed_search(run: Path, changed: Callable[[Mapping[str, Any], str], SolveConfig]) -> Iterator[SearchRun]:
    """Within it the folder of an earlier search is locked, which goes on from where it was left.

    Parameters
    ----------
    changed : the settings of the search from the table it was made with, and where that stands.

    Raises
    ------
    CheckpointError : it is not as it was left, another command made it, or its disk has too little space.
    """
    folder = RunFolder.open(run)
    require_space(folder.path, 2**20)
    with folder.locked():
        record, tables = read_run(folder), folder.config()
        settings = changed(tables.get("run", {}).get("solve", {}), f"[run.solve] of '{folder.config_file}'")
        earlier = read_earlier(folder, record.problem)
        network = from_weights(*load_weights(folder))
        tables["run"]["solve"] = settings.to_mapping()
        keeper = SolveRun(folder, record, tables, network, "reluopt solve", goes_on=True)
        yield SearchRun(keeper, settings, network, earlier)


@contextmanager
def _begun(
    out: Path | None,
    data: Mapping[str, Any],
    record: RunRecord,
    settings: SolveConfig,
    network: TwoLayerReLU | None,
    replace: bool,
    command: str,
) -> Iterator[SearchRun]:
    folder = RunFolder(out) if out else next_run(record.data.name)
    folder.require_free(overwrite=replace, need=2**20)
    tables = {
        "data": data,
        "train": record.of_loss(),
        "run": {**where_it_started(folder), **record.facts(), "solve": settings.to_mapping()},
    }
    with folder.locked():
        yield SearchRun(SolveRun(folder, record, tables, network, command, replace=replace), settings, network)
