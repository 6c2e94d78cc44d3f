"""One run of `reluopt sweep`: train a network, certify it, and give both as one row's results."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

from reluopt.certificate.certificate import best_lower_bound
from reluopt.certificate.certify import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.errors import DataError
from reluopt.network import TwoLayerReLU
from reluopt.rounding import round_up
from reluopt.search.pricing import beta_max_estimate
from reluopt.sweep.grid import table_of
from reluopt.sweep.table import Row
from reluopt.training import Callback, TrainConfig, Trainer
from reluopt.training.callbacks import Record
from reluopt.training.state import TrainState

TRAINED = (
    "n",
    "d",
    "beta",
    "beta_max",  # by local search, a lower estimate
    "epochs",
    "stopped",
    "objective",  # L(θ)
    "stationarity_residual",  # ‖∇L‖
    "preserved",  # neurons whose patterns are those of the start, as a fraction
    "patterns",  # distinct ones at the end
)
CERTIFIED = (
    "own_below",  # p̃(S(θ)) from below, proved
    "own_above",  # p̃(S(θ)) from above, measured
    "own_status",  # how that program's solver ended
    "lower_bound",  # on p*, proved for every width
    "lower_bound_method",
    "proved_ratio",  # L(θ) over the lower bound: L(θ)/p* is at most this
    "gaussian",  # p̃ over Gaussian patterns
)
#: The results of a row, in their order; those of a certificate are None where none was asked for.
RESULTS = (*TRAINED, *CERTIFIED)


def run_point(point: dict[str, Any]) -> Row:
    """Train at a point of :func:`reluopt.sweep.grid.expand`, and certify if the point has settings for it.

    Raises
    ------
    DataError : the data are not those for which the point was made.
    TrainingError : the loss is no longer finite.
    """
    data, beta_max = _prepared(DataConfig(**table_of(point, "data")), point["fingerprint"])
    config = TrainConfig(**table_of(point, "train"))
    beta = config.resolve_beta(beta_max)
    network, end = config.make_network(data.d), _End()
    result = Trainer(network, data.X, data.y, beta, config, callbacks=[end], progress=False).fit()
    row: Row = {
        "n": data.n,
        "d": data.d,
        "beta": beta,
        "beta_max": beta_max,
        "epochs": result.epochs,
        "stopped": result.stopped_because,
        "objective": result.objective,
        "stationarity_residual": result.stationarity_residual,
        "preserved": end.scalars["patterns/preserved_from_init"],
        "patterns": int(end.scalars["patterns/distinct"]),
    }
    asked = table_of(point, "certify")
    certified = _certified(network, data, beta, CertifyConfig(**asked)) if asked else dict.fromkeys(CERTIFIED)
    return row | certified


@functools.lru_cache(maxsize=2)  # neighbours in the grid often share their data
def _prepared(config: DataConfig, fingerprint: str) -> tuple[Dataset, float]:
    data = load_dataset(config)
    if data.fingerprint != fingerprint:
        raise DataError("The data have changed since the sweep began.", "Start the sweep again.")
    return data, beta_max_estimate(data.X, data.y)


class _End(Callback):
    """Keeps the last record."""

    def on_record(self, state: TrainState, record: Record) -> None:
        self.scalars = dict(record.scalars)


def _certified(network: TwoLayerReLU, data: Dataset, beta: float, config: CertifyConfig) -> Row:
    certificate = certify(network, data.X, data.y, beta, config)
    values = {estimate.name: estimate.value for estimate in certificate.estimates}
    best = best_lower_bound(certificate.estimates)
    bound = best.value if best is not None else None
    return {
        "own_below": values["own_dual"],
        "own_above": values["own_primal"],
        "own_status": certificate.stationarity.program_status,
        "lower_bound": bound,
        "lower_bound_method": best.name if best is not None else None,
        "proved_ratio": _ratio(values["objective"], bound) if bound is not None and bound > 0 else None,
        "gaussian": values.get("gaussian"),
    }


def _ratio(upper: float, lower: float) -> float:
    """upper/lower, rounded up: it is said to be at least L(θ)/p*."""
    return round_up(Fraction(upper) / Fraction(lower))
