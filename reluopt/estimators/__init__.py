"""scikit-learn estimators: networks that are found by solving or by descent, with a proof of how good they are."""

from reluopt.estimators.classifier import ReLUClassifier
from reluopt.estimators.path import ReLURegressorCV
from reluopt.estimators.regressor import ReLURegressor

__all__ = ["ReLUClassifier", "ReLURegressor", "ReLURegressorCV"]
