"""What training ends with."""

from __future__ import annotations

from dataclasses import dataclass, field

from reluopt.network import TwoLayerReLU
from reluopt.training.callbacks import Record
from reluopt.training.state import TrainState


@dataclass(frozen=True)
class TrainResult:
    """A trained network and how it got there.

    Attributes
    ----------
    network : the network that was given to the trainer, moved in place.
    epochs : passes over the data behind its weights.
    objective : L(U, α).
    stationarity_residual : ‖∇L‖, with ReLU'(0) = 0.
    relative_residual : ‖∇L‖·‖θ‖/L.
    stopped_because : "epochs", "stationary to ...", "at the zero network ...", or a callback's reason; "" while it
        has not ended.
    """

    network: TwoLayerReLU
    epochs: int
    objective: float
    stationarity_residual: float
    relative_residual: float
    stopped_because: str
    scores: dict[str, float] = field(default_factory=dict)


def result_of(state: TrainState, record: Record) -> TrainResult:
    """The result that a record shows."""
    return TrainResult(
        state.network,
        state.epoch,
        record.scalars["train/objective"],
        record.scalars["train/stationarity_residual"],
        record.relative_residual,
        state.stopped_because or "",
        {tag: v for tag, v in record.scalars.items() if tag.endswith(("/R2", "/accuracy")) or tag == "test/loss"},
    )
