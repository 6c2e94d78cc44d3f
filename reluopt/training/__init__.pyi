from .callbacks import Callback as Callback
from .callbacks import Record as Record
from .config import TrainConfig as TrainConfig
from .trainer import Trainer as Trainer
from .result import TrainResult as TrainResult
