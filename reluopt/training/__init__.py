"""Going down by gradient. Knows nothing convex."""

from reluopt.training.callbacks import Callback, Record
from reluopt.training.config import TrainConfig
from reluopt.training.trainer import Trainer, TrainResult

__all__ = ["Callback", "Record", "TrainConfig", "TrainResult", "Trainer"]
