"""Section 2 of SPEC.md, what the file says: problem, claims and tensors, type-checked."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .biases import NO_BIASES, Biases, read_biases
from .container import header_size, outline
from .losses import PARAMETERS, Loss
from .numbers import LARGEST, Array, within_domain
from .refusal import CannotCheck, Refused, require, shown

FORMAT, VERSION = "reluopt-certificate", 3
WITH_BIASES = 4  # the version of a problem that has the key "biases"
WITH_ROWS = 5  # that of one with the key "rows": pooled rows
MAX_BYTES = 2**33  # of a file, unless the caller says otherwise
CLAIMS = ("objective_at_most", "optimum_at_least", "ratio_at_most")
NETWORK = ("U", "alpha")
EVIDENCE = ("z", "t", "directions", "tree", "groups", "paired", "w", "c", "nu", "r", "level")
SLOPES = ("factor", "eta", "tilt")  # all of them or none
BALL = ("span", "ball")  # the same
OF_FREE_BIASES = ("centre", "reach", "spread")
LEANING = (*SLOPES, "lean")  # the slopes of a problem with free first-layer biases
EVIDENCE_OF_OUTPUTS = ("z", "t", "groups", "paired", "nu", "r", "level")
EVIDENCE_OF_SIMPLICES = ("z", "t", "basis", "plus", "minus", "level")
POOLING = ("pool_sizes", "pool_rows", "pool_weights")
WHOLE = ("tree", "groups", "paired", "pool_sizes", "pool_rows")
BYTES = ("plus", "minus")
KNOWN = {*NETWORK, *EVIDENCE, *SLOPES, *BALL, *EVIDENCE_OF_SIMPLICES, *OF_FREE_BIASES, *POOLING}
KNOWN |= {"v", "intercept", "weights", "lean"}
_KEYS = {"format", "version", "problem", "evidence", "claims", "about"}
_PROBLEM_KEYS = {"n", "d", "outputs", "fingerprint", "loss", "weights", "beta"}


@dataclass(frozen=True)
class Problem:
    """What the claims are about: the data by size and fingerprint, the loss, β, and whether samples have weights."""

    n: int
    d: int
    fingerprint: str
    loss: Loss
    weights: bool
    beta: float
    outputs: int = 1
    biases: Biases = NO_BIASES
    rows: int = 0  # N of pooled rows; 0 without pooling

    @property
    def row(self) -> tuple[int, ...]:
        """What follows n in the shape of y and z, and m in that of alpha: nothing, or the number of outputs."""
        return () if self.outputs == 1 else (self.outputs,)


@dataclass(frozen=True)
class Certificate:
    """A certificate as read: problem, claims and tensors, none of them believed yet."""

    problem: Problem
    claims: dict[str, float]
    tensors: Mapping[str, Array]

    def tensor(self, name: str, *shape: int | None) -> Array:
        """A tensor of exactly this shape (None: any length), its numbers within the domain."""
        require(name in self.tensors, f"the tensor '{name}' is missing")
        value = self.tensors[name]
        kind = np.dtype(np.int64 if name in WHOLE else np.uint8 if name in BYTES else np.float64)
        require(value.dtype == kind, f"the tensor '{name}' has type {value.dtype}, not {kind}")
        fits = len(shape) == value.ndim and all(
            want in (None, have) for want, have in zip(shape, value.shape, strict=True)
        )
        require(fits, f"the tensor '{name}' has shape {shown(value.shape)}, not {shape} (None: any)")
        return value if name in (*WHOLE, *BYTES) else within_domain(value, f"the tensor '{name}'")

    @property
    def with_network(self) -> bool:
        """Whether a claim is about a network."""
        return bool({"objective_at_most", "ratio_at_most"} & set(self.claims))

    @property
    def with_evidence(self) -> bool:
        """Whether a claim is about the optimum."""
        return bool({"optimum_at_least", "ratio_at_most"} & set(self.claims))


def read_certificate(path: Path, max_bytes: int = MAX_BYTES) -> Certificate:
    """Read a certificate file. Its header is checked before the rest is read."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise CannotCheck(f"{shown(str(path))} is not a file")
        if about.st_size > max_bytes:
            raise CannotCheck(f"{shown(str(path))} has {about.st_size} bytes, and {max_bytes} are allowed")
        with path.open("rb") as file:
            head = file.read(8)
            head += file.read(header_size(head))
            outline(head, about.st_size, KNOWN)
            return parse(head + file.read(about.st_size))
    except OSError as error:
        raise CannotCheck(f"{shown(str(path))} cannot be read ({type(error).__name__})") from error


def parse(raw: bytes) -> Certificate:
    """The certificate in the bytes of a file; everything malformed is refused."""
    document, table, start = outline(raw, len(raw), KNOWN)
    tensors = {
        name: np.frombuffer(raw, kind, math.prod(shape), start + at).reshape(shape)
        for name, (kind, shape, at) in table.items()
    }
    return _typed(document, tensors)


def _typed(document: Any, tensors: dict[str, Array]) -> Certificate:
    require(isinstance(document, dict), "the certificate is not an object")
    require(document.get("format") == FORMAT, f"the format is not '{FORMAT}'")
    version = document.get("version")
    require(
        type(version) is int and version in (VERSION, WITH_BIASES, WITH_ROWS),
        f"the version is {shown(version)}, not {VERSION}, {WITH_BIASES} or {WITH_ROWS}; "
        "'reluopt certify RUN' writes a new certificate",
    )
    require(set(document) == _KEYS, f"the certificate must have exactly the keys {sorted(_KEYS)}")
    claims = document["claims"]
    require(isinstance(claims, dict) and len(claims) > 0, "there is no claim")
    require(set(claims) <= set(CLAIMS), f"an unknown claim; the known ones are {', '.join(CLAIMS)}")
    certificate = Certificate(
        _problem(document["problem"], {WITH_BIASES: "biases", WITH_ROWS: "rows"}.get(version)),
        {name: _float(claims[name], name) for name in claims},
        tensors,
    )
    require(all(value >= 0 for value in certificate.claims.values()), "a claim is negative")
    several = certificate.problem.outputs > 1
    kinds = {"outputs": EVIDENCE_OF_OUTPUTS} if several else {"regions": EVIDENCE, "simplices": EVIDENCE_OF_SIMPLICES}
    evidence, fitting = document["evidence"], list(kinds) if certificate.with_evidence else [None]
    names = " or ".join(map(repr, fitting))
    require(evidence in fitting, f"the evidence is not {names}, which the claims need")
    wanted = _wanted(certificate, kinds[evidence] if certificate.with_evidence else (), evidence == "regions")
    require(set(tensors) == wanted, f"the claims need exactly the tensors {sorted(wanted)}, not {sorted(tensors)}")
    return certificate


def _wanted(c: Certificate, needed: tuple[str, ...], regions: bool) -> set[str]:
    """The tensors that the claims need; ``needed`` are those of the evidence."""
    biases, wanted = c.problem.biases, {*needed, *(("weights",) if c.problem.weights else ())}
    if c.problem.rows:
        wanted |= {*POOLING, *(("v",) if c.with_evidence else ())}
    if c.with_network:
        wanted |= {*NETWORK, *(("intercept",) if biases.intercept else ())}
    if biases.first_free:
        require("basis" not in needed, "free first-layer biases allow no simplices")
        wanted |= {*(OF_FREE_BIASES if c.with_evidence else ())}
    for optional in (LEANING if biases.first_free else SLOPES, BALL):
        wanted |= {*(optional if regions and {*optional} & set(c.tensors) else ())}
    return wanted


def _problem(content: Any, extra: str | None) -> Problem:
    """The problem; ``extra`` is the key that its version has beside those of all."""
    keys = _PROBLEM_KEYS | ({extra} if extra else set())
    require(isinstance(content, dict) and set(content) == keys, f"'problem' needs the keys {sorted(keys)}")
    for key in ("n", "d", *(("rows",) if extra == "rows" else ())):
        require(
            type(content[key]) is int and 1 <= content[key] < 2**40, f"'{key}' is not a whole number from 1 to 2^40"
        )
    outputs = content["outputs"]
    require(type(outputs) is int and 1 <= outputs < 2**20, "'outputs' is not a whole number from 1 to 2^20")
    digits = isinstance(content["fingerprint"], str) and re.fullmatch("[0-9a-f]{64}", content["fingerprint"])
    require(digits, "the fingerprint is not 64 hexadecimal digits")
    require(type(content["weights"]) is bool, "'weights' is not true or false")
    beta = _float(content["beta"], "beta")
    require(beta > 0, "beta is not positive")
    loss = read_loss(content["loss"])
    require(outputs > 1 or loss.name != "cross_entropy", "the cross-entropy has several outputs")
    biases = read_biases(content["biases"]) if extra == "biases" else NO_BIASES
    sizes, data = (content["n"], content["d"]), content["fingerprint"]
    rows = content["rows"] if extra == "rows" else 0
    return Problem(*sizes, data, loss, content["weights"], beta, outputs=outputs, biases=biases, rows=rows)


def read_loss(content: Any) -> Loss:
    """The loss {"name": ..., parameter: ...}."""
    name = content.get("name") if isinstance(content, dict) else None
    if not (isinstance(name, str) and name in PARAMETERS):
        raise Refused(f"the loss {shown(name)} is unknown")
    parameter = PARAMETERS[name]
    require(set(content) == {"name", *([parameter] if parameter else [])}, f"the loss '{name}' has other keys")
    value = _float(content[parameter], parameter) if parameter else 0.0
    require(parameter != "delta" or 0 < value <= LARGEST, "'delta' is not between 0 and 2^256")
    require(parameter != "tau" or 0 < value < 1, "'tau' is not between 0 and 1")
    return Loss(name, Fraction(value))


def _float(value: Any, name: str) -> float:
    require(type(value) in (int, float), f"'{name}' is not a number")
    return float(value)
