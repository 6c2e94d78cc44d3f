"""`reluopt certify`: how far the network of a run is from the optimum, with proof."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.certificate.certificate import Certificate
from reluopt.certificate.certify import CertifyInterrupted
from reluopt.certificate.certify import certify as make_certificate
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.file import write_certificate
from reluopt.cli.options import read_toml, settle, with_settings
from reluopt.cli.output import console, tell
from reluopt.cli.show import fact_lines, show_certificate
from reluopt.cli.train import TABLES as TRAIN_TABLES
from reluopt.data import Dataset
from reluopt.errors import CertificateError
from reluopt.interrupts import Interrupted, exit_code
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.problem import Problem
from reluopt.progress import working
from reluopt.runs import RunFolder, write_atomically
from reluopt.staging import staged
from reluopt.tracking.plots import save_ladder
from reluopt.tracking.tensorboard import log_certificate
from reluopt.training.checkpoint import load_weights
from reluopt.workflows.runs import read_run

TABLES = {"certify": CertifyConfig}


@with_settings(**TABLES)
def certify(
    run: Annotated[Path, typer.Argument(help="A run folder that 'reluopt train' wrote.")],
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with a table \[certify].")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the verdict.")] = False,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Certify the network of a run: print the ladder, write certificate.json and ladder.png, log to TensorBoard.

    First come proofs that need no solver, then bounds, then convex programs within --time-budget; all of it within
    --time-limit. Whenever the time ends, or on Ctrl-C, what was proved by then stands.

    [bold]Examples[/]

      reluopt certify runs/breast_cancer-001

      reluopt certify runs/digits-001 --time-budget 300 --gaussian-patterns 0
    """
    file = read_toml(config, {**TRAIN_TABLES, **TABLES})
    settings = settle(CertifyConfig, "certify", file["certify"], given["certify"], str(config or "the command line"))
    folder = RunFolder.open(run)
    with _writing(folder) as writable:
        trained = Trained.read(folder)
        certificate, stop = certify_run(trained, settings, quiet)
        if quiet:
            console.print(certificate.verdict, soft_wrap=True)
        else:
            show_certificate(certificate, folder if writable else None)
        if writable:
            keep(trained, certificate)
    if stop is not None:
        raise Interrupted("Interrupted: the certificate holds what was proved by then.", exit_code(stop) - 128)
    if not writable:
        raise CertificateError(
            f"The certificate was not saved: '{folder.path}' cannot be written.",
            "Allow writing there, or certify a copy of the folder.",
        )
    if certificate.lower_bound <= 0:
        raise typer.Exit(1)


@contextmanager
def _writing(folder: RunFolder) -> Iterator[bool]:
    """The lock on the run, and whether it can be written; one that only can be read is certified all the same."""
    if not os.access(folder.path, os.W_OK):
        tell(f"'{folder.path}' cannot be written: the certificate will only be printed.")
        yield False
        return
    with folder.locked():
        yield True


@dataclass(frozen=True)
class Trained:
    """A run folder as it was trained: its problem, its network, its last records."""

    folder: RunFolder
    data: Dataset
    problem: Problem
    beta_max: float
    network: TwoLayerReLU
    last: dict[str, Any]

    @classmethod
    def read(cls, folder: RunFolder) -> Trained:
        """Read a folder; CheckpointError where it is not as it was trained."""
        record, records = read_run(folder), folder.metrics()
        network = from_weights(*load_weights(folder))
        return cls(folder, record.data, record.problem, record.beta_max, network, records[-1] if records else {})


def certify_run(
    trained: Trained, settings: CertifyConfig, quiet: bool = False
) -> tuple[Certificate, KeyboardInterrupt | None]:
    """The certificate of a run's network, and the interruption if there was one; nothing is written."""
    data = trained.data
    initial_U, _ = load_weights(trained.folder, "initial")
    drift = {k: v for k, v in trained.last.items() if k.startswith("patterns/")} or None
    about = {
        "name": data.name,
        "fingerprint": trained.problem.fingerprint,
        "preprocessing": data.preprocessing,
        "beta_max_estimate": trained.beta_max,
    }
    with working("certifying", quiet=quiet) as say:
        try:
            certificate = make_certificate(
                trained.network, trained.problem, config=settings, initial_U=initial_U, data=about, drift=drift, say=say
            )
        except CertifyInterrupted as stop:
            return stop.certificate, stop
    return certificate, None


def keep(trained: Trained, certificate: Certificate) -> None:
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
    title = f"{data.name}: n = {data.n}, d = {data.d}, β = {trained.problem.beta / trained.beta_max:.3g} β_max"
    step = int(trained.last.get("epoch", 0))
    lines = [tuple(map(str, line)) for line in fact_lines(certificate)]

    def proof_and_record() -> None:
        """Both or none: the record is of this proof."""
        with staged(folder.path) as place:
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
