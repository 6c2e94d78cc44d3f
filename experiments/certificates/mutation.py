"""Damage valid certificates in every way and count what the checker does: a false claim must never pass.

    .venv/bin/python experiments/certificates/mutation.py --count 20000

Twenty certificates (unsplit, split, paired; with and without a network) are mutated: bit flips, swapped bytes, cut
files; tensors changed, dropped, added, reshaped, cast, made NaN; claims and β edited; samples reordered. Whatever is
accepted is held against an independent reading of SPEC.md (tests/test_checker.py) and exact arithmetic.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np
import test_checker as oracle
import typer

from reluopt.certificate import checker

GROUPS = ([], [(0, [1, 3]), (0, []), (0, [2, 5, 6])])
KINDS = [{"cuts": cuts, "groups": groups, "network": network} for cuts in (0, 1, 2, 4, 6) for groups in GROUPS
         for network in (True, False)]  # fmt: skip


def tampered(document: dict[str, Any], tensors: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """One change of meaning: a claim, β, or a tensor."""
    names = sorted(tensors)
    name = names[rng.integers(len(names))]
    value = tensors[name].copy()
    kind = rng.integers(9)
    if kind == 0:
        claims = document["claims"]
        which = sorted(claims)[rng.integers(len(claims))]
        claims[which] *= float(np.exp(rng.standard_normal() * 10.0 ** rng.integers(-10, 1)))
    elif kind == 1:
        document["beta"] *= float(np.exp(rng.standard_normal() * 10.0 ** rng.integers(-10, 1)))
    elif kind == 2:
        del tensors[name]
    elif kind == 3:
        tensors[name] = value.ravel() if value.ndim > 1 else value[None]
    elif kind == 4:
        tensors[name] = value.astype(np.float32 if value.dtype == np.float64 else np.int32)
    elif kind == 5:
        tensors[name + "2"] = value
    elif value.size and np.issubdtype(value.dtype, np.number):
        where = tuple(rng.integers(size) for size in value.shape)
        whole = np.issubdtype(value.dtype, np.integer)
        special = [0, -1, 1, 10**6] if whole else [0.0, -0.0, np.nan, np.inf, 1e300, -1e-300, 5e-324]
        factor = 1.0 + rng.standard_normal() * 10.0 ** rng.integers(-12, 1)
        value[where] = special[rng.integers(len(special))] if kind < 8 or whole else value[where] * factor
        tensors[name] = value


def one(case: tuple, rng: np.random.Generator) -> tuple[str, str]:
    """Mutate one certificate once; (verdict, reason)."""
    X, y, document, tensors = case
    if rng.random() < 0.5:
        content = oracle.mutated(oracle.packed(document, tensors), rng)
    else:
        document, tensors = json.loads(json.dumps(document)), dict(tensors)
        for _ in range(rng.integers(1, 3)):
            tampered(document, tensors, rng)
        content = oracle.packed(document, tensors)
    if rng.random() < 0.05:
        order = rng.permutation(len(y))
        X, y = np.ascontiguousarray(X[order]), y[order]
    try:
        checker.check(checker.parse(content), X, y)
    except checker.Refused as reason:
        return "refused", str(reason)
    oracle.assert_not_false(content, X, y)
    return "accepted", "the claims still follow"


def main(
    count: Annotated[int, typer.Option(help="Mutations in all.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the mutations.")] = 0,
) -> None:
    """Run the study; it stops with an AssertionError at the first false claim that passes."""
    rng = np.random.default_rng(seed)
    cases = []
    for number, kind in enumerate(KINDS):
        X, y, beta = oracle.problem(np.random.default_rng(number))
        cases.append((X, y, *oracle.certificate(X, y, beta, seed=number, **kind)))
    verdicts, reasons = Counter[str](), Counter[str]()
    for k in range(count):
        verdict, reason = one(cases[k % len(cases)], rng)
        assert reason, "a refusal without a reason"
        verdicts[verdict] += 1
        reasons[reason[:60]] += 1
    typer.echo(f"{dict(verdicts)}; no false claim accepted")
    for reason, times in reasons.most_common(12):
        typer.echo(f"{times:7d}  {reason}")


if __name__ == "__main__":
    typer.run(main)
