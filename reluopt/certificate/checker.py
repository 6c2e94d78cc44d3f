r"""Check a reluopt certificate: ``python -m reluopt.certificate.checker CERT --data data.npz``.

Reads nothing of the rest of reluopt: the standard library, numpy and safetensors are all it needs. The format, the
theorem behind it and the rules of rounding are in SPEC.md; the numbers of its sections are given below. Every claimed
number is derived again from the data and the evidence, with rounding errors counted against the claim.

Exit code 0: every claim is proved. 1: refused, with the first reason. 2: the check could not be made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors

FORMAT, VERSION = "reluopt-certificate", 2
MAX_BYTES = 8 * 2**30
MAX_DEPTH = 10_000
UNIT = 2.0**-53
TINY = 2.0**-1020  # more than any operation loses to underflow
Array = np.ndarray
CLAIMS = ("objective_at_most", "optimum_at_least", "ratio_at_most")


class Refused(Exception):
    """The certificate does not prove what it claims; the message says why."""


class CannotCheck(Exception):
    """The check could not be made (a file is missing, the data are not a data file)."""


def require(condition: bool | np.bool_, reason: str) -> None:
    """Refuse with the reason unless the condition holds."""
    if not condition:
        raise Refused(reason)


# -- section 2: the file -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificate:
    """A certificate as read: numbers, claims and tensors, none of them believed yet."""

    beta: float
    n: int
    d: int
    fingerprint: str
    claims: dict[str, float]
    tensors: dict[str, Array]


def read_certificate(path: Path) -> Certificate:
    """Read a certificate file."""
    require(path.stat().st_size <= MAX_BYTES, f"the file is larger than {MAX_BYTES} bytes")
    return parse(path.read_bytes())


def parse(raw: bytes) -> Certificate:
    """Type-check the bytes of a certificate; everything malformed is refused."""
    try:
        size = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8 : 8 + size], parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        document = json.loads(
            header["__metadata__"]["certificate"], parse_constant=_no_constant, object_pairs_hook=_no_duplicates
        )
        tensors = load_tensors(raw)
    except Refused:
        raise
    except Exception as error:  # whatever the parsers raise on damaged bytes is a reason for refusal
        raise Refused(f"not a readable certificate file ({type(error).__name__}: {error})") from error
    require(set(header["__metadata__"]) == {"certificate"}, "the metadata must have the one key 'certificate'")
    return _typed(document, tensors)


def _no_constant(name: str) -> float:
    raise Refused(f"the metadata contain {name}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(pairs) == len(dict(pairs)), "the metadata give a key twice")
    return dict(pairs)


def _typed(document: Any, tensors: dict[str, Array]) -> Certificate:
    require(isinstance(document, dict), "the metadata are not an object")
    known = {"format", "version", "loss", "beta", "data", "claims", "about"}
    require(set(document) == known, f"the metadata must have exactly the keys {sorted(known)}")
    require(document["format"] == FORMAT, f"the format is not '{FORMAT}'")
    require(type(document["version"]) is int and document["version"] == VERSION, f"the version is not {VERSION}")
    require(document["loss"] == "squared", "the loss is not 'squared'")
    data, claims = document["data"], document["claims"]
    require(isinstance(data, dict) and {"n", "d", "fingerprint"} <= set(data), "'data' lacks n, d or fingerprint")
    require(all(type(data[k]) is int and data[k] >= 1 for k in "nd"), "n and d must be whole numbers, at least 1")
    require(isinstance(data["fingerprint"], str), "the fingerprint is not text")
    require(isinstance(claims, dict) and len(claims) > 0, "there is no claim")
    require(set(claims) <= set(CLAIMS), f"an unknown claim; the known ones are {', '.join(CLAIMS)}")
    numbers = {"beta": document["beta"], **claims}
    for name, value in numbers.items():
        require(type(value) in (int, float) and abs(value) < 1e308, f"'{name}' is not a finite number")
    beta = float(document["beta"])
    require(beta > 0 and beta == document["beta"], "beta is not a positive float64")
    for name, value in claims.items():
        require(value >= 0 and float(value) == value, f"the claim '{name}' is not a float64 ≥ 0")
    return Certificate(
        beta, data["n"], data["d"], data["fingerprint"], {k: float(v) for k, v in claims.items()}, tensors
    )


def read_data(path: Path) -> tuple[Array, Array]:
    """X (n, d) and y (n,), float64, from an npz file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            X, y = file["X"], file["y"]
    except Exception as error:  # any failure to read the data means that nothing can be checked
        raise CannotCheck(f"{path} is not an npz file with X and y ({type(error).__name__}: {error})") from error
    if X.dtype != np.float64 or y.dtype != np.float64 or X.ndim != 2 or y.shape != X.shape[:1]:
        raise CannotCheck(
            f"{path} must hold X (n, d) and y (n,) of float64, not {X.dtype} {X.shape}, {y.dtype} {y.shape}"
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise CannotCheck(f"{path} has NaN or infinite entries")
    return np.ascontiguousarray(X), np.ascontiguousarray(y)


def fingerprint(X: Array, y: Array) -> str:
    """sha256 over n, d as little-endian unsigned 64-bit integers, X row by row and y as little-endian float64."""
    digest = hashlib.sha256(struct.pack("<QQ", *X.shape))
    digest.update(np.ascontiguousarray(X, dtype="<f8").data)
    digest.update(np.ascontiguousarray(y, dtype="<f8").data)
    return digest.hexdigest()


def tensor(c: Certificate, name: str, shape: Sequence[int | None], kind: type = np.float64) -> Array:
    """A tensor of exactly this shape (None: any length) and type, with finite entries."""
    require(name in c.tensors, f"the tensor '{name}' is missing")
    value = c.tensors[name]
    require(value.dtype == kind, f"the tensor '{name}' has type {value.dtype}, not {np.dtype(kind)}")
    fits = len(shape) == value.ndim and all(want in (None, have) for want, have in zip(shape, value.shape, strict=True))
    require(fits, f"the tensor '{name}' has shape {value.shape}, not {tuple(shape)} (None: any)")
    require(np.isfinite(value).all(), f"the tensor '{name}' has NaN or infinite entries")
    return value


# -- section 3: rounding -------------------------------------------------------------------------------------------


def gamma(k: int) -> float:
    """An upper bound of ku/(1 − ku), the relative error of k operations in any order; four spare ones included."""
    return (k + 4) * UNIT / (1 - 2 * (k + 4) * UNIT)


def norm_upper(values: Array) -> float:
    """≥ the Euclidean (Frobenius) norm of an array."""
    size = np.abs(values).ravel()
    top = float(size.max(initial=0.0))
    if not math.isfinite(top):
        return math.inf
    scale = math.ldexp(1.0, min(1000, max(-1000, math.frexp(top)[1])))
    return math.sqrt(float(((size / scale) ** 2).sum()) + size.size * TINY) * scale * (1 + gamma(size.size + 8))


def exact_dot(a: Array, b: Array) -> Fraction:
    """aᵀb without rounding: mantissas multiplied and added as integers."""
    (p, i), (q, j) = np.frexp(a), np.frexp(b)
    shift = i.astype(np.int64) + j
    base = int(shift.min(initial=0))
    left, right = np.ldexp(p, 53).astype(np.int64).tolist(), np.ldexp(q, 53).astype(np.int64).tolist()
    total = sum((x * y) << s for x, y, s in zip(left, right, (shift - base).tolist(), strict=True))
    return Fraction(total) * Fraction(2) ** (base - 106)


def at_least_sum(w: Array, a: Array, b: Array) -> Array:
    """w ≥ a + b in exact arithmetic, entry by entry: the rounded sum with Knuth's exact error of it."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    return (w > total) | ((w == total) & (error <= 0))


# -- section 4: L(θ) from above ------------------------------------------------------------------------------------


def objective_upper(X: Array, y: Array, U: Array, alpha: Array, beta: float) -> float:
    """≥ ½‖(XUᵀ)_+ α − y‖² + (β/2)(‖U‖² + ‖α‖²)."""
    (m, d), size, squares = U.shape, np.abs(alpha), []
    reach = (size @ np.abs(U)) * (1 + gamma(m)) + TINY * m
    for start in range(0, len(X), 2048):
        rows = X[start : start + 2048]
        hidden = np.maximum(rows @ U.T, 0.0)
        off = gamma(d) * (np.abs(rows) @ reach) * (1 + gamma(d)) + gamma(m + 1) * (hidden @ size) * (1 + gamma(m))
        off += TINY * (d + 1) * (m + float(size.sum()))
        residual = (np.abs(hidden @ alpha - y[start : start + 2048]) * (1 + gamma(1)) + off) * (1 + gamma(3))
        squares += (residual * residual * (1 + gamma(1)) + TINY).tolist()
    decay = ((U * U).sum(axis=1) + alpha * alpha) * (1 + gamma(d + 1)) + TINY * (d + 1)
    total = (0.5 * math.fsum(squares) + 0.5 * beta * math.fsum(decay.tolist())) * (1 + gamma(6)) + TINY
    return math.nextafter(total, math.inf)


# -- section 5: the regions cover all u ----------------------------------------------------------------------------

Path_ = list[tuple[int, int]]


def leaf_paths(tree: Array, directions: int) -> list[Path_]:
    """The signed cuts that lead to each leaf; refuses a table that is not one binary tree over all of its rows."""
    paths: dict[int, Path_] = {}
    todo: list[tuple[int, Path_]] = [(0, [])]
    visited = 0
    require(len(tree) >= 1, "the tree has no root")
    while todo:
        node, path = todo.pop()
        visited += 1
        cut, above, below = (int(v) for v in tree[node])
        if cut == -1:
            require(below == -1 and above >= 0, f"node {node} is a malformed leaf")
            require(above not in paths, f"leaf {above} is used twice")
            paths[above] = path
            continue
        require(0 <= cut < directions, f"node {node} cuts by direction {cut}, which does not exist")
        require(len(path) < MAX_DEPTH, "the tree is too deep")
        for child, sign in ((above, 1), (below, -1)):
            require(node < child < len(tree), f"node {node} has the child {child}, outside of the rows below it")
            todo.append((child, [*path, (cut, sign)]))
        require(visited <= len(tree), "the tree visits a node twice")
    require(visited == len(tree), "the tree has nodes that are not reached, or reached twice")
    require(sorted(paths) == list(range(len(paths))), "the leaves are not numbered 0, 1, 2, …")
    return [paths[i] for i in range(len(paths))]


# -- section 6: one region and one sign ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """One region: its cuts (k, d), signed; its groups of paired samples; where its numbers lie in the tensors."""

    cuts: Array
    groups: list[Array]
    paired: Array
    forms: slice
    squares: list[slice]


def leaves(c: Certificate) -> list[Leaf]:
    """The regions, with the shapes that the tree and the groups imply."""
    directions = tensor(c, "directions", (None, c.d))
    paths = leaf_paths(tensor(c, "tree", (None, 3), np.int64), len(directions))
    result, first, corner = [], 0, 0
    for number, (path, groups) in enumerate(zip(paths, leaf_groups(c, len(paths)), strict=True)):
        cuts = np.array([sign * directions[k] for k, sign in path]).reshape(-1, c.d)
        paired, squares = np.concatenate([*groups, np.zeros(0, np.int64)]), []
        require(len(np.unique(paired)) == len(paired), f"leaf {number} has a sample twice in its groups")
        for group in groups:
            squares.append(slice(corner, corner + (1 + len(cuts) + 2 * len(group)) ** 2))
            corner = squares[-1].stop
        result.append(Leaf(cuts, groups, paired, slice(first, first + 1 + len(cuts)), squares))
        first += 1 + len(cuts)
    return result


def leaf_groups(c: Certificate, count: int) -> list[list[Array]]:
    """The groups of paired samples of each of ``count`` leaves."""
    table, paired = tensor(c, "groups", (None, 2), np.int64), tensor(c, "paired", (None,), np.int64)
    require(((table[:, 0] >= 0) & (table[:, 0] < count)).all(), "a group names a leaf that does not exist")
    require((table[1:, 0] >= table[:-1, 0]).all(), "the groups are not in the order of their leaves")
    require(((table[:, 1] >= 0) & (table[:, 1] <= c.n)).all(), "a group has a size outside of 0 … n")
    require(sum(table[:, 1].tolist()) == len(paired), "'paired' has another length than the groups together")
    require(((paired >= 0) & (paired < c.n)).all(), "a group names a sample that does not exist")
    result: list[list[Array]] = [[] for _ in range(count)]
    for (leaf, size), end in zip(table.tolist(), np.cumsum(table[:, 1]).tolist(), strict=True):
        group = paired[end - size : end]
        require((group[1:] > group[:-1]).all(), "the samples of a group are not in rising order")
        result[leaf].append(group)
    return result


def decided(X: Array, leaf: Leaf) -> Array:
    """+1 or −1 for the samples whose row is itself a cut of the region, up to sign; 0 for the others."""
    sign = np.zeros(len(X))
    for target in (-1.0, 1.0):  # on both sides x_iᵀu = 0, and either is right; SPEC.md says +1
        for cut in leaf.cuts:
            sign[(target * cut == X).all(axis=1)] = target
    return sign


def leaf_upper(X: Array, z: Array, leaf: Leaf, w: Array, c: Array, nu: Array, r: list[Array], level: float) -> float:
    """≥ zᵀ(Xu)_+ for every ‖u‖ ≤ 1 in the region, from w, c (1 + k, n), nu (n,) and r, one matrix a group."""
    sign = decided(X, leaf)
    require(level >= 0, "the level is negative")
    sign[leaf.paired] = 0.0  # a paired sample is a variable of its group, decided or not
    require((nu[sign != 0] == 0).all(), "nu must be 0 for decided samples")
    free = sign == 0
    free[leaf.paired] = False
    require((w[:, ~free] == 0).all() and (c[:, ~free] == 0).all(), "w and c must be 0 for decided and paired samples")
    signed = (c >= 0).all() and (nu[free] >= 0).all() and all((square >= 0).all() for square in r)
    require(signed, "c, r or nu has a negative entry")
    require((w[1:] >= c[1:]).all(), "w is below c")
    require(at_least_sum(w[0, free], z[free], c[0, free]).all(), "w is below z + c")
    require((w[:, free & (nu == 0)] == 0).all(), "nu is 0 where w is not")
    F = np.zeros((1 + len(leaf.cuts), 1 + X.shape[1]))
    F[0, 0], F[1:, 1:] = 1.0, leaf.cuts
    M, error = head_matrix(X, F, np.where(sign > 0, z, 0.0), w, c, np.where(free, nu, 0.0), len(r))
    slack = 0.0
    for number, (group, square) in enumerate(zip(leaf.groups, r, strict=True)):
        try:
            part, off, beside = eliminated(X[group], z[group], F, nu[group], 0.5 * (square + square.T), len(r))
        except np.linalg.LinAlgError as problem:
            raise Refused(f"group {number} is not definite") from problem
        M, error, slack = M + part, error + off, slack + beside
    return level_upper(M, error * (1 + gamma(len(r))), level, slack * (1 + gamma(len(r))))


def head_matrix(X: Array, F: Array, fixed: Array, w: Array, c: Array, nu: Array, later: int) -> tuple[Array, float]:
    """(M, e): what free and decided samples add on (1, u), and e ≥ the Frobenius norm of its rounding error.

    ``fixed`` is z where s_i = x_iᵀu, ``nu`` is 0 but for free samples, ``later`` counts the matrices yet to be added.
    """
    (n, d), f = X.shape, len(F)
    root = np.sqrt(nu[nu > 0])[:, None]
    scaled, rows = 0.5 * (w[:, nu > 0].T / root), X[nu > 0]
    half, size = scaled @ F, np.abs(scaled) @ np.abs(F)
    half[:, 1:] += 0.5 * root * rows
    size[:, 1:] += 0.5 * root * np.abs(rows)
    M = half.T @ half
    M[1:] -= (X.T @ c.T) @ F
    M[0, 1:] += X.T @ fixed
    # everything that was added up, in absolute values, each in the Frobenius norm
    terms = norm_upper(size) * norm_upper(size) + norm_upper((np.abs(X).T @ c.T) @ np.abs(F))
    terms += norm_upper(np.abs(X).T @ np.abs(fixed))
    largest = 1.0 + max(float(np.abs(v).max(initial=0.0)) for v in (X, F, c, fixed))
    underflow = TINY * (n + f + d + 1) ** 3 * (1.0 + terms) * largest * largest
    return 0.5 * (M + M.T), gamma(2 * n + 6 * f + later + 32) * terms * 1.01 + underflow


def group_blocks(X: Array, z: Array, F: Array, nu: Array, r: Array) -> tuple[Array, ...]:
    """H, B, A of a group for a symmetric r; with −|X|, |z|, |F|, −|nu|, the sizes of all that is added up in them."""
    head, s, p = slice(0, len(F)), slice(len(F), len(F) + len(X)), slice(len(F) + len(X), None)
    rows = np.hstack([np.zeros((len(X), 1)), X])  # x_jᵀu as a form of (1, u)
    image = r[p, p] @ rows
    cross = F.T @ (r[head, p] @ rows)
    H = F.T @ r[head, head] @ F - (cross + cross.T) + rows.T @ image
    B = (r[s, head] + r[p, head]) @ F - (r[s, p] @ rows + image) + 0.5 * nu[:, None] * rows
    B[:, 0] += 0.5 * z
    return H, B, np.diag(nu) - (r[s, s] + (r[s, p] + r[p, s]) + r[p, p])


def eliminated(X: Array, z: Array, F: Array, nu: Array, r: Array, later: int) -> tuple[Array, float, float]:
    """(H + YᵀY, e, δ): the group's form is ≤ aᵀ(H + YᵀY)a + δ on a = (1, u); e ≥ the Frobenius norm of the rounding."""
    H, B, A = group_blocks(X, z, F, nu, r)
    sizes = [norm_upper(part) for part in group_blocks(-np.abs(X), np.abs(z), np.abs(F), -np.abs(nu), r)]
    L = np.linalg.cholesky(A)
    Y = np.linalg.solve(L, B)
    reach, left, right = norm_upper(X), norm_upper(L), norm_upper(Y)
    share = gamma(2 * len(r) + later + 16) * 1.01
    largest = 1.0 + max(float(np.abs(v).max(initial=0.0)) for v in (X, F, r))
    underflow = TINY * (len(r) + X.shape[1] + 1) ** 4 * largest * largest
    off_H = share * (sizes[0] + right * right) + underflow
    off_B = norm_upper(B - L @ Y) * (1 + gamma(1)) + share * (sizes[1] + left * right) + underflow
    off_A = norm_upper(A - L @ L.T) * (1 + gamma(1)) + share * (sizes[2] + left * left) + underflow
    return H + Y.T @ Y, off_H, (3 * reach * off_B + reach * reach * off_A) * (1 + gamma(8)) + TINY


def level_upper(M: Array, error: float, level: float, slack: float) -> float:
    """≥ (1, u)ᵀM(1, u) + slack for ‖u‖ ≤ 1: level·(1 + ‖u‖²) plus what is missing to a square RᵀR."""
    require(np.isfinite(M).all() and math.isfinite(error) and math.isfinite(slack), "the bound matrix overflows")
    M = -M
    M[np.diag_indices(len(M))] += level
    try:
        values, vectors = np.linalg.eigh(M)
    except np.linalg.LinAlgError as problem:
        raise Refused("the bound matrix has no computable eigenvalues") from problem
    R = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    missing = np.abs(M - R.T @ R) + 2 * UNIT * np.abs(M) + TINY * len(M)
    rest = (norm_upper(missing) + gamma(len(M)) * norm_upper(R) * norm_upper(R) + error) * (1 + gamma(8))
    return max(0.0, math.nextafter((2 * level + 2 * rest + slack) * (1 + gamma(8)) + TINY, math.inf))


# -- section 7: the claims -----------------------------------------------------------------------------------------


def support_upper(c: Certificate, X: Array, z: Array) -> float:
    """B ≥ |zᵀ(Xu)_+| for all ‖u‖ ≤ 1: the worst region and sign."""
    regions = leaves(c)
    forms, count = regions[-1].forms.stop, len(regions)
    squares = max((square.stop for leaf in regions for square in leaf.squares), default=0)
    w, low = tensor(c, "w", (2, forms, c.n)), tensor(c, "c", (2, forms, c.n))
    nu, r = tensor(c, "nu", (2, count, c.n)), tensor(c, "r", (2, squares))
    level, worst = tensor(c, "level", (2, count)), 0.0
    for number, leaf in enumerate(regions):
        for side, signed in enumerate((z, -z)):
            own = [r[side, at].reshape(math.isqrt(at.stop - at.start), -1) for at in leaf.squares]
            parts = (w[side, leaf.forms], low[side, leaf.forms], nu[side, number], own, float(level[side, number]))
            try:
                bound = leaf_upper(X, signed, leaf, *parts)
            except Refused as reason:
                raise Refused(f"leaf {number}, sign {'+-'[side]}: {reason}") from reason
            require(math.isfinite(bound), f"leaf {number}, sign {'+-'[side]}: nothing is proved")
            worst = max(worst, bound)
    return worst


def optimum_lower(c: Certificate, X: Array, y: Array) -> Fraction:
    """The exact value t yᵀz − ½t²‖z‖² ≤ p* with t = min(β/B, yᵀz/‖z‖²), rational."""
    z = tensor(c, "z", (c.n,))
    bound = support_upper(c, X, z)
    yz, zz = exact_dot(y, z), exact_dot(z, z)
    if zz == 0 or yz <= 0:
        return Fraction(0)
    t = yz / zz
    if bound > 0:
        t = min(t, Fraction(c.beta) / Fraction(bound))
    return t * yz - t * t * zz / 2


@dataclass(frozen=True)
class Verdict:
    """What was proved: the claims of the certificate, and the numbers derived here (None where not claimed)."""

    claims: Mapping[str, float]
    upper: float | None
    lower: Fraction | None


def check(c: Certificate, X: Array, y: Array) -> Verdict:
    """Derive every claimed number; Refused where one does not follow."""
    require((c.n, c.d) == X.shape, f"the certificate is for {c.n}×{c.d} data, these are {X.shape[0]}×{X.shape[1]}")
    require(c.fingerprint == fingerprint(X, y), "the fingerprint is that of other data")
    claims, upper, lower = c.claims, None, None
    network, evidence = {"U", "alpha"}, {"z", "directions", "tree", "groups", "paired", "w", "c", "nu", "r", "level"}
    with_network = bool({"objective_at_most", "ratio_at_most"} & set(claims))
    with_evidence = bool({"optimum_at_least", "ratio_at_most"} & set(claims))
    wanted = (network if with_network else set()) | (evidence if with_evidence else set())
    require(set(c.tensors) == wanted, f"the claims need exactly the tensors {sorted(wanted)}, not {sorted(c.tensors)}")
    try:
        with np.errstate(all="ignore"):
            if with_network:
                U = tensor(c, "U", (None, c.d))
                upper = objective_upper(X, y, U, tensor(c, "alpha", (len(U),)), c.beta)
                require(math.isfinite(upper), "the objective overflows")
            if with_evidence:
                lower = optimum_lower(c, X, y)
    except ArithmeticError as problem:
        raise Refused(f"the numbers overflow ({problem})") from problem
    for name, rule in RULES.items():
        if name in claims:
            require(rule(claims[name], upper, lower), f"the claim {name} = {claims[name]!r} is not proved")
    return Verdict(claims, upper, lower)


RULES: dict[str, Callable[[float, Any, Any], bool]] = {
    "objective_at_most": lambda claim, upper, lower: upper <= claim,
    "optimum_at_least": lambda claim, upper, lower: Fraction(claim) <= lower,
    "ratio_at_most": lambda claim, upper, lower: Fraction(upper) <= Fraction(claim) * lower,
}

WORDS = {
    "objective_at_most": "the network's objective L(θ) is at most",
    "optimum_at_least": "no network of any width has an objective below",
    "ratio_at_most": "L(θ) is at most this many times the global optimum:",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reluopt.certificate.checker", description="Check a certificate.")
    parser.add_argument("certificate", type=Path, help="the certificate file")
    parser.add_argument("--data", type=Path, required=True, help="npz file with X (n, d) and y (n,), float64")
    options = parser.parse_args(arguments)
    try:
        X, y = read_data(options.data)
        if not options.certificate.is_file():
            raise CannotCheck(f"there is no file {options.certificate}")
        verdict = check(read_certificate(options.certificate), X, y)
    except Refused as reason:
        sys.stdout.write(f"REFUSED: {reason}\n")
        return 1
    except (CannotCheck, OSError, MemoryError) as reason:
        sys.stderr.write(f"Could not check: {reason}\n")
        return 2
    for name, value in verdict.claims.items():
        sys.stdout.write(f"PROVED: {WORDS[name]} {value!r}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
