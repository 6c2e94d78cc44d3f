"""Data: where it comes from, what is checked, and how it is prepared."""

from reluopt.data.builtin import gaussian, planted
from reluopt.data.checks import check_data
from reluopt.data.config import BUILT_IN, DataConfig, load_dataset
from reluopt.data.dataset import Dataset
from reluopt.data.describe import Description, describe
from reluopt.data.origin import Origin
from reluopt.data.preparation import Preparation
from reluopt.data.preprocess import Preprocessing
from reluopt.data.remarks import remarks

__all__ = [
    "BUILT_IN",
    "DataConfig",
    "Dataset",
    "Description",
    "Origin",
    "Preparation",
    "Preprocessing",
    "check_data",
    "describe",
    "gaussian",
    "load_dataset",
    "planted",
    "remarks",
]
