"""What a page shows of a run folder, read and checked; nothing is written, nothing is made up where it is missing."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from reluopt import neurons
from reluopt.certificate import checker
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.record import read_record, what_differs
from reluopt.config import short
from reluopt.errors import CertificateError, CheckpointError, ReluoptError
from reluopt.runs import RunFolder
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.verification import verify_certificate

#: Bytes of solve.jsonl that are read.
MAX_TRACE = 2**26


@dataclass(frozen=True, eq=False)
class RunView:
    """One run as a page shows it.

    Attributes
    ----------
    letter : its name in the charts. ``path`` : as it was given.
    config : the tables of config.toml. ``metrics`` : the records of training, ``trace`` : of ``reluopt solve``.
    certificate : its record, None where it was not certified.
    check : "proved", "refused", "unchecked" or "none"; ``check_lines`` : the checker's words.
    strengths : (m,) ‖u_j‖|α_j|, with the sign of α_j where there is one output; None without a network.
    columns : (name, what became of it) of the data, from preparation.json.
    """

    letter: str
    path: str
    config: dict[str, dict[str, Any]]
    metrics: list[dict[str, Any]]
    trace: list[dict[str, Any]]
    certificate: Certificate | None
    check: str
    check_lines: tuple[str, ...]
    strengths: Float[np.ndarray, " m"] | None
    columns: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The data set's name."""
        return str(self.config.get("data", {}).get("dataset", "data"))

    @property
    def trusted(self) -> Certificate | None:
        """The certificate, unless the checker refused it."""
        return None if self.check == "refused" else self.certificate


def collect(run: RunFolder, letter: str = "A", *, check: bool = True) -> RunView:
    """Read a run folder; with ``check`` the independent checker reads its proof.

    Raises
    ------
    CheckpointError : files that cannot be read.
    """
    certificate, problem = _certificate(run)
    state: str = "none"
    lines: tuple[str, ...] = ()
    if certificate is not None or problem or run.proof_file.is_file():
        state, lines = _checked(run) if check else _unchecked(run, certificate)
    if problem and state == "proved":
        state, lines = "refused", (problem,)
    return RunView(
        letter, str(run.path), run.config(), run.metrics(), _trace(run), certificate, state, lines, _strengths(run),
        _columns(run),
    )  # fmt: skip


def _certificate(run: RunFolder) -> tuple[Certificate | None, str]:
    if not run.certificate_file.is_file():
        return None, ""
    try:
        return read_record(run.certificate_file)[0], ""
    except (CertificateError, KeyError, TypeError, ValueError) as error:
        return None, f"certificate.json cannot be read: {short(error)}"


def _checked(run: RunFolder) -> tuple[str, tuple[str, ...]]:
    try:
        found = verify_certificate(run.path)
    except checker.Refused as reason:
        return "refused", (str(reason),)
    except ReluoptError as error:
        return "unchecked", (f"The check could not be made: {error.problem} {error.remedy}",)
    except (checker.CannotCheck, OSError, ArithmeticError, ValueError, KeyError, TypeError) as error:
        return "unchecked", (f"The check could not be made: {short(error)}",)
    return "proved", (f"about: {found.subject}", *found.proved, *([found.record] if found.record else []))


def _unchecked(run: RunFolder, certificate: Certificate | None) -> tuple[str, tuple[str, ...]]:
    """Without a check: refused all the same where the record is not of what the run is now."""
    other = None if certificate is None else what_differs(certificate, run)
    if other is not None:
        return "refused", (f"certificate.json is of {other} than the run has now; certify it again",)
    return "unchecked", ("The proof was not checked for this page.",)


def _trace(run: RunFolder) -> list[dict[str, Any]]:
    """The lines of solve.jsonl that can be read."""
    file, found = run.path / "solve.jsonl", []
    if not file.is_file() or file.stat().st_size > MAX_TRACE:
        return []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _strengths(run: RunFolder) -> Float[np.ndarray, " m"] | None:
    if not run.latest_checkpoint.is_file():
        return None
    U, alpha, *_ = load_weights(run)
    size = np.asarray(neurons.strength(U, alpha))
    return size * np.sign(alpha) if alpha.ndim == 1 else size


def _columns(run: RunFolder) -> tuple[tuple[str, str], ...]:
    try:
        preparation = run.preparation()
    except CheckpointError:
        return ()
    rules = preparation.columns()
    if rules:
        return tuple((rule.name, f"{rule.fate}{f' ({rule.why})' if rule.why else ''}") for rule in rules)
    gone = set(preparation.constant)
    return tuple((name, "constant, left out" if name in gone else "kept as numbers") for name in preparation.raw_names)


def numbers_of(records: list[dict[str, Any]], x: str, y: str) -> tuple[list[float], list[float]]:
    """The pairs of two keys where both are finite numbers."""
    good = [(float(r[x]), float(r[y])) for r in records if _is_number(r.get(x)) and _is_number(r.get(y))]
    return [a for a, _ in good], [b for _, b in good]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
