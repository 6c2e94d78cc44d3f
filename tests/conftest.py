"""Every test runs with the shapes of the package's functions checked."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import shapes
from counts import tries
from hypothesis import settings

# two workers on two cores: more threads would only fight
os.environ.setdefault("OMP_NUM_THREADS", "1")
# limits are of processor time: a busy machine, or one that was asleep, does not end a search early
time.perf_counter = time.process_time
shapes.install()
# a busy machine is slow now and then; that is no failure
settings.register_profile("reluopt", deadline=None, max_examples=tries(25, 200))
settings.load_profile("reluopt")

# a shell's background job ignores Ctrl-C, and what it starts does too: tests of Ctrl-C want it as in a terminal
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _shapes() -> None:
    shapes.start()


class Ticks:
    """A clock that moves by the same step whenever it is read."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        """The time, in seconds that are no seconds."""
        self.now += self.step
        return self.now


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let ``time.perf_counter`` count how often it is read, in steps of so many seconds.

    A search with a time limit then does the same work on every machine, however fast or busy.
    """
    return lambda step: monkeypatch.setattr(time, "perf_counter", Ticks(step))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference values beside the project; users do not have it."""
    if not SHARED.is_dir():
        pytest.skip("the folder of reference values is not here")
    return SHARED
