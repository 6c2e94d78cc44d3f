"""The training loop: gradient descent on L with coupled weight decay, full batch or mini-batch, with callbacks."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from reluopt.errors import CheckpointError
from reluopt.interrupts import Interrupted
from reluopt.losses.protocol import each_sample
from reluopt.network import TwoLayerReLU
from reluopt.patterns.drift import DriftRecorder
from reluopt.runs import RunFolder
from reluopt.threads import one_thread_if_small
from reluopt.training.callbacks import (
    Callback,
    ProgressBar,
    Record,
    RecordDrift,
    SaveCheckpoints,
    WriteMetrics,
)
from reluopt.training.checkpoint import diverged, fingerprint, load_checkpoint
from reluopt.training.config import TrainConfig
from reluopt.training.decay import paid
from reluopt.training.decay import residual as residual_of
from reluopt.training.process import finish_epoch_when_stopped
from reluopt.training.quasi_newton import at_end, iterate
from reluopt.training.state import add_decay_of_columns, begin
from reluopt.training.stationary import StopWhenStationary, end_of_line_searches
from reluopt.training.telling import tell
from reluopt.training.train_result import TrainResult, result_of
from reluopt.writing import require_space

logger = logging.getLogger(__name__)


class Trainer:
    """Trains ``network`` in place on ``X`` (n, d), ``y`` (n,) or (n, C) with weight decay ``beta``, or on a problem.

    A step goes along ∇L of the full batch, or of a mini-batch of size B with its loss scaled by n/B; weight decay β on
    both layers goes through the optimizer (coupled). A full-batch step makes the record of its epoch by the way, from
    the same forward and backward pass; in mini-batch mode a record costs one pass over the data (``record_every``).

    Parameters
    ----------
    X, y, beta, config : data and β, whose loss and class weights are those of ``config``; or a
        :class:`~reluopt.Problem` in the place of X: ``Trainer(network, problem, config=config)``.
    callbacks : further callbacks; they see the drift in the record and come before the metrics file.
    run : where metrics and checkpoints go; without it nothing is written.
    progress : a progress bar on standard error; without a terminal a line every few seconds.

    Raises
    ------
    DataError, ConfigError : data, β or settings that cannot be used.
    """

    def __init__(
        self,
        network: TwoLayerReLU,
        X: Any,
        y: Any = None,
        beta: Any = None,
        config: TrainConfig | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        run: RunFolder | None = None,
        progress: bool = True,
    ) -> None:
        config = config or TrainConfig()
        self.state = begin(network, config.make_problem(X, y, beta), config, run)
        self.drift = DriftRecorder(self.state.X)
        own: list[Callback] = [RecordDrift(self.drift), StopWhenStationary(config.stationarity_tolerance), *callbacks]
        if run is not None:
            own += [WriteMetrics(run), SaveCheckpoints(run, config.epochs_between_checkpoints)]
        if progress:
            own.append(ProgressBar())
        self.state.callbacks = tuple(own)
        self._result: TrainResult | None = None

    @property
    def result(self) -> TrainResult | None:
        """What the last record showed, also of training that was stopped or failed; None before the first."""
        return self._result

    @property
    def disk_space(self) -> int:
        """Bytes that the run folder will take, about: three checkpoints, metrics, events."""
        weights = sum(w.numel() * w.element_size() for w in self.state.network.parameters())
        masks = 2 * self.state.X.shape[0] * self.state.network.width // 8
        return 3 * ((1 + self.state.config.vectors) * weights + masks) + 2**24

    def fit(self, resume: bool = False) -> TrainResult:
        """Train to the end. With ``resume`` go on from the run folder's last checkpoint, bit for bit (on a CPU).

        A finished run is returned as it is. A run that was killed before its first checkpoint starts again. Ctrl-C,
        SIGTERM and SIGHUP end the epoch, save and raise Interrupted, a KeyboardInterrupt (where there is a run folder);
        a second one stops at once.

        Raises
        ------
        CheckpointError : nothing to resume, another run's checkpoint, a folder that holds a run already or in which
            another process works, a folder that cannot be written (any more).
        TrainingError : the loss is no longer finite.
        """
        state = self.state
        with state.run.locked() if state.run is not None else nullcontext():
            self._locate(resume)
            if state.stopped_because is not None:
                return result_of(state, self._make_record(*self._full_pass()))
            self._loop()
        if state.interrupted:
            where = shlex.quote(str(state.run.path)) if state.run else ""
            raise Interrupted(
                f"Interrupted after epoch {state.epoch} of {state.config.epochs}; everything is saved.\n"
                f"  -> Resume with: reluopt train --resume {where}   (in Python: Trainer(...).fit(resume=True))",
                state.interrupted,
            )
        assert self._result is not None
        return self._result

    # -- the loop ------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        """All epochs from the present one on; the callbacks are told of the end however it comes."""
        state = self.state
        try:
            with finish_epoch_when_stopped(state), one_thread_if_small(self._operations()):
                tell(state, "on_start")
                while not state.interrupted and self._epoch():
                    pass
                if state.stopped_because is not None:
                    state.interrupted = 0  # it came with the last epoch: the run is finished
        except BaseException:
            # ended in disorder: the weights may be in the middle of an epoch and must not be saved
            state.stopped_because, state.interrupted = None, 0
            raise
        finally:
            tell(state, "on_end")

    def _epoch(self) -> bool:
        """The checkpoint and the record of the weights as they are, then the steps of one epoch; False at the end."""
        state, config = self.state, self.state.config
        last = state.epoch >= config.epochs
        due = last or state.epoch % config.epochs_between_records == 0
        passed = self._full_pass() if due or config.batch_size is None else None
        tell(state, "on_epoch")  # checkpoints: of an unfinished run, also at the last epoch, until its record is made
        if last:
            state.stop("epochs")
        stuck = passed is not None and at_end(state.optimizer, state.network, state.problem, passed[1])
        if due or stuck:
            record = self._make_record(*(passed or self._full_pass()))
            if stuck:
                state.stop(end_of_line_searches(state, record))
            tell(state, "on_record", record)
            self._result = result_of(state, record)
            if state.stopped_because is not None:
                return False
        if config.batch_size is not None:
            self._mini_batches(config.batch_size)
        elif isinstance(state.optimizer, torch.optim.LBFGS):
            assert passed is not None
            iterate(state.optimizer, state.network, state.problem, passed[1], lambda: self._full_pass()[1])
        else:
            add_decay_of_columns(state)
            state.optimizer.step()
        state.scheduler.step()
        state.epoch += 1
        return True

    def _operations(self) -> float:
        """Floating point operations of a step: three products of (B, d) or (B, m) matrices; no matter on a GPU."""
        state = self.state
        n, d = state.X.shape
        return 6.0 * min(state.config.batch_size or n, n) * d * state.network.width

    def _full_pass(self) -> tuple[Tensor, Tensor]:
        """Preactivations and loss on all data; the gradient of the loss is left in ``.grad``."""
        return self._backward(self.state.X, self.state.y, self.state.weights)

    def _mini_batches(self, size: int) -> None:
        """One epoch of steps over a random order of the samples."""
        state, n = self.state, len(self.state.X)
        order = torch.randperm(n, generator=state.sampler).to(state.X.device)
        for batch in order.split(size):
            factor = n / len(batch)
            weights = None if state.weights is None else factor * state.weights[batch]
            self._backward(state.X[batch], state.y[batch], weights, factor)
            add_decay_of_columns(state)
            state.optimizer.step()

    def _backward(self, X: Tensor, y: Tensor, weights: Tensor | None, factor: float = 1.0) -> tuple[Tensor, Tensor]:
        """Preactivations and Σ κ ℓ; its gradient goes back from the closed form of ∂ℓ/∂f."""
        network, loss = self.state.network, self.state.problem.loss
        self.state.optimizer.zero_grad()
        H = network.preactivations(X)
        f = self.state.problem.pooled(network.outputs_of(H))
        fit, kappa = f.detach(), factor if weights is None else weights
        values = loss.value(fit, y)
        value = (each_sample(kappa, values) * values).sum()
        if not math.isfinite(float(value)):
            raise diverged(self.state.epoch)
        f.backward(each_sample(kappa, fit) * loss.gradient(fit, y))
        return H.detach(), value

    @torch.no_grad()
    def _make_record(self, H: Tensor, loss: Tensor) -> Record:
        """The record of the weights from which the last full pass was made."""
        state, network = self.state, self.state.network
        decay = float(paid(network, state.problem))
        objective = float(loss) + decay
        residual = residual_of(network, state.problem)
        size = math.sqrt(2 * decay / state.beta)  # ‖θ‖ of the decayed weights, since the decay is (β/2)‖θ‖²
        name, score = state.problem.loss.score(state.problem.pooled(network.outputs_of(H)), state.y)
        scalars = {
            "train/objective": objective,
            "train/loss": float(loss),
            f"train/{name}": score,
            "train/stationarity_residual": residual,
            "train/learning_rate": state.learning_rate,
        }
        return Record(state.epoch, H, residual * size / objective if objective > 0 else 0.0, scalars)

    # -- around it -----------------------------------------------------------------------------------------------

    def _locate(self, resume: bool) -> None:
        """Find where to start: at a checkpoint, or at the beginning of a folder without one."""
        run, state = self.state.run, self.state
        if run is None:
            if resume:
                raise CheckpointError("There is no run folder to resume from.", "Give Trainer(..., run=RunFolder...).")
            return
        present = [f for f in (run.latest_checkpoint, run.initial_checkpoint) if f.is_file()]
        if present and not resume:
            raise CheckpointError(
                f"The folder '{run.path}' already holds a trained run.", "Resume it, or start a new run folder."
            )
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        if resume:
            run.remove_leftovers()
            if present:
                load_checkpoint(present[0], state, fingerprint(state.X, state.y, state.weights, state.problem.pooling))
            if state.stopped_because is None:
                require_space(run.path, self.disk_space - sum(file.stat().st_size for file in present))
            logger.info("%s resumes at epoch %d", run.path, state.epoch)
