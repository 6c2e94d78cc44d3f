"""Exact facts about the rows of X: rank, independent columns, parallel rows, signs of determinants.

A float64 number is a rational number, so these questions have exact answers. Rows are scaled to Python
integers (a positive factor changes no pattern); nothing here depends on a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int8

from reluopt.errors import DataError

Row = tuple[int, ...]

#: products of two residues fit into int64
PRIME = 2**31 - 1


def integer_rows(X: Float[np.ndarray, "n d"]) -> list[Row]:
    """Each row times a positive factor, as coprime integers; a zero row stays zero.

    Raises
    ------
    DataError : NaN or infinite entries.
    """
    if not np.isfinite(X).all():
        raise DataError("The data have NaN or infinite entries.", "Clean the data first.")
    return [_integer_row(row) for row in X.tolist()]


def _integer_row(row: Sequence[float]) -> Row:
    ratios = [value.as_integer_ratio() for value in row]
    common = max(denominator for _, denominator in ratios)  # denominators are powers of two
    whole = [numerator * (common // denominator) for numerator, denominator in ratios]
    divisor = math.gcd(*whole) or 1
    return tuple(value // divisor for value in whole)


def independent_columns(rows: Sequence[Row]) -> list[int]:
    """Indices of as many linearly independent columns as the rank, exactly.

    The remaining columns are combinations of these, so the patterns of X are those of X[:, columns].
    """
    columns = modular_columns(rows)
    full = min(len(rows), len(rows[0]) if rows else 0)
    # a minor that is nonzero modulo a prime is nonzero; only a rank below full needs the long way
    return columns if len(columns) == full else _echelon_columns(rows)


def modular_columns(rows: Sequence[Row]) -> list[int]:
    """Independent columns by elimination modulo the prime 2³¹ − 1: fast, never too many, too few for unlucky data only.

    (The rank falls only where the prime divides every minor of the size of the rank.)
    """
    if not rows or not rows[0]:
        return []
    A = np.array([[value % PRIME for value in row] for row in rows], dtype=np.int64)
    columns: list[int] = []
    for j in range(A.shape[1]):
        top = len(columns)
        candidates = np.flatnonzero(A[top:, j])
        if len(candidates) == 0:
            continue
        A[[top, top + candidates[0]]] = A[[top + candidates[0], top]]
        A[top] = A[top] * pow(int(A[top, j]), -1, PRIME) % PRIME
        below = top + np.flatnonzero(A[top:, j])[1:]
        A[below, j:] = (A[below, j:] - A[below, j, None] * A[top, j:]) % PRIME
        columns.append(j)
        if len(columns) == len(A):
            break
    return columns


def _echelon_columns(rows: Sequence[Row]) -> list[int]:
    """Pivot columns by elimination in integers."""
    echelon: list[tuple[int, Row]] = []
    for row in rows:
        for pivot, basis in echelon:
            if row[pivot]:
                row = _reduced(row, basis, pivot)
        lead = next((j for j, value in enumerate(row) if value), None)
        if lead is not None:
            echelon.append((lead, row))
            if len(echelon) == len(rows[0]):
                break
    return sorted(pivot for pivot, _ in echelon)


def _reduced(row: Row, basis: Row, pivot: int) -> Row:
    a, b = basis[pivot], row[pivot]
    mixed = [a * x - b * y for x, y in zip(row, basis, strict=True)]
    divisor = math.gcd(*mixed) or 1
    return tuple(value // divisor for value in mixed)


@dataclass(frozen=True)
class Directions:
    """The distinct lines spanned by the rows.

    Attributes
    ----------
    representative : (N,) the first row of each line.
    line : (n,) which line a row lies on; −1 for a zero row.
    side : (n,) +1 or −1, the row's side against its representative; 0 for a zero row.
    """

    representative: Int[np.ndarray, " N"]
    line: Int[np.ndarray, " n"]
    side: Int8[np.ndarray, " n"]


def directions(rows: Sequence[Row]) -> Directions:
    """Group rows that are positive or negative multiples of each other; coprime integers make this exact."""
    seen: dict[Row, tuple[int, int]] = {}
    representative: list[int] = []
    line, side = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows), dtype=np.int8)
    for i, row in enumerate(rows):
        if not any(row):
            continue
        key = row if next(v for v in row if v) > 0 else tuple(-v for v in row)
        sign = 1 if key is row else -1
        if key not in seen:
            seen[key] = (len(representative), sign)
            representative.append(i)
        line[i], first = seen[key]
        side[i] = sign * first
    return Directions(np.array(representative, dtype=np.int64), line, side)


def determinant_sign(matrix: Sequence[Row]) -> int:
    """The sign of an integer determinant, by fraction-free (Bareiss) elimination: exact."""
    a = [list(row) for row in matrix]
    size, previous, sign = len(a), 1, 1
    for k in range(size - 1):
        swap = next((i for i in range(k, size) if a[i][k]), None)
        if swap is None:
            return 0
        if swap != k:
            a[k], a[swap], sign = a[swap], a[k], -sign
        for i in range(k + 1, size):
            for j in range(k + 1, size):
                a[i][j] = (a[i][j] * a[k][k] - a[i][k] * a[k][j]) // previous
        previous = a[k][k]
    last = a[-1][-1] if a else 1
    return sign * ((last > 0) - (last < 0))
