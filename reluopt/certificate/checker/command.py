"""The command line: ``python -m reluopt.certificate.checker CERT --data data.npz``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .certificate import MAX_BYTES, read_certificate
from .claims import check
from .data import read_data
from .refusal import CannotCheck, Refused, shown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0: every claim is proved, 1: refused, 2: the check could not be made."""
    parser = argparse.ArgumentParser(prog="python -m reluopt.certificate.checker", description="Check a certificate.")
    parser.add_argument("certificate", type=Path, help="the certificate file")
    parser.add_argument("--data", type=Path, required=True, help="npz file: X (n, d), y (n,), may have weights (n,)")
    parser.add_argument("--max-bytes", type=int, default=MAX_BYTES, help="largest certificate and data to read")
    options = parser.parse_args(arguments)
    code, lines = answer(options.certificate, options.data, options.max_bytes)
    return code if write(lines, sys.stderr if code == 2 else sys.stdout) else 2


def answer(certificate: Path, data: Path, max_bytes: int = MAX_BYTES) -> tuple[int, list[str]]:
    """(exit code, lines to print)."""
    try:
        require_gradual_underflow()
        content = read_certificate(certificate, max_bytes)
        verdict = check(content, *read_data(data, max_bytes, pooled=bool(content.problem.rows)))
    except Refused as reason:
        return 1, [f"REFUSED: {reason}"]
    except CannotCheck as reason:
        return 2, [f"Could not check: {reason}"]
    except Exception as error:  # out of memory, or a mistake of the checker: nothing is proved and nothing refused
        return 2, [f"Could not check: {type(error).__name__} {shown(str(error))}"]
    return 0, [f"PROVED: {sentence} [{verdict.subject()}]" for sentence in verdict.sentences()]


def require_gradual_underflow() -> None:
    """Some libraries make the processor flush tiny numbers to 0; the rules of SPEC.md are for IEEE arithmetic."""
    if not (np.full(3, 2.0**-1060) * 0.5).all():
        raise CannotCheck("this process flushes subnormal numbers to zero")


def write(lines: Sequence[str], stream: Any) -> bool:
    """Print ASCII lines; False where they could not be written."""
    text = "".join(line.encode("ascii", "backslashreplace").decode() + "\n" for line in lines)
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        if stream in (sys.__stdout__, sys.__stderr__):  # Python would try again when it ends, and end with 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
