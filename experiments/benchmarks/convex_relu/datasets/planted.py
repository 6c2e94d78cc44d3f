"""Generated: a planted network with noise."""

from benchmark_utils.instances import planted
from benchopt import BaseDataset


class Dataset(BaseDataset):
    """n samples, d features with columns of norm one, P Gaussian gates."""

    name = "planted"
    parameters = {"n, d, P": [(100, 10, 50), (500, 20, 200)], "seed": [0]}  # noqa: RUF012 - benchopt's way
    test_parameters = {"n, d, P": [(30, 3, 10)]}  # noqa: RUF012

    def get_data(self):
        return {"instance": planted(self.n, self.d, self.P, self.seed)}
