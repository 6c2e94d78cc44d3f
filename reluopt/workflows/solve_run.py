"""The run folder of `reluopt solve`: written as a whole, again and again while it works, so that it can go on later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from reluopt.certificate.file import is_checkable, write_certificate
from reluopt.certificate.reading import read_bound
from reluopt.errors import CheckpointError
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.search.records import Earlier, Progress, Solved
from reluopt.staging import staged
from reluopt.tracking.plots import save_race
from reluopt.tracking.solve_board import SolveBoard
from reluopt.training.checkpoint import save_weights
from reluopt.workflows.run_start import new_run
from reluopt.workflows.runs import RunRecord
from reluopt.writing import unwritable, write_atomically


class SolveRun:
    """Keeps what `solve` knows in a run folder, only within ``run.locked()``.

    The first time the run is made (an earlier one in the folder goes then, with ``replace``); later network, trace,
    picture and proof are replaced together. Killed at any moment, the folder is a run that can go on.

    Parameters
    ----------
    tables : of config.toml. ``start`` : the network it began with, None for nothing.
    goes_on : the folder holds this very run already.
    """

    def __init__(
        self,
        run: RunFolder,
        record: RunRecord,
        tables: Mapping[str, Mapping[str, Any]],
        start: TwoLayerReLU | None,
        command: str,
        *,
        replace: bool = False,
        goes_on: bool = False,
    ) -> None:
        self.run, self.record, self.tables, self.start = run, record, tables, start
        self.command, self.replace, self.made = command, replace, goes_on
        self._board: SolveBoard | None = None

    def keep(self, solved: Solved) -> None:
        """Write what is known.

        Raises
        ------
        CheckpointError : the folder cannot be written; what was there is there.
        """
        preparation = self.record.data.preparation
        if not self.made:
            with new_run(self.run, self.tables, overwrite=self.replace, preparation=preparation) as new:
                save_weights(new, "initial", self.start or solved.network, self.record.problem, self.command)
                self._write(new, solved)
            self.made = True
        else:
            try:
                # a record of an earlier proof is not one of this network
                with staged(self.run.path, lambda placed: self.run.certificate_file.unlink(missing_ok=True)) as place:
                    new = RunFolder(place)
                    new.make(self.tables, preparation=preparation)
                    self._write(new, solved)
            except OSError as error:
                raise unwritable(self.run.path, error) from error
        self._board = self._board or SolveBoard(self.run, self.record.data.name, self.tables["run"].get("solve", {}))
        self._board.log([asdict(line) for line in solved.trace])

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _write(self, new: RunFolder, solved: Solved) -> None:
        record = self.record
        save_weights(new, "latest", solved.network, record.problem, self.command)
        lines = [{k: v if math.isfinite(v) else None for k, v in asdict(line).items()} for line in solved.trace]
        write_atomically(new.trace_file, "".join(json.dumps(line) + "\n" for line in lines))
        save_race(new.gap_file, [asdict(line) for line in solved.trace], record.data.name)
        if solved.bound is not None and is_checkable(record.problem.loss.name):
            about = {"name": record.data.name, "preprocessing": record.data.preprocessing}
            proof = partial(write_certificate, network=solved.network.weights(), data=about)
            proof(new.proof_file, record.problem, bound=solved.bound)


def read_earlier(run: RunFolder, problem: Problem) -> Earlier:
    """The trace and the bound of a run that `reluopt solve` left; the bound is proved again.

    Raises
    ------
    CheckpointError : a run that another command made, or a trace that cannot be read.
    CertificateError : a proof that is none.
    """
    path = run.trace_file
    if not path.is_file():
        raise CheckpointError(
            f"'{run.path}' was not made by 'reluopt solve' or 'reluopt refine'.",
            f"Start from its network instead: reluopt refine {run.path}",
        )
    trace = _read_trace(path)
    return Earlier(trace, read_bound(run.proof_file, problem) if run.proof_file.is_file() else None)


def _read_trace(path: Path) -> tuple[Progress, ...]:
    missing = {"bound": -math.inf, "gap": math.inf, "price": math.inf}
    try:
        lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        full = [line | {k: missing[k] for k, v in line.items() if v is None} for line in lines]
        return tuple(Progress(**line) for line in full)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"'{path}' is not the trace of a search.", "Solve again.") from error
