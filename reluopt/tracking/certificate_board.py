"""A certificate in TensorBoard, beside the training or search it is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.image import imread

from reluopt import printing
from reluopt.rigor import rounding
from reluopt.runs import RunFolder
from reluopt.tracking import hparams as vocabulary
from reluopt.tracking.writer import CERTIFICATE, open_writer


def log_certificate(
    run: RunFolder,
    verdict: str,
    estimates: Sequence[Mapping[str, Any]],
    facts: Sequence[Sequence[str]] = (),
    *,
    step: int,
) -> None:
    """Write a certificate into the run's TensorBoard entries: three scalars, its text, the ladder's picture.

    The entries stand one step after the network's epoch ``step``, in a file of their own, so that certifying again
    withdraws the earlier certificate and nothing else.

    Parameters
    ----------
    estimates : records with keys label, quantity, relation, value, status and meaning, in the order to list them in.
    facts : what stands beside the ladder: lines of (what, value, status, meaning).
    """
    step += 1
    writer = open_writer(run, step, CERTIFICATE)
    for tag, value in _scalars(estimates).items():
        writer.add_scalar(tag, value, step)
    cells = [(r["label"], printing.estimate(r, 6), r["status"], r["meaning"]) for r in estimates]
    parts = [verdict, _markdown(("estimate", "value", "known as", "meaning"), cells)]
    if facts:
        parts.append(_markdown(("beside the ladder", "value", "known as", "meaning"), facts))
    writer.add_text("certificate/verdict", "\n\n".join(parts), step)
    if run.ladder_file.is_file():
        writer.add_image("certificate/ladder", imread(run.ladder_file), step, dataformats="HWC")
    writer.close()


def _scalars(estimates: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    proved = [r for r in estimates if r["status"] == "proved"]
    bound = max((r["value"] for r in proved if (r["quantity"], r["relation"]) == ("p*", ">=")), default=None)
    own = max((r["value"] for r in proved if (r["quantity"], r["relation"]) == ("p̃(S(θ))", ">=")), default=math.nan)
    objective = max((r["value"] for r in proved if r["quantity"] == "L(θ)"), default=math.nan)
    charted = {"certificate/own_patterns": rounding.float32_below(own)} if math.isfinite(own) else {}
    return vocabulary.certificate_scalars(objective, bound, own) | charted


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell, as in |α|, would end it."""
    lines = [titles, ["---"] * len(titles), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
