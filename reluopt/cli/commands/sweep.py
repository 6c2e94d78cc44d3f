"""`reluopt sweep`: a grid of runs, one row each, as far as the machine or the cluster goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sweep_command(
    config: Annotated[Path, typer.Argument(help=r"A TOML file with \[grid], \[data], \[train], \[certify], \[sweep].")],
    out: Annotated[Path | None, typer.Option(help="The folder to write (default runs/NAME of the file).")] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time (default: one a core).")] = None,
    backend: Annotated[str, typer.Option(help="loky: processes on this machine; ray: a Ray cluster.")] = "loky",
    retry: Annotated[bool, typer.Option("--retry", help="Run the rows again that ended in an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the file of rows.")] = False,
) -> None:
    r"""Train and certify a network at every point of a grid: one row each in OUT/rows.parquet.

    Stopped or killed, it goes on where it was when the same command is given again.
    Points can be added to the grid: rows that are done stay.
    A run that fails is a row with its error, and stays one until --retry.

    [bold]Example[/]: widths and weight decays, three starts each; save as grid.toml

      \[data]
      dataset = "diabetes"

      \[train]                     # as in 'reluopt train --config'
      epochs = 5000

      \[grid]                      # any setting of \[data], \[train], \[certify]
      "train.width" = [10, 50, 200]
      "train.beta_fraction" = [0.01, 0.1]
      "train.seed" = [0, 1, 2]

      \[certify]                   # as in 'reluopt certify --config'
      gaussian_patterns = 20

      \[sweep]
      certify = true              # false: only train

    then

      reluopt sweep grid.toml

      reluopt sweep grid.toml --backend ray   # on the cluster RAY_ADDRESS

      tensorboard --logdir runs/grid          # HParams shows every row

    Rows are the same whatever the workers: each run has one thread.
    Only what the clock stops differs from time to time, so \[certify] has
    effort = "fast" here unless the file says otherwise, and the column
    own_status says whether the program of own_above was solved.
    """
    from reluopt.cli import sweep as work

    work.sweep_command(config, out, workers, backend, retry, quiet)
