"""Options that several commands have: the data set, and what makes the problem of it, as in `reluopt train`."""

from __future__ import annotations

from typing import Annotated

import typer

DATASET = "A built-in name, a table, an .npz file, or a folder of IDX files."

Dataset = Annotated[str, typer.Argument(help=DATASET)]
Beta = Annotated[float | None, typer.Option(help="Weight decay β, as an absolute number.")]
BetaFraction = Annotated[float | None, typer.Option(help="β as a fraction of β_max (default 0.1).")]
Loss = Annotated[
    str | None, typer.Option(help=r"The loss, as in 'reluopt train' \[default: squared].", show_default=False)
]
OutputBias = Annotated[
    str | None, typer.Option(help="An output intercept: free of weight decay, or decayed, as in 'reluopt train'.")
]
FirstBias = Annotated[str | None, typer.Option(help="free: first-layer biases are not decayed, as in 'reluopt train'.")]
ClassWeight = Annotated[str | None, typer.Option(help="Sample weights by class: balanced.")]
