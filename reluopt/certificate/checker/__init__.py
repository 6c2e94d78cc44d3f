r"""Check a reluopt certificate: ``python -m reluopt.certificate.checker CERT --data data.npz``.

Reads nothing of the rest of reluopt: this folder, the standard library and numpy are all it needs (copied elsewhere,
it runs as ``python -m checker``). SPEC.md has the format, the theorem behind it and the rules of rounding; each file
here is one of its sections. Every claimed number is derived again from the data and the evidence, with rounding errors
counted against the claim.

Exit code 0: every claim is proved. 1: refused, with the first reason. 2: the check could not be made.
"""

from .biases import Biases
from .certificate import (
    FORMAT,
    VERSION,
    WITH_BIASES,
    WITH_ROWS,
    Certificate,
    Problem,
    parse,
    read_certificate,
)
from .claims import WORDS, Verdict, check, optimum_lower, support_upper
from .command import main
from .data import fingerprint, read_data
from .losses import PARAMETERS, Loss
from .objective import objective_upper
from .refusal import CannotCheck, Refused, shown

__all__ = [
    "FORMAT",
    "PARAMETERS",
    "VERSION",
    "WITH_BIASES",
    "WITH_ROWS",
    "WORDS",
    "Biases",
    "CannotCheck",
    "Certificate",
    "Loss",
    "Problem",
    "Refused",
    "Verdict",
    "check",
    "fingerprint",
    "main",
    "objective_upper",
    "optimum_lower",
    "parse",
    "read_certificate",
    "read_data",
    "shown",
    "support_upper",
]
