"""The search of `reluopt solve` in TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from reluopt.rigor import rounding
from reluopt.runs import RunFolder
from reluopt.tracking import hparams as vocabulary
from reluopt.tracking.writer import EVENTS, open_writer


class SolveBoard:
    """The trace of `reluopt solve` in TensorBoard: L, bound, gap, price and neurons, at their wall-clock times.

    Parameters
    ----------
    run : the folder. ``name`` : of the data. ``settings`` : of the search, for the table of settings.
    """

    def __init__(self, run: RunFolder, name: str, settings: Mapping[str, Any]) -> None:
        self.run, self._lines, self._began = run, 0, time.time()
        # what an earlier session wrote is written again with the rest
        for file in run.path.glob(f"{EVENTS}*"):
            file.unlink()
        self._writer = open_writer(run, 0)
        named = {f"solve.{key}": value for key, value in settings.items()}
        for summary in vocabulary.summaries({**named, "data.dataset": name}):
            self._writer.file_writer.add_summary(summary)

    def log(self, trace: Sequence[Mapping[str, Any]]) -> None:
        """Write the lines of ``trace`` that are new, one step a line; they are on disk when this returns."""
        for step, line in enumerate(trace[self._lines :], start=self._lines):
            at = self._began + line["seconds"]
            for key in ("objective", "bound", "gap", "price", "neurons"):
                if math.isfinite(line[key]):
                    side = rounding.float32_below if key == "bound" else rounding.float32_above
                    self._writer.add_scalar(f"solve/{key}", side(line[key]), step, walltime=at)
        self._lines = len(trace)
        self._writer.flush()

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()
