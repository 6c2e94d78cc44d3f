"""A few rounds of ``faults.py``, in a process of its own; CONTRIBUTING.md says how to have more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="faults.py forks")
def test_nothing_is_lost_by_faults_at_random_moments():
    command = [sys.executable, "tests/faults.py", "2", "60"]  # of train and certify
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rounds" in done.stdout
