"""Every test runs with the public functions' shapes checked by beartype."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# two workers on two cores: more threads would only fight
os.environ.setdefault("OMP_NUM_THREADS", "1")
# as in PEP 484, an int is good where a float is asked for
install_import_hook("reluopt", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
# a busy machine is slow now and then; that is no failure
settings.register_profile("reluopt", deadline=None)
settings.load_profile("reluopt")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference values beside the project; users do not have it."""
    if not SHARED.is_dir():
        pytest.skip("the folder of reference values is not here")
    return SHARED
