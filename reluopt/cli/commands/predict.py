"""`reluopt predict`: what the network of a run says of new samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict_command(
    run: Annotated[Path, typer.Argument(help="A run folder with a trained network.")],
    samples: Annotated[
        Path, typer.Argument(help="A table with the columns of the training data, an .npz file with X, or IDX files.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The CSV file to write: one line a sample; unset: the first are shown.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The target's column, where it is not that of the run.")] = None,
    header: Annotated[bool | None, typer.Option("--header/--no-header", help="Text: whether names come first.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Text: what separates the cells.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file that is in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Predict new samples with the network of a run: numbers or labels as they stand in the data, and the score.

    Columns are found by their names; scaling, categories and labels are those of the training, kept in
    preparation.json. Where the file has the target the score is given: accuracy, or R².

    [bold]Examples[/]

      reluopt predict runs/price-001 new.csv --out predictions.csv

      reluopt predict runs/price-001 test.csv --json
    """
    from reluopt.cli import predict as work

    work.predict_command(run, samples, out, target, header, delimiter, replace, quiet)
