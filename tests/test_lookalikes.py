"""Ten files as people have them load with what their user would say, and train."""

from __future__ import annotations

import numpy as np
import pytest
from lookalikes import MAKERS

from reluopt.data import DataConfig, load_dataset
from reluopt.training import TrainConfig, Trainer


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_file_as_people_have_it_loads_and_trains(make, tmp_path):
    made = make(np.random.default_rng(0))
    (tmp_path / made.name).write_bytes(made.text.encode("utf-8"))
    data = load_dataset(DataConfig(dataset=str(tmp_path / made.name), **made.settings))
    assert (data.n, data.d) == (made.n, made.d)
    assert data.n + made.dropped == sum(bool(line.strip()) for line in made.text.splitlines()) - (
        0 if made.name.endswith(".data") else 1
    )
    target = data.preparation.target
    assert (target.labels is None) == (made.labels is None)
    if made.labels is not None:
        assert (target.labels["-1"], target.labels["+1"]) == made.labels
    config = TrainConfig(beta=0.1, width=2, epochs=2)
    assert np.isfinite(
        Trainer(config.make_network(data.d), data.X, data.y, 0.1, config, progress=False).fit().objective
    )
