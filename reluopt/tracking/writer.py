"""TensorBoard's event files of a run folder: how they are opened, named and withdrawn, and the chart they share."""

from __future__ import annotations

import functools
import threading
import time
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from reluopt.runs import RunFolder

#: How the names of event files begin, and how those of a certificate's end.
EVENTS, CERTIFICATE = "events.out.tfevents.", ".certificate"

#: TensorBoard's "Custom Scalars": L of training and search, p̃(S(θ)) and the lower bound in one chart.
#: The tags are regular expressions.
LAYOUT = {
    "How far from the optimum": {
        "L(θ), its patterns p̃(S(θ)) from below, p* from below": [
            "Multiline",
            [
                "train/objective$", "certificate/own_patterns$", "certificate/lower_bound$", "solve/objective$",
                "solve/bound$",
            ],
        ],
        "Patterns as at the start": ["Multiline", ["patterns/preserved_from_init$", "patterns/entries_preserved$"]],
    }
}  # fmt: skip


def open_writer(run: RunFolder, step: int, suffix: str = "") -> SummaryWriter:
    """A writer into the run folder itself, which withdraws all earlier events at or past ``step``.

    An earlier certificate's file goes altogether: it is out of date, and not all readers withdraw texts.
    """
    for file in run.path.glob(f"{EVENTS}*{CERTIFICATE}"):
        file.unlink()
    _let_writers_fail_quietly()
    earlier = [int(file.name.removeprefix(EVENTS).split(".")[0]) for file in run.path.glob(f"{EVENTS}*")]
    # readers take a folder's files in the order of their names, which begin with the second of their making
    time.sleep(max(0.0, max(earlier, default=0) + 1 - time.time()))
    writer = SummaryWriter(str(run.path), purge_step=step if earlier else None, filename_suffix=suffix)
    writer.add_custom_scalars(LAYOUT)
    return writer


@functools.cache
def _let_writers_fail_quietly() -> None:
    """Print no traceback of TensorBoard's writing thread on a full disk: its next call raises the same OSError here."""
    earlier = threading.excepthook

    def hook(failure: Any) -> None:
        of_tensorboard = type(failure.thread).__module__.startswith("tensorboard.")
        if not (of_tensorboard and issubclass(failure.exc_type, OSError)):
            earlier(failure)

    threading.excepthook = hook
