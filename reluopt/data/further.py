"""Further samples of a known kind: read and prepared by the rules of the data that a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from reluopt.data.columnar import read_columnar_table
from reluopt.data.config import IDX_FOLDER, NPZ, TEXT, source_of
from reluopt.data.csv_file import read_text_table
from reluopt.data.encoders import targets_of
from reluopt.data.npz import read_npz_features
from reluopt.data.origin import Origin
from reluopt.data.preparation import Preparation
from reluopt.data.samples import require_images
from reluopt.data.table import Table, TableSettings
from reluopt.errors import DataError


@dataclass(frozen=True, eq=False)
class Further:
    """Further samples, one a row of the file, none left out.

    Attributes
    ----------
    X : (k, d) rows of the training problem's X.
    y : (k,) or (k, C) its targets, NaN where a row has none; None where the file has no target, or an empty one.
    origin : names the rows.
    """

    X: Float[np.ndarray, "k d"]
    y: Float[np.ndarray, "k ..."] | None
    origin: Origin


def read_further(path: Path | str, preparation: Preparation, settings: TableSettings | None = None) -> Further:
    """The samples of a file: a table with the columns of the data (the target may be missing), NPZ, or IDX.

    Parameters
    ----------
    settings : how a text file is read; ``target`` names the target's column where it is not that of the data.

    Raises
    ------
    DataError : a file that cannot be read, or samples that do not fit the rules.
    """
    settings = settings or TableSettings()
    source, arguments = source_of(str(path))
    if not arguments:
        raise DataError(f"'{path}' is the name of a built-in data set.", "Give a file with samples.")
    if source is NPZ:
        patching = preparation.patching
        X, y = read_npz_features(arguments[0], settings.max_bytes, images=patching is not None)
        origin = Origin(arguments[0].name)
        X = X if patching is None else patching.flat(X, origin.name)
        return Further(preparation.apply(X, origin), None if y is None else preparation.target.apply(y, origin), origin)
    if source is IDX_FOLDER:
        samples = source.read(*arguments, max_bytes=settings.max_bytes)
        X, y = (samples.X, samples.y)
        if preparation.patching is not None:
            require_images(samples.image, preparation.patching.shape, samples.origin.name)
        return Further(
            preparation.apply(X, samples.origin), preparation.target.apply(y, samples.origin), samples.origin
        )
    table = (
        read_text_table(arguments[0], settings, preparation.encoding)
        if source is TEXT
        else read_columnar_table(arguments[0], settings)
    )
    return further_of_table(table, preparation, None if settings.target is None else str(settings.target))


def further_of_table(table: Table, preparation: Preparation, target: str | None = None) -> Further:
    """The samples of a table; see :func:`read_further`."""
    encoding = preparation.encoding
    raw = encoding.filled(encoding.features(table))
    gaps = np.isnan(raw)
    if gaps.any():
        i, j = (int(k) for k in np.argwhere(gaps)[0])
        raise DataError(
            f"{table.origin.name}, {table.origin.row(i)}: '{preparation.raw_names[j]}' is missing.",
            "Fill the cell in; a network trained with --missing mean fills in the mean.",
        )
    y = None
    names = encoding.targets
    if target is not None or (names and all(name in table.names for name in names)):
        columns = [table.place(n) for n in names] if target is None else table.find_several(target, "--target")
        values, missing = targets_of(table, columns, encoding)
        if not missing.all():  # an empty column is no target: not even whether it is text can be seen
            of = table.origin.select(np.flatnonzero(~missing), len(values))
            known = preparation.target.apply(values[~missing], of)
            y = np.full((len(values), *known.shape[1:]), np.nan)
            y[~missing] = known
    return Further(preparation.apply(raw, table.origin), y, table.origin)
