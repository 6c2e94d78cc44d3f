"""From a table to samples: the rules of :mod:`reluopt.data.decide` applied, missing cells dealt with, rows counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from reluopt.data.cells import doubtful_labels, parsed_numbers, texts, textual
from reluopt.data.complaints import doubtful_label, missing_cells, missing_target, no_number
from reluopt.data.decide import fit
from reluopt.data.encoding import Encoding
from reluopt.data.gate import refuse_larger
from reluopt.data.known import holds_numbers
from reluopt.data.notations import looks_numeric
from reluopt.data.reading import Dropped, Reading
from reluopt.data.samples import Samples
from reluopt.data.table import Table, TableSettings
from reluopt.errors import DataError


def encode(table: Table, settings: TableSettings, *, labels: bool = False) -> Samples:
    """The samples of a table; a pure function of its arguments.

    What ``settings.missing`` fills stays NaN until it is known which of the samples are trained on.

    Parameters
    ----------
    labels : whether the target is labels of classes: then it may be a mixture of numbers and texts.

    Raises
    ------
    DataError : see :func:`reluopt.data.decide.fit`; missing cells, unless ``settings.missing`` deals with them; a
        target that is a mixture of numbers and texts.
    """
    encoding = fit(table, settings)
    targets = [table.find(name, "target") for name in encoding.targets]
    if labels and len(targets) == 1:
        told = parsed_numbers(table.columns[targets[0]], encoding.notation).other.any()
        encoding = dataclasses.replace(encoding, text_target=bool(told))
    n = len(table.columns[targets[0]])
    refuse_larger(f"{table.origin.name}, encoded,", 8 * n * len(encoding.feature_names), 8 * settings.max_bytes)
    y, missing_y = targets_of(table, targets, encoding, ask=not labels)
    encoding = dataclasses.replace(encoding, text_target=y.dtype.kind == "U")
    X = encoding.features(table)
    keep, dropped = _kept_rows(table, targets, missing_y, X, encoding, settings.missing)
    return _samples(table, X, y, keep, Reading(encoding, n, tuple(dropped), table.notes), settings)


def _samples(
    table: Table,
    X: Float[np.ndarray, "n d"],
    y: np.ndarray,
    keep: Bool[np.ndarray, " n"],
    reading: Reading,
    settings: TableSettings,
) -> Samples:
    origin = table.origin
    if not keep.any():
        raise DataError(
            f"{origin.name}: every row has a missing cell, so none is left." if len(keep) else
            f"{origin.name} is empty: it has no samples.",
            "Say --missing mean, or leave the columns with missing cells out with --drop." if len(keep) else
            "Give at least two samples.",
        )  # fmt: skip
    if not keep.all():
        X, y, origin = X[keep], y[keep], origin.select(np.flatnonzero(keep), len(keep))
    gaps = settings.missing == "mean"
    return Samples(X, y, reading.encoding.feature_names, origin, reading=reading, gaps=gaps)


def encode_like(table: Table, encoding: Encoding, settings: TableSettings) -> Samples:
    """The samples of a table by the rules of another one: the same features; missing cells are dealt with as there.

    Raises
    ------
    DataError : a column that is not there, an unknown category, missing cells, unless ``settings.missing`` deals with
        them, no target.
    """
    targets = [table.place(name) for name in encoding.targets]
    y, missing_y = targets_of(table, targets, encoding)
    X = encoding.features(table)
    keep, dropped = _kept_rows(table, targets, missing_y, X, encoding, settings.missing)
    return _samples(table, X, y, keep, Reading(encoding, len(y), tuple(dropped), table.notes), settings)


def targets_of(
    table: Table, targets: Sequence[int], encoding: Encoding, *, ask: bool = False
) -> tuple[np.ndarray, Bool[np.ndarray, " n"]]:
    """The target (n,), or several columns of numbers (n, C), and the mask of rows that lack one.

    ``ask`` : whether a refusal says how to tell that one target is labels.

    Raises
    ------
    DataError : see :func:`target_of`; text among several targets.
    """
    if len(targets) == 1:
        return target_of(table, targets[0], encoding, ask=ask)
    parts = [target_of(table, j, encoding) for j in targets]
    for j, (values, missing) in zip(targets, parts, strict=True):
        if values.dtype.kind == "U":
            at = int(np.flatnonzero(~missing)[0])
            raise no_number(table, table.names[j], at, encoding.notation, target=True)
    return np.column_stack([values for values, _ in parts]), np.logical_or.reduce([missing for _, missing in parts])


def target_of(
    table: Table, target: int, encoding: Encoding, *, ask: bool = False
) -> tuple[np.ndarray, Bool[np.ndarray, " n"]]:
    """Numbers, truth values, or texts; and the mask of missing ones, which are no class.

    It is texts where no cell is or means a number, or where ``encoding.text_target`` says so.
    """
    name, column = table.names[target], table.columns[target]
    as_text = encoding.text_target and not holds_numbers(column.type) and textual(column.type)
    parsed = parsed_numbers(column, encoding.notation)
    if not parsed.other.any() and not as_text:
        return (parsed.values == 1.0 if pa.types.is_boolean(column.type) else parsed.values), parsed.missing
    cells = texts(column) if textual(column.type) else None
    others = np.flatnonzero(parsed.other)
    # a mixture is a mistake in the file, unless they are said to be labels
    if cells is None or (not as_text and len(others) < (~parsed.missing).sum()):
        raise no_number(table, name, int(others[0]), encoding.notation, target=True, labels=ask and cells is not None)
    different = pc.unique(cells.drop_null())
    meant = [] if as_text else [cell for cell in different[:1000].to_pylist() if looks_numeric(cell)]
    if 2 * len(meant) > min(1000, len(different)):
        at = pc.index(cells, meant[0]).as_py()
        raise no_number(table, name, at, encoding.notation, target=True, labels=ask)
    if not as_text and (doubtful := doubtful_labels(different.to_pylist())):
        raise doubtful_label(table, name, pc.index(cells, doubtful[0]).as_py())
    missing = np.asarray(pc.is_null(cells).to_numpy(zero_copy_only=False))
    return np.array(pc.fill_null(cells, "").to_pylist(), dtype=np.str_), missing


def _kept_rows(
    table: Table,
    targets: Sequence[int],
    missing_y: Bool[np.ndarray, " n"],
    X: Float[np.ndarray, "n d"],
    encoding: Encoding,
    policy: str,
) -> tuple[Bool[np.ndarray, " n"], list[Dropped]]:
    """The mask of rows that stay, and the rows that do not."""
    if policy == "refuse":
        if missing_y.any():
            name, gaps = next(
                (table.names[j], gaps) for j in targets if (gaps := target_of(table, j, encoding)[1]).any()
            )
            raise missing_target(table, name, np.flatnonzero(gaps))
        _refuse_gaps(table, X, encoding)
    lacking = {"the target is missing": missing_y}
    if policy == "drop-rows":
        lacking["a cell is missing"] = np.isnan(X).any(axis=1) & ~missing_y
    dropped = [
        Dropped(why, int(rows.sum()), table.origin.row(int(np.argmax(rows))))
        for why, rows in lacking.items()
        if rows.any()
    ]
    return ~np.logical_or.reduce(list(lacking.values())), dropped


def _refuse_gaps(table: Table, X: Float[np.ndarray, "n d"], encoding: Encoding) -> None:
    if not (gaps := np.isnan(X)).any():
        return
    i = int(np.argmax(gaps.any(axis=1)))
    owners = [rule.name for rule in encoding.columns for _ in rule.features]
    at: dict[str, Any] = {}
    for name, count in zip(owners, gaps.sum(axis=0), strict=True):
        at[name] = max(at.get(name, 0), int(count))
    name = owners[int(np.argmax(gaps[i]))]
    columns = sum(count > 0 for count in at.values())
    raise missing_cells(table, name, i, sum(at.values()), int(gaps.any(axis=1).sum()), columns)
