"""`reluopt predict`: what the network of a run says of new samples."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from reluopt import printing
from reluopt.cli.output import console
from reluopt.cli.scripting import command_result
from reluopt.data.table import TableSettings, short
from reluopt.errors import DataError
from reluopt.model import Predictions
from reluopt.runs import RunFolder
from reluopt.writing import unwritable, write_atomically

#: How the run's own file was read is how a new text file is read, unless it is said otherwise.
OF_THE_RUN = ("header", "delimiter", "decimal", "thousands", "max_bytes")
#: Lines that are shown where no file is written.
SHOWN = 10


def predict_command(
    run: Path,
    samples: Path,
    out: Path | None,
    target: str | None,
    header: bool | None,
    delimiter: str | None,
    replace: bool,
    quiet: bool,
) -> None:
    """See :mod:`reluopt.cli.commands.predict`."""
    folder = RunFolder.open(run)
    model = folder.load_model()
    if out is not None and out.exists() and not replace:
        raise DataError(f"The file '{out}' is there already.", "Say --replace, or name another file.")
    own = folder.config().get("data", {})
    chosen: dict[str, Any] = {name: own[name] for name in OF_THE_RUN if name in own}
    chosen |= {"target": target} | ({} if header is None else {"header": header})
    if delimiter is not None:
        chosen["delimiter"] = delimiter
    if samples.suffix.lower() in (".parquet", ".pq", ".feather", ".arrow"):
        chosen = {name: chosen[name] for name in ("target", "max_bytes") if name in chosen}
    predictions = model.predict_file(samples, TableSettings(**chosen))
    if out is not None:
        try:
            write_atomically(out, as_csv(predictions))
        except OSError as error:
            raise unwritable(out, error) from error
    command_result(_record(predictions, out))
    if not quiet:
        _show(predictions, out)


def _rows(found: Predictions) -> tuple[list[str], list[list[Any]]]:
    """The columns and the rows: the prediction, the network's output, the probability of the label +1 or of each."""
    columns: list[str] = []
    names = found.names or [str(k) for k in range(found.outputs.shape[-1])]
    parts: list[Any] = []
    for name, values in (
        ("prediction", found.values), ("output", found.outputs), ("probability", found.probabilities),
    ):  # fmt: skip
        if values is not None:
            several = values.ndim == 2
            columns += [f"{name} {k}" for k in names] if several else [name]
            parts += values.T.tolist() if several else [values.tolist()]
    return columns, [list(row) for row in zip(*parts, strict=True)]


def as_csv(found: Predictions) -> str:
    """The predictions as CSV, numbers so that they read back exactly."""
    columns, rows = _rows(found)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _record(found: Predictions, out: Path | None) -> dict[str, Any]:
    columns, rows = _rows(found)
    return {
        "samples": len(found.outputs),
        "scored": found.scored,
        "score_name": found.score_name,
        "score": found.score,
        "out": None if out is None else str(out),
        "columns": columns,
        "predictions": rows,
    }


def _whole(label: str) -> str:
    """A label that is not cut, since two may differ at their ends, without signs that a terminal obeys."""
    return short(label, len(label))


def _show(found: Predictions, out: Path | None) -> None:
    columns, rows = _rows(found)
    if out is None:
        console.print(",".join(map(_whole, columns)), soft_wrap=True)
        for row in rows[:SHOWN]:
            line = ",".join(_whole(v) if isinstance(v, str) else repr(v) for v in row)
            console.print(line, soft_wrap=True)
        if len(rows) > SHOWN:
            console.print(f"... and {len(rows) - SHOWN:,} more; --out FILE writes all of them", soft_wrap=True)
    else:
        console.print(f"{len(rows):,} predictions are in {out}", soft_wrap=True)
    if found.score is not None:
        of = "" if found.scored == len(rows) else f" (of the {found.scored:,} samples that have a target)"
        console.print(f"{found.score_name} {printing.nearest(found.score, 4)}{of}", soft_wrap=True)
