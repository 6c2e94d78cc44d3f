from .callbacks import Callback as Callback
from .callbacks import Record as Record
from .config import TrainConfig as TrainConfig
from .train_result import TrainResult as TrainResult
from .trainer import Trainer as Trainer
