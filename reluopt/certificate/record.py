"""Hold a run folder against its certificate: config.toml, checkpoint, certificate.json and its verdict."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reluopt.certificate import checker
from reluopt.certificate.certificate import DERIVED, Certificate
from reluopt.certificate.checker import Refused
from reluopt.certificate.estimates import Quantity, Relation
from reluopt.certificate.verdict_text import verdict as in_words
from reluopt.errors import CertificateError
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.training.checkpoint import load_weights

#: Package and checker count rounding in two ways, both rigorous: a bound on p* may differ by this much, relatively.
TOLERANCE = Fraction(1, 10**6)
#: The same of the objective, where little is lost.
TOLERANCE_OF_OBJECTIVE = Fraction(1, 10**9)
#: What a record says and no evidence is on file for; :func:`check_record` only sees that its words fit its numbers.
NOT_CHECKED = (
    "not checked, as certify wrote it: what is possible with the network's own activation patterns, the price of a new "
    "neuron"
)
#: Bytes of a record that is read.
MAX_RECORD = 2**28


def check_run(content: checker.Certificate, run: RunFolder, problem: Problem) -> None:
    """Refuse a certificate of another problem than the run's, or of another network than that of its checkpoint."""
    own = content.problem
    _same("data", problem.fingerprint, own.fingerprint)
    _same("beta", problem.beta, own.beta)
    _same("loss", *(f"{name} {float(p)!r}" for name, p in (_loss(problem), (own.loss.name, own.loss.parameter))))
    _same("biases", *((part.output, part.first) for part in (problem.biases, own.biases)))
    if not content.with_network:
        raise Refused("the certificate is about no network, and a run has one")
    U, alpha, *intercept = load_weights(run)
    parts = [("U", U), ("alpha", alpha)]
    if intercept or problem.biases.intercept:  # 0 where the network has none
        parts.append(("intercept", intercept[0].reshape(-1) if intercept else np.zeros(problem.outputs)))
    if not all(np.array_equal(part, content.tensors.get(name, math.nan)) for name, part in parts):
        raise Refused("the certificate is about another network than the run's last checkpoint; certify the run again")


def _loss(problem: Problem) -> tuple[str, float]:
    """The loss by its name and its parameter, 0 where it has none."""
    parameter = checker.PARAMETERS[problem.loss.name]
    return problem.loss.name, getattr(problem.loss, parameter) if parameter else 0.0


def _same(what: str, run: object, certificate: object) -> None:
    if run != certificate:
        raise Refused(
            f"the certificate is for another {what} ({checker.shown(certificate)}) than the run ({checker.shown(run)})"
        )


def _same_number(name: str, stated: Any, value: float) -> None:
    if stated != (value if math.isfinite(value) else None):
        raise Refused(f"certificate.json gives {name} as {checker.shown(stated)}, which its estimates do not say")


def check_record(run: RunFolder, problem: Problem, proved: checker.Verdict) -> str:
    """Hold certificate.json against the proof; returns what was compared.

    Every estimate of p* that is called proved, the objective, β, the data, and that the verdict is what the numbers
    say. Of estimates over the network's own patterns, and of prices, there is no evidence in the file: they are not
    compared, and what is returned says so.

    Raises
    ------
    Refused : a number or words beyond what is proved.
    CertificateError : no record, or one that cannot be read.
    """
    record, stated = read_record(run.certificate_file)
    try:
        for name, value in stated.items():
            _same_number(name, value, getattr(record, name))
        _same("data", problem.fingerprint, record.data.get("fingerprint", problem.fingerprint))
        _same("beta", problem.beta, record.settings["beta"])
        own = checker.fingerprint(*load_weights(run))
        _same("network", own, record.network.get("fingerprint", own))
        _same("loss", problem.loss.spec, record.settings["loss"])
        bounds = [e for e in record.estimates if e.quantity is Quantity.OPTIMUM and e.is_proved]
        for found in bounds:
            if found.relation is not Relation.AT_LEAST or not _at_most(Fraction(found.value), proved.lower):
                raise Refused(
                    f"certificate.json says {found.value!r} for {checker.shown(found.name)}, more than is proved"
                )
        objective = record.objective
        if not (math.isfinite(objective) and proved.upper is not None and _near(Fraction(objective), proved.upper)):
            raise Refused(f"certificate.json gives the objective {objective!r}, which is not the network's")
        words = in_words(record.estimates, record.pricing, record.biases)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Refused(f"certificate.json is not a record of certify ({type(error).__name__})") from error
    if words != record.verdict:
        raise Refused("the verdict in certificate.json is not what its numbers say")
    held = f"{len(bounds)} lower bounds, the objective, what the verdict says of p*"
    return f"certificate.json agrees: {held}; {NOT_CHECKED}"


def read_record(path: Path) -> tuple[Certificate, dict[str, Any]]:
    """certificate.json of a run, and what it repeats of its estimates.

    Raises
    ------
    CertificateError : it is missing, too large, or not such a record.
    """
    if path.is_dir():
        raise CertificateError(
            f"{checker.shown(str(path))} is a folder, not a record.", "Remove it, and certify the run again."
        )
    if not path.is_file():
        raise CertificateError(f"There is no record {checker.shown(str(path))}.", "Make one: reluopt certify RUN")
    if path.stat().st_size > MAX_RECORD:
        raise CertificateError(f"{checker.shown(str(path))} is too large for a record.", "Certify the run again.")
    try:
        text = path.read_text(encoding="utf-8")
        record = Certificate.from_json(text)
        return record, {name: json.loads(text)[name] for name in DERIVED}
    except (UnicodeDecodeError, RecursionError) as error:
        raise CertificateError(f"{checker.shown(str(path))} is not a record.", "Certify the run again.") from error


def what_differs(record: Certificate, run: RunFolder) -> str | None:
    """What a record is about that is not the run's as it is now, such as "another network"; None where all is.

    Only what files say is compared: no data are read, nothing is computed. Records without the sha256 of their network
    are compared by β alone.

    Raises
    ------
    CheckpointError : a config.toml or a checkpoint that cannot be read.
    """
    beta = run.config().get("run", {}).get("beta")
    if beta is not None and record.settings.get("beta") != beta:
        return "another β"
    known = record.network.get("fingerprint")
    if known is None or not run.latest_checkpoint.is_file():
        return None
    return None if known == checker.fingerprint(*load_weights(run)) else "another network"


def _at_most(value: Fraction, proved: Fraction | None) -> bool:
    return proved is not None and value <= proved + TOLERANCE * abs(value)


def _near(value: Fraction, other: Fraction) -> bool:
    return abs(value - other) <= TOLERANCE_OF_OBJECTIVE * abs(other)
