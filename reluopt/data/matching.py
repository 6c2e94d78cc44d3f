"""Which column of a further text file is which one of the training data: by name, or by place where none is named."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from reluopt.data.encoding import Encoding, Fate
from reluopt.data.table import short
from reluopt.errors import DataError

#: Columns that come of no feature, and whose place a file may also leave out.
_NO_FEATURE = (Fate.INDEX, Fate.DROPPED, Fate.EMPTY)

logger = logging.getLogger(__name__)


def matched(
    encoding: Encoding, names: Sequence[str], file: str, *, has_header: bool, target_may_lack: bool
) -> list[str]:
    """The names of a further text file's columns: its own, or those of the training data by their places.

    Places count where neither file has names: then the columns are those of the training data, perhaps without the
    target. A file that lacks another column would be read shifted, and is refused.

    Raises
    ------
    DataError : only one of the two files has names, or they differ in the number of columns.
    """
    known = [rule.name for rule in encoding.columns]
    nameless = known == [f"x{j}" for j in range(1, len(known) + 1)]  # as a file without a header names them
    if has_header:
        if nameless and not {rule.name for rule in encoding.columns if rule.features} <= set(names):
            raise _header_of_values(names, file)
        return list(names)
    if not nameless:
        raise DataError(
            f"{file} has no header, and the columns of the training data have names.",
            f"Name its columns in the first line, as there: {_listed(known)}; if the first line is a header, say "
            "--header.",
        )
    if len(names) == len(known):
        return known
    without_target = [name for name in known if name not in encoding.targets]
    clear = not any(rule.fate in _NO_FEATURE for rule in encoding.columns)
    if target_may_lack and clear and len(names) == len(without_target):
        logger.warning("%s has no header, and is read as the columns of the training data without the target.", file)
        return without_target
    raise DataError(
        f"{file} has {_columns(len(names))}, and the training data {_columns(len(known))}; without a header they are "
        "told apart by their places.",
        "Give all of them, in the same order"
        + ("; cells of the target may be empty." if target_may_lack else ", the target included."),
    )


def _header_of_values(names: Sequence[str], file: str) -> DataError:
    return DataError(
        f"{file}: the training data had no header, and the first line of this file is read as one: {_listed(names)}.",
        "If it is a sample, say --no-header (header = False in Python); if it is a header, name the columns x1, x2, … "
        "by their places in the training data.",
    )


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count:,} columns"


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(short(name) for name in names[:most]) + (", …" if len(names) > most else "")
