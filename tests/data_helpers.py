"""Help for the tests of data: loading by settings, and refusals with their words."""

from __future__ import annotations

import numpy as np
import pytest

from reluopt.data import DataConfig, load_dataset
from reluopt.errors import DataError

RNG = np.random.default_rng(7)
X0, Y0 = RNG.standard_normal((12, 3)), RNG.standard_normal(12)


def load(dataset, **settings):
    return load_dataset(DataConfig(dataset=str(dataset), **settings))


def refuses(call, *words):
    """The call raises a DataError that holds all the words and a remedy."""
    with pytest.raises(DataError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), f"'{word}' is not in: {caught.value}"
    assert len(caught.value.remedy) > 10
    return caught.value
