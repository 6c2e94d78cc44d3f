"""The settings of a training run. torch is loaded by those methods that need it: ``--help`` does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reluopt.biases import Biases
from reluopt.config import Config, setting, short
from reluopt.errors import ConfigError
from reluopt.losses import LOSSES, make_loss
from reluopt.machine import require_memory, usable_device

if TYPE_CHECKING:  # in full below, so that whoever reads the annotations can find them
    import torch

    import reluopt.network
    import reluopt.problem

#: β as a fraction of β_max where neither ``beta`` nor ``beta_fraction`` is given.
DEFAULT_BETA_FRACTION = 0.1

#: Records a run makes where ``record_every`` is not given, and checkpoints where ``checkpoint_every`` is not.
RECORDS_PER_RUN, CHECKPOINTS_PER_RUN = 500, 20

#: Pairs of steps and changes of the gradient that lbfgs remembers.
LBFGS_MEMORY = 20


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How a network is trained.

    The defaults were chosen by measurement at β = 0.1 β_max, so that 15000 full-batch Adam epochs under a cosine leave
    a small (L − d_S(z))/L on the built-in data; ``experiments/first_light`` measures it (``own_patterns_gap``) and the
    times. A larger first step merged more neurons and lowered that gap, but ended at a slightly larger L.

    Weight decay is *coupled*: β u and β α are added to the gradient, so a stationary point of the optimizer is one of
    L. The decoupled decay of AdamW has other fixed points and is therefore not offered.
    """

    width: int = setting(100, "Number of neurons m.", minimum=1)
    beta: float | None = setting(None, "Weight decay β, as an absolute number.", above=0.0)
    beta_fraction: float | None = setting(
        None,
        f"Weight decay as a fraction of β_max (default {DEFAULT_BETA_FRACTION} where beta is not given).",
        above=0.0,
    )
    loss: str = setting(
        "squared",
        f"The loss: {', '.join(LOSSES)}; huber and quantile take a parameter, as in huber:1.5 and quantile:0.9. hinge, "
        "squared_hinge and logistic are for two classes or labels, cross_entropy for several classes.",
    )
    output_bias: str | None = setting(
        None,
        "An output intercept, free of weight decay or decayed like a weight (default: none).",
        choices=("free", "decayed"),
    )
    first_bias: str | None = setting(
        None,
        "free: first-layer biases, the weights on the ones column, are not decayed (default: like all weights).",
        choices=("free",),
    )
    class_weight: str | None = setting(
        None,
        "Sample weights by class: balanced gives all classes the same total weight.",
        choices=("balanced",),
    )
    optimizer: str = setting(
        "adam",
        "The optimizer, with coupled weight decay. lbfgs searches along lines and has no step size; solve is column "
        "generation, which finds the number of neurons itself (a round is an epoch).",
        choices=("adam", "sgd", "lbfgs", "solve"),
    )
    learning_rate: float = setting(
        1e-2, "Step size of adam and sgd at the start; the gradient is that of L, not divided by n.", above=0.0
    )
    momentum: float = setting(0.9, "Momentum of sgd.", minimum=0.0, below=1.0)
    schedule: str = setting(
        "cosine",
        "How the step size goes from learning_rate to final_learning_rate.",
        choices=("constant", "exponential", "cosine", "linear", "step"),
    )
    final_learning_rate: float = setting(1e-7, "Step size at the end (unless the schedule is constant).", above=0.0)
    step_size: int | None = setting(None, "Epochs between the drops of schedule 'step' (default a tenth).", minimum=1)
    epochs: int = setting(15000, "Passes over the data.", minimum=0)
    batch_size: int | None = setting(None, "Samples a step (default all: full batch).", minimum=1)
    init_scale: float = setting(0.1, "Standard deviation of the random start N(0, scale²).", above=0.0)
    seed: int = setting(0, "Seed of the random start and of the order of the mini-batches.", minimum=0, maximum=2**62)
    dtype: str = setting("float64", "Precision of training.", choices=("float32", "float64"))
    device: str = setting("cpu", "Torch device: cpu, cuda, cuda:1, ...")
    stationarity_tolerance: float = setting(
        1e-9, "Stop when ‖∇L‖·‖θ‖ <= tolerance · L at a record (0: never).", minimum=0.0
    )
    record_every: int | None = setting(
        None, f"Epochs between records (default: about {RECORDS_PER_RUN} records a run).", minimum=1
    )
    checkpoint_every: int | None = setting(
        None, f"Epochs between checkpoints (default: about {CHECKPOINTS_PER_RUN} a run).", minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        loss = make_loss(self.loss)
        if self.class_weight is not None and not loss.classes:
            raise ConfigError(
                f"'class_weight' was given with the {loss.name} loss, which has no classes.",
                "Leave it out, or choose hinge, squared_hinge, logistic or cross_entropy.",
            )
        if self.beta is not None and self.beta_fraction is not None:
            raise ConfigError("Both 'beta' and 'beta_fraction' are given.", "Give one of the two.")
        self._check_optimizer()
        if self.schedule != "constant" and self.final_learning_rate > self.learning_rate:
            raise ConfigError(
                f"'final_learning_rate' is {self.final_learning_rate}, above 'learning_rate' {self.learning_rate}.",
                "Give a final step size at or below the first, or schedule 'constant'.",
            )

    def _check_optimizer(self) -> None:
        """What an optimizer that sees the whole problem cannot do."""
        if self.optimizer in ("lbfgs", "solve") and self.batch_size is not None:
            raise ConfigError(
                f"'batch_size' is {self.batch_size}, and {self.optimizer} takes all samples a step.",
                "Leave it out, or choose adam or sgd.",
            )
        if self.optimizer == "solve" and (self.dtype != "float64" or self.device != "cpu"):
            raise ConfigError(
                f"optimizer = solve with dtype {self.dtype} on '{self.device}': it works in float64 on the processor.",
                "Leave 'dtype' and 'device' out, or choose another optimizer.",
            )

    def of_the_problem(self) -> TrainConfig:
        """What of these settings makes the problem, but for β; all else at its default."""
        return TrainConfig(
            loss=self.loss, class_weight=self.class_weight, output_bias=self.output_bias, first_bias=self.first_bias
        )

    @property
    def biases(self) -> Biases:
        """``output_bias`` and ``first_bias`` as the problem has them."""
        return Biases(self.output_bias or "none", self.first_bias or "none")

    def resolve_beta(self, beta_max: float) -> float:
        """The absolute β: ``beta`` itself, or its fraction of ``beta_max``."""
        if self.beta is not None:
            return self.beta
        fraction = self.beta_fraction if self.beta_fraction is not None else DEFAULT_BETA_FRACTION
        return fraction * beta_max

    def make_problem(
        self, X: Any, y: Any = None, beta: Any = None, weights: Any = None, *, pooling: Any = None
    ) -> reluopt.problem.Problem:
        """The training problem of these settings on X (n, d), y (n,); a problem is returned as it is.

        ``pooling`` : of the rows of X, where these are patches.

        Raises
        ------
        DataError, ConfigError : see :class:`~reluopt.Problem`; also ConfigError for weights beside ``class_weight``.
        """
        from reluopt.problem import Problem, as_problem

        if isinstance(X, Problem):
            return as_problem(X, y, beta, pooling=pooling)
        beta = self.beta if beta is None else beta
        problem = as_problem(X, y, beta, loss=self.loss, weights=weights, biases=self.biases, pooling=pooling)
        if self.class_weight is None:
            return problem
        if weights is not None:
            raise ConfigError("Both weights and 'class_weight' are given.", "Give one of the two.")
        return problem.class_balanced()

    def make_network(self, d: int, outputs: int = 1) -> reluopt.network.TwoLayerReLU:
        """The random start: weights N(0, init_scale²) from ``seed``, the same numbers on every device.

        Raises
        ------
        ConfigError : a device that cannot be used, a width for which the memory is too small.
        """
        import torch

        from reluopt.network import TwoLayerReLU

        dtype, device = getattr(torch, self.dtype), self.torch_device()
        # the weights, their gradient and what the optimizer remembers of them
        require_memory(
            (2 + self.vectors) * self.width * (d + outputs) * dtype.itemsize, f"A network of width {self.width}"
        )
        generator = torch.Generator().manual_seed(self.seed)
        try:
            return TwoLayerReLU(
                d, self.width, outputs, scale=self.init_scale, intercept=self.biases.intercept, generator=generator,
                dtype=dtype, device=device,
            )  # fmt: skip
        except (RuntimeError, MemoryError) as error:  # torch's words for "out of memory" differ
            raise ConfigError(
                f"A network of width {self.width} cannot be made on '{self.device}': {short(error)}.",
                "Choose a smaller width, or another device.",
            ) from error

    def torch_device(self) -> torch.device:
        """The device.

        Raises
        ------
        ConfigError : torch does not know it, or this machine does not have it; the message says how to get one.
        """
        return usable_device(self.device, self.dtype)

    @property
    def vectors(self) -> int:
        """How many vectors of the size of the weights the optimizer holds beside them and their gradient."""
        return 2 * LBFGS_MEMORY + 4 if self.optimizer == "lbfgs" else 2

    @property
    def epochs_between_records(self) -> int:
        """``record_every``, resolved."""
        return self.record_every or max(1, self.epochs // RECORDS_PER_RUN)

    @property
    def epochs_between_checkpoints(self) -> int:
        """``checkpoint_every``, resolved."""
        return self.checkpoint_every or max(1, self.epochs // CHECKPOINTS_PER_RUN)
