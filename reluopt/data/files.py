"""CSV and NPZ files as samples; a file that cannot be used is a DataError that says where and why."""

from __future__ import annotations

import csv
import os
import zipfile
import zlib
from array import array
from pathlib import Path

import numpy as np

from reluopt.data.arrays import as_samples
from reluopt.data.origin import Origin
from reluopt.data.samples import Samples
from reluopt.errors import DataError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}


def require_file(path: Path) -> Path:
    """The path, if there is a file that can be read."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"The file '{path}' {what}.", f"Check the path (seen from {Path.cwd()}).")
    if not os.access(path, os.R_OK):
        raise DataError(f"The file '{path}' may not be read by you.", f"Change its permissions: chmod u+r '{path}'.")
    return path


def read_npz(path: Path) -> Samples:
    """The arrays ``X`` (n, d) and ``y`` (n,) of an NPZ file. Pickled objects are never loaded.

    Raises
    ------
    DataError : a missing or damaged file, a missing array, or arrays that are not numbers.
    """
    require_file(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [key for key in ("X", "y") if key not in stored]
            if missing:
                raise DataError(
                    f"{path.name} has no array '{missing[0]}'; it has: {', '.join(stored) or 'nothing'}.",
                    "Save it with numpy.savez(path, X=X, y=y).",
                )
            X, y = stored["X"], stored["y"]
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path.name} cannot be read as an NPZ file of plain arrays ({error}).",
            "Save it again with numpy.savez(path, X=X, y=y), X and y numeric.",
        ) from None
    return as_samples(X, y, path.name)


def read_csv(path: Path, target: str | None = None, delimiter: str | None = None) -> Samples:
    """A CSV file with a header line: the target column by name, every other column a numeric feature.

    Parameters
    ----------
    target : the name of the target column.
    delimiter : comma, semicolon, tab or pipe; None takes the one that splits the header into most columns.

    Raises
    ------
    DataError : a missing or damaged file, a missing or repeated column, a row of another length, a cell that
        is no number. Lines are named as an editor counts them.
    """
    require_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=_delimiter(file.readline(), delimiter), strict=True)
            file.seek(0)
            header = _header(next(rows, []), path.name)
            return _read_rows(rows, header, _target_column(header, target, path.name), path.name)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text ({error}).", "Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{path.name} is not a proper CSV file ({error}).", "Check its quotes.") from None


def _delimiter(header_line: str, name: str | None) -> str:
    if name is not None:
        return DELIMITERS[name]
    return max(DELIMITERS.values(), key=lambda sign: len(next(csv.reader([header_line], delimiter=sign), [])))


def _header(cells: list[str], file: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not any(header):
        raise DataError(f"{file} is empty: it has no header line.", "Give a header line and at least two samples.")
    if all(_is_number(cell) for cell in header):
        raise DataError(
            f"{file}, line 1: all cells are numbers, so the header is missing.",
            "Put the column names in the first line.",
        )
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise DataError(f"{file}: the column '{repeated[0]}' appears more than once.", "Rename or remove one of them.")
    return header


def _target_column(header: list[str], target: str | None, file: str) -> int:
    if target in header:
        return header.index(target)
    problem = f"{file} has no column '{target}'." if target is not None else f"{file}: no target column is chosen."
    raise DataError(problem, f'Set target = "NAME", one of: {", ".join(header)}.')


def _read_rows(rows: csv._reader, header: list[str], target: int, file: str) -> Samples:  # type: ignore[name-defined]
    """Numbers go straight into a flat buffer, so that a large file never stands in memory as text."""
    values, labels, lines = array("d"), [], array("q")
    features = header[:target] + header[target + 1 :]
    for cells in rows:
        if len(cells) <= 1 and not "".join(cells).strip():  # a blank line
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{file}, line {rows.line_num}: {len(cells)} cells, and the header has {len(header)}.",
                "Give every line one cell a column (quote text that holds the delimiter).",
            )
        labels.append(cells[target].strip())
        numbers = cells[:target] + cells[target + 1 :]
        try:
            values.extend(map(float, numbers))
        except ValueError:
            raise _no_number(numbers, features, f"{file}, line {rows.line_num}") from None
        lines.append(rows.line_num)
    origin = Origin(file, "line", np.frombuffer(lines, dtype=np.int64) if lines else np.zeros(0, dtype=np.int64))
    X = np.frombuffer(values) if values else np.zeros(0)
    y = _target(labels, header[target], origin)
    return Samples(X.reshape(len(lines), len(features)), y, tuple(features), origin)


def _target(cells: list[str], name: str, origin: Origin) -> np.ndarray:
    """Numbers, or text labels where no cell is a number; a mixture is a mistake in the file."""
    numeric = [_is_number(cell) for cell in cells]
    if all(numeric):
        return np.array([float(cell) for cell in cells], dtype=np.float64)
    if not any(numeric) and all(cells):
        return np.array(cells)
    i = numeric.index(False) if all(cells) else cells.index("")
    raise _no_number([cells[i]], [name], f"{origin.name}, {origin.row(i)}")


def _no_number(cells: list[str], names: list[str], where: str) -> DataError:
    """The error that names the first cell that is no number."""
    cell, name = next((cell, name) for cell, name in zip(cells, names, strict=True) if not _is_number(cell))
    if not cell.strip():
        return DataError(f"{where}, column '{name}': the cell is empty.", "Fill it in, or drop the line or the column.")
    remedy = "Give a number, or remove the column or encode its values as numbers."
    if _is_number(cell.replace(",", ".")):
        remedy = "Write decimals with a point, not a comma."
    return DataError(f"{where}, column '{name}': '{cell}' is not a number.", remedy)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
