"""From a table to samples: the rules of :mod:`reluopt.data.decide` applied, missing cells dealt with, rows counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from reluopt.data.cells import looks_numeric, parsed_numbers, texts
from reluopt.data.complaints import missing_cells, missing_target, no_number
from reluopt.data.decide import fit
from reluopt.data.encoding import Encoding
from reluopt.data.gate import refuse_larger
from reluopt.data.reading import Dropped, Reading
from reluopt.data.samples import Samples
from reluopt.data.table import Table, TableSettings
from reluopt.errors import DataError


def encode(table: Table, settings: TableSettings) -> Samples:
    """The samples of a table; a pure function of the table and the settings.

    Raises
    ------
    DataError : see :func:`reluopt.data.decide.fit`; missing cells, unless ``settings.missing`` deals with them; a
        target that is a mixture of numbers and texts.
    """
    encoding = fit(table, settings)
    targets = [table.find(name, "target") for name in encoding.targets]
    n = len(table.columns[targets[0]])
    refuse_larger(f"{table.origin.name}, encoded,", 8 * n * len(encoding.feature_names), 8 * settings.max_bytes)
    y, missing_y = targets_of(table, targets, encoding)
    X = encoding.features(table)
    keep, dropped = _kept_rows(table, targets, missing_y, X, encoding, settings.missing)
    if not keep.any():
        raise DataError(
            f"{table.origin.name}: every row has a missing cell, so none is left." if n else
            f"{table.origin.name} is empty: it has no samples.",
            "Say --missing mean, or leave the columns with missing cells out with --drop." if n else
            "Give at least two samples.",
        )  # fmt: skip
    origin = table.origin
    if not keep.all():
        X, y, origin = X[keep], y[keep], origin.select(np.flatnonzero(keep), n)
    if settings.missing == "mean":
        encoding = encoding.with_fills(_means(X), np.isnan(X).sum(axis=0))
        X = encoding.filled(X)
    reading = Reading(encoding, n, tuple(dropped), table.notes)
    return Samples(X, y, encoding.feature_names, origin, reading=reading)


def encode_like(table: Table, encoding: Encoding, settings: TableSettings) -> Samples:
    """The samples of a table by the rules of another one: the same features, missing cells filled as there.

    Raises
    ------
    DataError : a column that is not there, an unknown category, a missing cell where none was filled, no target.
    """
    y, missing_y = targets_of(table, [table.place(name) for name in encoding.targets], encoding)
    X = encoding.filled(encoding.features(table))
    keep = ~missing_y & ~np.isnan(X).any(axis=1)
    if not keep.all() and settings.missing == "refuse":
        raise DataError(
            f"{table.origin.name}, {table.origin.row(int(np.flatnonzero(~keep)[0]))}: a cell is missing.",
            "Say --missing drop-rows or --missing mean, or fill the cell in.",
        )
    origin = table.origin if keep.all() else table.origin.select(np.flatnonzero(keep), len(y))
    return Samples(X[keep], y[keep], encoding.feature_names, origin)


@np.errstate(invalid="ignore", over="ignore")  # a check names infinite and huge values later
def _means(X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """The mean of what is there in each column, 0 where nothing is."""
    gaps = np.isnan(X)
    return np.where(gaps, 0.0, X).sum(axis=0) / np.maximum((~gaps).sum(axis=0), 1)


def targets_of(table: Table, targets: Sequence[int], encoding: Encoding) -> tuple[np.ndarray, Bool[np.ndarray, " n"]]:
    """The target (n,), or several columns of numbers (n, C), and the mask of rows that lack one.

    Raises
    ------
    DataError : see :func:`target_of`; text among several targets.
    """
    if len(targets) == 1:
        return target_of(table, targets[0], encoding)
    parts = [target_of(table, j, encoding) for j in targets]
    for j, (values, missing) in zip(targets, parts, strict=True):
        if values.dtype.kind == "U":
            at = int(np.flatnonzero(~missing)[0])
            raise no_number(table, table.names[j], at, encoding.notation, target=True)
    return np.column_stack([values for values, _ in parts]), np.logical_or.reduce([missing for _, missing in parts])


def target_of(table: Table, target: int, encoding: Encoding) -> tuple[np.ndarray, Bool[np.ndarray, " n"]]:
    """Numbers, or texts where no cell is or means a number; and the mask of missing ones, which are no class."""
    name, column = table.names[target], table.columns[target]
    parsed = parsed_numbers(column, encoding.notation)
    if not parsed.other.any():
        return parsed.values, parsed.missing
    cells = texts(column) if not pa.types.is_nested(column.type) else None
    others = np.flatnonzero(parsed.other)
    if cells is None or len(others) < (~parsed.missing).sum():  # a mixture is a mistake in the file
        raise no_number(table, name, int(others[0]), encoding.notation, target=True)
    different = pc.unique(cells.drop_null())
    meant = [cell for cell in different[:1000].to_pylist() if looks_numeric(cell)]
    if 2 * len(meant) > min(1000, len(different)):
        at = pc.index(cells, meant[0]).as_py()
        raise no_number(table, name, at, encoding.notation, target=True)
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
