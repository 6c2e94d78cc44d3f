"""A certificate against its data, by the independent checker, and a run's record against what is proved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reluopt.certificate import checker
from reluopt.certificate.file import is_checkable
from reluopt.certificate.record import check_record, check_run
from reluopt.errors import CertificateError
from reluopt.runs import RunFolder
from reluopt.workflows.runs import read_run

#: Bytes of a certificate or data file that is read unless the caller says otherwise.
MAX_BYTES = 2**33


@dataclass(frozen=True)
class Verified:
    """A certificate that was checked.

    Attributes
    ----------
    subject : what it is about. ``proved`` : its claims, a sentence each.
    record : how the run's certificate.json was compared; None of a certificate alone.
    verdict : the checker's.
    """

    subject: str
    proved: tuple[str, ...]
    record: str | None
    verdict: checker.Verdict


def verify_certificate(certificate: Path, data: Path | None = None, max_bytes: int = MAX_BYTES) -> Verified:
    """Derive every claim of a certificate again; of a run folder also its own data, settings and record.

    Parameters
    ----------
    certificate : a certificate file, or a run folder that was certified. Nothing is written.
    data : an .npz file with X and y; a run folder knows its own. ``max_bytes`` : larger files are not read.

    Raises
    ------
    checker.Refused : a claim is not proved. checker.CannotCheck : files that cannot be read.
    CertificateError, CheckpointError : there is no certificate, no data, or a run that is not as it was trained.
    """
    run = RunFolder.open(certificate) if certificate.is_dir() else None
    path = run.proof_file if run is not None else certificate
    if not path.exists():
        _require_checkable(run)
        raise CertificateError(f"There is no certificate {checker.shown(str(path))}.", "Make one: reluopt certify RUN")
    if path.is_dir():
        raise CertificateError(
            f"{checker.shown(str(path))} is a folder, not a certificate.", "Remove it, and certify the run again."
        )
    if data is None and run is None:
        raise CertificateError("A certificate file needs its data.", "Give --data data.npz, or name the run folder.")
    problem = read_run(run).problem if run is not None else None
    content = _read(path, max_bytes)
    if data is not None:
        X, y, weights = checker.read_data(data, max_bytes, pooled=bool(content.problem.rows))
    else:
        assert problem is not None
        X, y, weights = problem.X, problem.targets, problem.weights
    if run is not None and problem is not None:
        check_run(content, run, problem)
    verdict = checker.check(content, X, y, weights)
    record = None if run is None or problem is None else check_record(run, problem, verdict)
    return Verified(verdict.subject(), tuple(verdict.sentences()), record, verdict)


def _read(path: Path, max_bytes: int) -> checker.Certificate:
    """The certificate; one that cannot be read at all is no matter of the data."""
    try:
        return checker.read_certificate(path, max_bytes)
    except checker.CannotCheck as reason:
        remedy = "Allow larger files (--max-gigabytes), or certify the run again."
        raise CertificateError(f"{reason}.", remedy) from reason


def _require_checkable(run: RunFolder | None) -> None:
    """Refuse a run that has no proof because of its loss.

    Raises
    ------
    CertificateError : the checker does not know the run's loss.
    """
    loss = read_run(run).problem.loss if run is not None else None
    if loss is not None and not is_checkable(loss.name):
        raise CertificateError(
            f"The independent checker does not know the {loss.name} loss: a run with it has no proof file.",
            "Read certificate.json, whose claims rest on the conjugate that the loss states.",
        )
