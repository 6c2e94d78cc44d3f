"""The script that sets the processor and a GPU side by side, where there is no GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "benchmarks" / "gpu.py"


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], check=False, capture_output=True, text=True)


def test_lines_of_the_processor():
    done = run("--device", "cpu", "--shape", "60,4,10", "--seconds", "0", "--json")
    assert done.returncode == 0, done.stderr
    about, *lines = map(json.loads, done.stdout.splitlines())
    assert about["torch"] == torch.__version__
    assert [line["program"] for line in lines] == ["relaxed", "gated"]
    for line in lines:
        assert line["seconds"] >= 0
        assert 0 <= line["relative_gap"] <= 1e-4


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device")
def test_no_gpu_is_said_before_any_work():
    done = run()
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
    assert done.stdout == ""
