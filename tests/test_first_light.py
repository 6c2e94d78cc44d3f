"""The first claim of the project: Adam with a falling step reaches a point that is proved stationary."""

from __future__ import annotations

import pytest
from problems import reference, reference_names

from reluopt.certificate.certifying import certify
from reluopt.certificate.config import CertifyConfig
from reluopt.training import TrainConfig, Trainer

#: name: largest (L − d_S(z))/L from the NNLS alone
NNLS_ALONE = {"planted_100x20_b0.1": 2e-3, "diabetes_60x11_b0.1": 2e-3, "bc_100x31_b0.1": 1e-5}
PROGRAM_SOLVED = 3e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", NNLS_ALONE)
def test_adam_with_a_falling_step_is_proved_stationary(name):
    if name not in reference_names():
        pytest.skip("the folder of reference values is not here")
    case = reference(name)
    config = TrainConfig(beta=case.beta, epochs=20_000, learning_rate=1e-2, schedule="cosine")
    network = config.make_network(case.X.shape[1])
    Trainer(network, case.X, case.y, case.beta, config, progress=False).fit()
    certificate = certify(network, case.X, case.y, case.beta, CertifyConfig(gaussian_patterns=0, effort="fast"))
    objective = certificate["objective"].value
    alone = certificate.stationarity.active.relative_gap
    assert alone <= NNLS_ALONE[name]
    assert (objective - certificate["own_dual"].value) / objective <= PROGRAM_SOLVED
    assert certificate["moment"].value <= case.values["best_known"]
