"""`reluopt certify`: how far the network of a run is from the optimum, with proof."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from reluopt.certificate.certify import certify as make_certificate
from reluopt.certificate.config import CertifyConfig
from reluopt.certificate.file import write_certificate
from reluopt.certificate.ladder import Certificate
from reluopt.certificate.verdict import best_lower_bound
from reluopt.cli.options import read_toml, settle, with_settings
from reluopt.cli.show import console, fact_lines, show_certificate
from reluopt.cli.train import TABLES as TRAIN_TABLES
from reluopt.cli.train import read_run
from reluopt.network import from_weights
from reluopt.runs import RunFolder, write_atomically
from reluopt.tracking.plots import save_ladder
from reluopt.tracking.tensorboard import log_certificate
from reluopt.training.checkpoint import load_weights

TABLES = {"certify": CertifyConfig}


@with_settings(**TABLES)
def certify(
    run: Annotated[Path, typer.Argument(help="A run folder that 'reluopt train' wrote.")],
    config: Annotated[Path | None, typer.Option(help=r"A TOML file with a table \[certify].")] = None,
    *,
    given: dict[str, dict[str, Any]],
) -> None:
    """Certify the network of a run: print the ladder, write certificate.json and ladder.png, log to TensorBoard.

    First come proofs that need no solver, then convex programs within --time-budget; whenever the budget ends, what
    was proved by then stands.

    [bold]Examples[/]

      reluopt certify runs/breast_cancer-001

      reluopt certify runs/digits-001 --time-budget 300 --gaussian-patterns 0
    """
    file = read_toml(config, {**TRAIN_TABLES, **TABLES})
    settings = settle(CertifyConfig, "certify", file["certify"], given["certify"], str(config or "the command line"))
    folder = RunFolder.open(run)
    certificate = certify_run(folder, settings)
    show_certificate(certificate, folder)
    if best_lower_bound(certificate.rungs) is None:
        raise typer.Exit(1)


def certify_run(folder: RunFolder, settings: CertifyConfig) -> Certificate:
    """The certificate of a run folder's network, written into the folder as JSON, PNG and TensorBoard entries."""
    data, _, beta, beta_max = read_run(folder)
    network = from_weights(*load_weights(folder))
    initial_U, _ = load_weights(folder, "initial")
    records = folder.metrics()
    drift = {k: v for k, v in records[-1].items() if k.startswith("patterns/")} if records else None
    with console.status("certifying") as status:
        certificate = make_certificate(
            network,
            data.X,
            data.y,
            beta,
            settings,
            initial_U=initial_U,
            data={
                "name": data.name,
                "fingerprint": data.fingerprint,
                "preprocessing": data.preprocessing,
                "beta_max_estimate": beta_max,
            },
            drift=drift,
            say=lambda message: status.update(f"{message} ..."),
        )
    write_atomically(folder.certificate_file, certificate.to_json())
    assert certificate.bound is not None  # certify always makes one
    about = {"name": data.name, "preprocessing": data.preprocessing}
    write_certificate(folder.proof_file, data.X, data.y, beta, certificate.bound, network=network.weights(), data=about)
    rungs = [asdict(rung) for rung in certificate.rungs]
    save_ladder(folder.ladder_file, rungs, f"{data.name}: n = {data.n}, d = {data.d}, β = {beta / beta_max:.3g} β_max")
    lines = [tuple(map(str, line)) for line in fact_lines(certificate.facts)]
    epoch = int(records[-1]["epoch"]) if records else 0
    log_certificate(folder, certificate.verdict, rungs, lines, step=epoch)
    return certificate
