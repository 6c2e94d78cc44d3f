"""scikit-learn's digits, 0-4 against 5-9."""

from benchmark_utils.instances import digits
from benchopt import BaseDataset


class Dataset(BaseDataset):
    """1797 samples of 64 pixels, P Gaussian gates."""

    name = "digits"
    parameters = {"P": [500], "seed": [0]}  # noqa: RUF012 - benchopt's way

    def get_data(self):
        return {"instance": digits(self.P, self.seed)}
