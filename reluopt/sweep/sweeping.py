"""One run of `reluopt sweep`: train a network, certify it, and give both as one row's results."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

from reluopt.beta_max import SEARCH_SECONDS, beta_max_estimate
from reluopt.certificate.certificate import best_lower_bound
from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.clock import Clock
from reluopt.data import DataConfig, Dataset, load_dataset
from reluopt.errors import DataError
from reluopt.network import TwoLayerReLU
from reluopt.problem import Problem
from reluopt.rigor.rounding import round_up
from reluopt.sweep.grid import table_of
from reluopt.sweep.table import Row
from reluopt.training import Callback, TrainConfig, Trainer
from reluopt.training.callbacks import Record
from reluopt.training.state import TrainState
from reluopt.workflows.searched_training import as_trained, searched

TRAINED = (
    "n",
    "d",
    "beta",
    "beta_max",  # by local search, a lower estimate
    "epochs",
    "stopped",
    "objective",  # L(θ)
    "stationarity_residual",  # ‖∇L‖
    "preserved",  # neurons whose patterns are those of the start, as a fraction; None of optimizer solve
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
    config = TrainConfig(**table_of(point, "train"))
    data_config = DataConfig(**table_of(point, "data"))
    data = _loaded(data_config, point["fingerprint"])
    beta_max = _beta_max(data_config, config.of_the_problem(), point["fingerprint"])
    X, pooling = data.pooled
    problem = config.make_problem(X, data.y, config.resolve_beta(beta_max), pooling=pooling)
    end = _End()
    if config.optimizer == "solve":
        result = as_trained(problem, config, searched(problem, config).refined, watch=end)
        end.scalars["patterns/preserved_from_init"] = None  # its neurons have no patterns at a start
    else:
        network = config.make_network(problem.d, problem.outputs)
        result = Trainer(network, problem, config=config, callbacks=[end], progress=False).fit()
    row: Row = {
        "n": data.n,
        "d": problem.d,
        "beta": problem.beta,
        "beta_max": beta_max,
        "epochs": result.epochs,
        "stopped": result.stopped_because,
        "objective": result.objective,
        "stationarity_residual": result.stationarity_residual,
        "preserved": end.scalars["patterns/preserved_from_init"],
        "patterns": int(end.scalars["patterns/distinct"] or 0),
    }
    asked = table_of(point, "certify")
    certified = _certified(result.network, problem, CertifyConfig(**asked)) if asked else dict.fromkeys(CERTIFIED)
    return row | certified


@functools.lru_cache(maxsize=2)  # neighbours in the grid often share their data
def _loaded(config: DataConfig, fingerprint: str) -> Dataset:
    data = load_dataset(config)
    if data.fingerprint != fingerprint:
        raise DataError("The data have changed since the sweep began.", "Start the sweep again.")
    return data


@functools.lru_cache(maxsize=8)  # β_max depends on the loss and the weights, not on the other settings of the training
def _beta_max(config: DataConfig, train: TrainConfig, fingerprint: str) -> float:
    data = _loaded(config, fingerprint)
    X, pooling = data.pooled
    problem = train.make_problem(X, data.y, 1.0, pooling=pooling)
    return beta_max_estimate(problem, clock=Clock(SEARCH_SECONDS))


class _End(Callback):
    """Keeps the last record."""

    def on_record(self, state: TrainState, record: Record) -> None:
        self.scalars: dict[str, float | None] = dict(record.scalars)


def _certified(network: TwoLayerReLU, problem: Problem, config: CertifyConfig) -> Row:
    certificate = certify(network, problem, config=config)
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
