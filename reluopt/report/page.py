"""The page: a template, filled."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup

import reluopt
from reluopt import printing
from reluopt.certificate.facts import fact_lines
from reluopt.certificate.markup import environment, ladder_html
from reluopt.certificate.record import NOT_CHECKED
from reluopt.report.collected import RunView
from reluopt.report.drawing import charts

#: Columns of the data that are listed; more of them are counted.
LISTED = 40


def render(views: Sequence[RunView], *, made: str | None = None) -> str:
    """The page of one run, or of several side by side, as one HTML text. Whatever comes of files is escaped.

    Parameters
    ----------
    made : the date that the page gives (default today).
    """
    template = environment().from_string(files("reluopt.report").joinpath("page.html").read_text(encoding="utf-8"))
    drawn = [(title, caption, Markup(svg)) for title, caption, svg in charts(views)]
    return template.render(
        title=" and ".join(dict.fromkeys(v.name for v in views)),
        runs=[_run(v, several=len(views) > 1) for v in views],
        charts=drawn,
        version=reluopt.__version__,
        made=made or time.strftime("%Y-%m-%d"),
    )


def _run(view: RunView, *, several: bool) -> dict[str, Any]:
    """What the template needs of a run, all of it plain texts but for the ladder, which a template made."""
    certificate = view.trusted
    proof = printing.quoted(f"{view.path}/certificate.safetensors")
    return {
        "letter": view.letter if several else "",
        "name": view.name,
        "path": view.path,
        "check": view.check,
        "check_lines": view.check_lines,
        "not_checked": NOT_CHECKED.capitalize(),
        "verdict": certificate.verdict if certificate is not None else "",
        "numbers": _numbers(view),
        "ladder": Markup(ladder_html(certificate)) if certificate is not None else "",
        "facts": fact_lines(certificate) if certificate is not None else [],
        "notes": certificate.notes if certificate is not None else (),
        "settings": _settings(view),
        "columns": view.columns[:LISTED],
        "more_columns": max(0, len(view.columns) - LISTED),
        "verify": f"reluopt verify {printing.quoted(view.path)}",
        "certify": f"reluopt certify {printing.quoted(view.path)}",
        "alone": f"python -m reluopt.certificate.checker {proof} --data data.npz",
    }


def _numbers(view: RunView) -> list[tuple[str, str]]:
    """The figures at the top: L, what is proved, the size of the network."""
    found: list[tuple[str, str]] = []
    certificate, last = view.trusted, view.metrics[-1] if view.metrics else {}
    if certificate is not None:
        found.append(("L(θ) ≤", printing.above(certificate.objective, 7)))
        if certificate.lower_bound > 0:
            found.append(("p* ≥", printing.below(certificate.lower_bound, 7)))
            if math.isfinite(certificate.proved_within):
                found.append(("proved within", printing.percent_above(certificate.proved_within, 3)))
    elif isinstance(last.get("train/objective"), float):
        found.append(("L(θ) ≈", printing.nearest(last["train/objective"], 7)))
    if view.strengths is not None:
        size = abs(view.strengths)
        active = int((size > 1e-6 * size.max()).sum()) if size.any() else 0
        found.append(("active neurons", f"{active} of {len(size)}"))
    for tag in ("train/accuracy", "train/R2", "test/accuracy", "test/R2"):
        if isinstance(last.get(tag), float):
            found.append((tag.replace("/", " "), printing.nearest(last[tag], 4)))
    return found


def _settings(view: RunView) -> list[tuple[str, str]]:
    """Data and settings, a line each."""
    lines = []
    if view.certificate is not None:
        data = view.certificate.data
        lines += [("samples n", str(data.get("n"))), ("features d", str(data.get("d")))]
    for table in ("data", "train", "run"):
        for key, value in view.config.get(table, {}).items():
            shown = printing.nearest(value, 8) if isinstance(value, float) else str(value)
            lines.append((f"{key}" if table != "run" else key.replace("_", " "), shown))
    return lines
