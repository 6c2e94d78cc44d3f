r"""All activation patterns of X: every full-dimensional cell of the arrangement of the hyperplanes x_iᵀh = 0.

The method visits vertices and needs no list of what was found. Take generic g_1, g_2. Up to sign, a cell either
meets {g_1ᵀh = 0, g_2ᵀh = 0}, and is then a cell of the arrangement inside that subspace (rank r − 2: recursion),
or, or its opposite, has in the chart g_1ᵀh = 1 a lowest vertex for the height g_2ᵀh. A vertex where r − 1
hyperplanes meet is the lowest of exactly one cell. So for rows in general position every (r−1)-, (r−3)-, …-subset
of rows gives one pair ±cell, 2 Σ_j C(n, r−1−2j) in all: Cover's 2 Σ_{k<r} C(n−1, k). Where more than r − 1
hyperplanes meet, the cells at that vertex are those of the smaller arrangement there, less those that reach
below: the same method, one dimension down. Signs are exact (see :mod:`reluopt.patterns.flats`).

Which patterns these are: a zero row is always active; a row that is a positive (negative) multiple of another has
the same (opposite) entry. "Multiple" is meant exactly: 3x rounded to float64 is usually none. Patterns that exist
only on a face, where x_iᵀh = 0 for some x_i ≠ 0 makes the tie active, are left out: a neuron on a face has the
same fit in any cell beside it and lies in that cell's cone, so the exact program needs no other patterns, and
Gaussian gates find no others (with probability one).

Source: Cover 1965; Pilanci & Ergen 2020 for the use.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from itertools import combinations, islice
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int8

from reluopt.errors import ConfigError, DataError
from reluopt.gate import as_matrix
from reluopt.patterns.exact_rows import directions, independent_columns, integer_rows
from reluopt.patterns.flats import ExactRows, Vertices, vertices
from reluopt.patterns.pattern_set import PatternSet, activation_patterns

log = logging.getLogger(__name__)

#: patterns that ``all_patterns`` makes unless told otherwise
DEFAULT_LIMIT = 1_000_000

_Cells = tuple[Int8[np.ndarray, "T K"], Float[np.ndarray, "r K"]]


def cover_count(n: int, r: int) -> int:
    """2 Σ_{k<r} C(n−1, k): the patterns of n nonzero rows of rank r in general position, at most so many otherwise."""
    if n < 0 or r < 0:
        raise ConfigError(f"n={n} rows of rank r={r}.", "Give numbers of at least 0.")
    return 1 if r == 0 or n == 0 else 2 * sum(math.comb(n - 1, k) for k in range(r))


def expected_count(X: Float[np.ndarray, "n d"]) -> int:
    """Cover's count for the distinct directions and the exact rank of X: reached in general position, else a bound."""
    rows = integer_rows(X)
    return cover_count(len(directions(rows).representative), len(independent_columns(rows)))


def count_up_to(X: Float[np.ndarray, "n d"], limit: int) -> int | None:
    """:func:`expected_count` where it is at most ``limit``, None where it is more, which part of a large X shows.

    The count of some rows and columns is never above that of all: they have no more directions, and no larger rank. So
    a part is counted first, then four times as much of it, until a part has too many or is all of X.
    """
    n, d = X.shape
    rows, columns = limit // 2 + 2, 32
    spread = np.random.default_rng(0).permutation(n)
    largest = np.argsort(-np.abs(X).max(axis=0), kind="stable")
    while rows < n or columns < d:
        if expected_count(X[np.ix_(spread[:rows], largest[:columns])]) > limit:
            return None
        rows, columns = 4 * rows, 4 * columns
    count = expected_count(X)
    return count if count <= limit else None


def all_patterns(X: Any, *, limit: int = DEFAULT_LIMIT, seed: int = 0) -> PatternSet:
    """Every pattern of a full-dimensional cell, each with a gate inside of its cell (none if one is too thin).

    Raises
    ------
    ConfigError : more patterns to expect than ``limit``; the message tells how many and the memory they need.
    DataError : X (n, d), an array, a tensor, a table, lists or a data set, is no finite matrix.
    """
    X = as_matrix(X)
    count = expected_count(X)
    if count > limit:
        n, d = X.shape
        size = count * ((n + 7) // 8 + 8 * d) / 2**20
        raise ConfigError(
            f"X {X.shape} has up to {count:,} activation patterns (about {size:,.0f} MiB), and the limit is {limit:,}.",
            "Raise the limit, take fewer samples, or sample patterns instead.",
        )
    parts = list(iterate_patterns(X, seed=seed))
    gates = [part.gates for part in parts if part.gates is not None]
    bits, whole = np.vstack([p.bits for p in parts]), len(gates) == len(parts)
    if not whole:
        log.warning("Some of the %d cells are too thin for a gate in float64: these patterns have no gates.", len(bits))
    return PatternSet(bits, X.shape[0], np.hstack(gates) if whole else None)


def iterate_patterns(X: Float[np.ndarray, "n d"], *, chunk: int = 4096, seed: int = 0) -> Iterator[PatternSet]:
    """The patterns in disjoint sets of a few thousand, without holding them all; memory O(chunk·(n + d)).

    A set in which a cell is too thin for a gate in float64 has none (``gates`` is None).

    ``chunk`` counts vertices, each of which brings one pair of patterns in general position. ``seed`` draws the
    generic directions, on which only the order of the patterns depends.
    """
    if X.shape[0] == 0:
        raise DataError("There are no samples.", "Give at least one row.")
    rows = integer_rows(X)
    columns, lines = independent_columns(rows), directions(rows)
    if not columns:
        yield PatternSet.from_gates(X, np.zeros((X.shape[1], 1)))
        return
    few, unit = _even_columns(X[lines.representative][:, columns])
    data = ExactRows.make(few, integer_rows(few), np.random.default_rng(seed))
    everything = np.arange(len(few))
    for q in range(0, data.r, 2):
        for signs, inner in _primary(data, everything, q, chunk):
            both = np.hstack([signs, -signs])
            dense = np.ones((len(X), both.shape[1]), dtype=bool)
            active = lines.line >= 0
            dense[active] = both[lines.line[active]] == lines.side[active, None]
            gates = np.zeros((X.shape[1], both.shape[1]))
            gates[columns] = np.hstack([inner, -inner]) / unit[:, None]
            yield _with_checked_gates(X, dense, gates)


def _even_columns(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X with columns of size one, and their units: powers of two, so that no bit changes."""
    unit = np.ldexp(1.0, np.frexp(np.abs(X).max(axis=0))[1])
    return X / unit, unit


def _with_checked_gates(X: np.ndarray, dense: np.ndarray, gates: np.ndarray) -> PatternSet:
    """The set with its gates, or without where a cell is too thin for any float64 gate we have."""
    bits = np.packbits(dense.T, axis=1)
    right = np.isfinite(gates).all() and (activation_patterns(X, gates) == dense).all()
    return PatternSet(bits, len(X), gates if right else None)


def _primary(data: ExactRows, among: Int[np.ndarray, " T"], q: int, chunk: int) -> Iterator[_Cells]:
    """Cells of the rows ``among`` within {g_1..g_q = 0} that have a lowest vertex in the chart g_{q+1} = 1.

    One of each pair ±cell: signs of the rows, and a point inside of the cell.
    """
    k = data.r - q - 1
    subsets = combinations(among.tolist(), k)
    done: set[bytes] = set()
    while batch := list(islice(subsets, chunk)):
        found = vertices(data, among, np.array(batch, dtype=np.int64).reshape(len(batch), k), q)
        simple = found.simple
        if simple.any():
            yield _simple_cells(data, among, found, np.flatnonzero(simple))
        for b in np.flatnonzero(~simple):
            key = np.packbits(found.signs[:, b] == 0).tobytes()
            if key not in done:
                done.add(key)
                yield _crowded_cells(data, among, found.signs[:, b], found.vertex[b], q, chunk)


def _simple_cells(data: ExactRows, among: np.ndarray, found: Vertices, b: np.ndarray) -> _Cells:
    """The one cell above each simple vertex."""
    signs, subset = found.signs[:, b], found.subset[b]
    tight = signs == 0
    place = np.searchsorted(among, subset)
    np.put_along_axis(signs, place.T, found.lowest[b].T, axis=0)
    # edges are scaled to x_j·w_j = 1; in unit rows the point v + Σ s_j‖x_j‖w_j has margin one to each of them
    unit_scale = np.linalg.norm(data.rows[subset], axis=2) * found.lowest[b]
    inward = (found.edges[b] * unit_scale[:, None, :]).sum(axis=2)
    return signs, _inside(data.rows[among], signs, tight, found.vertex[b].T, inward.T)


def _crowded_cells(
    data: ExactRows, among: np.ndarray, signs: np.ndarray, vertex: np.ndarray, q: int, chunk: int
) -> _Cells:
    """The cells above a vertex in which more hyperplanes meet than need to."""
    through = np.flatnonzero(signs == 0)
    tight = among[through]
    local = list(_primary(data, tight, q + 1, chunk))
    below = {column.tobytes() for cells, _ in _cells(data, tight, q + 2, chunk) for column in cells.T}
    inner = np.hstack([points for _, points in local])
    cells = np.hstack([cells for cells, _ in local])
    above = np.array([column.tobytes() not in below for column in cells.T], dtype=bool)
    cells, inner = cells[:, above], inner[:, above]
    full = np.repeat(signs[:, None], cells.shape[1], axis=1)
    full[through] = cells
    unit = data.rows[tight] / np.linalg.norm(data.rows[tight], axis=1)[:, None]
    margin = (cells * (unit @ inner)).min(axis=0)
    inward = inner / np.where(margin > 0, margin, np.nan)  # NaN: no point that float64 has lies in this cell
    at_vertex = np.repeat(vertex[:, None], cells.shape[1], axis=1)
    return full, _inside(data.rows[among], full, (signs == 0)[:, None], at_vertex, inward)


def _cells(data: ExactRows, among: np.ndarray, q: int, chunk: int) -> Iterator[_Cells]:
    """All cells within {g_1..g_q = 0}, both of each pair."""
    for level in range(q, data.r, 2):
        for signs, inner in _primary(data, among, level, chunk):
            yield signs, inner
            yield -signs, -inner


def _inside(
    rows: np.ndarray, signs: np.ndarray, tight: np.ndarray, vertex: np.ndarray, inward: np.ndarray
) -> np.ndarray:
    """v + εw, normalised, with ε so that the smallest margin is the largest possible on this line.

    ``inward`` w has margin at least one to the rows through the vertex, which are marked ``tight``.
    """
    unit = rows / np.linalg.norm(rows, axis=1)[:, None]
    vertex = vertex / np.linalg.norm(vertex, axis=0)
    at_vertex, along = signs * (unit @ vertex), signs * (unit @ inward)
    limits = np.where(tight | (along >= 1), np.inf, at_vertex / np.maximum(1 - along, 1e-300))
    epsilon = np.minimum(limits.min(axis=0), 1.0)
    point = vertex + epsilon * inward
    return point / np.linalg.norm(point, axis=0)
