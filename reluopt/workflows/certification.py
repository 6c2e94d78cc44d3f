"""The network of a run folder and its certificate: read, made, kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from reluopt.bounds import LowerBound
from reluopt.certificate.certificate import Certificate
from reluopt.certificate.certifying import CertifyInterrupted, certify
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.facts import fact_lines
from reluopt.certificate.file import is_checkable, write_certificate
from reluopt.data import Dataset
from reluopt.errors import CertificateError
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.runs import RunFolder
from reluopt.staging import staged
from reluopt.tracking.certificate_board import log_certificate
from reluopt.tracking.plots import save_ladder
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.runs import read_run
from reluopt.writing import write_atomically


@dataclass(frozen=True)
class Trained:
    """A run folder as it was trained: its problem, its network, its last records."""

    folder: RunFolder
    data: Dataset
    problem: Problem
    beta_max: float
    network: TwoLayerReLU
    last: dict[str, Any]


def read_trained(folder: RunFolder) -> Trained:
    """A run folder with its network.

    Raises
    ------
    CheckpointError : it is not as it was trained.
    """
    record, records = read_run(folder), folder.metrics()
    network = from_weights(*load_weights(folder))
    return Trained(folder, record.data, record.problem, record.beta_max, network, records[-1] if records else {})


def certify_run(
    trained: Trained,
    settings: CertifyConfig | None = None,
    *,
    bound: LowerBound | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> tuple[Certificate, KeyboardInterrupt | None]:
    """The certificate of a run's network, and the interruption if there was one; nothing is written.

    Parameters
    ----------
    bound : a lower bound that is known already; then no other is searched.
    say : receives a line on each step.
    """
    data = trained.data
    initial_U, *_ = load_weights(trained.folder, "initial")
    drift = {k: v for k, v in trained.last.items() if k.startswith("patterns/")} or None
    about = {
        "name": data.name,
        "fingerprint": trained.problem.fingerprint,
        "preprocessing": data.preprocessing,
        "beta_max_estimate": trained.beta_max,
    }
    try:
        certificate = certify(
            trained.network, trained.problem, config=settings, bound=bound,
            # a network that was refined has other neurons than the one it began with
            initial_U=initial_U if initial_U.shape == trained.network.U.shape else None,
            data=about, drift=drift, say=say,
        )  # fmt: skip
    except CertifyInterrupted as stop:
        return stop.certificate, stop
    return certificate, None


def keep_certificate(trained: Trained, certificate: Certificate) -> None:
    """Write the certificate into the folder: its proof, JSON, PNG and TensorBoard entries, each though another fails.

    Raises
    ------
    CertificateError : names what could not be written.
    """
    folder, data, bound = trained.folder, trained.data, certificate.bound
    assert bound is not None  # certify always makes one
    about = {"name": data.name, "preprocessing": data.preprocessing}
    proof = partial(write_certificate, network=trained.network.weights(), data=about)
    estimates = [asdict(estimate) for estimate in certificate.estimates]
    problem = trained.problem
    title = f"{data.name}: n = {problem.n}, d = {problem.d}, β = {problem.beta / trained.beta_max:.3g} β_max"
    step = max(int(trained.last.get("epoch", 0)), folder.steps_of_solve)
    lines = [tuple(map(str, line)) for line in fact_lines(certificate)]

    def proof_and_record() -> None:
        """Both or none: the record is of this proof."""
        with staged(folder.path) as place:
            if is_checkable(trained.problem.loss.name):
                proof(place / folder.proof_file.name, trained.problem, bound=bound)
            write_atomically(place / folder.certificate_file.name, certificate.to_json())

    steps: dict[str, Callable[[], object]] = {
        f"{folder.proof_file.name} and {folder.certificate_file.name}": proof_and_record,
        folder.ladder_file.name: lambda: save_ladder(folder.ladder_file, estimates, title),
        "TensorBoard's entries": lambda: log_certificate(folder, certificate.verdict, estimates, lines, step=step),
    }
    failed = []
    for name, write in steps.items():
        try:
            write()
        except OSError as error:
            failed.append(f"{name} ({error.strerror or error})")
    if failed:
        raise CertificateError(
            f"In '{folder.path}' could not be written: {', '.join(failed)}.",
            "Free space there or allow writing, and certify again.",
        )
