"""Damage valid certificates in every way and count what the checker does: a false claim must never pass.

    .venv/bin/python experiments/certificates/mutation.py --count 20000 [--only-simplicial | --only-signs]

Certificates of every loss (unsplit, split, paired, with affine slopes, a tree for each sign, in simplicial cones;
with and without weights and a network; of one output and of several) are mutated: bit flips, swapped bytes, cut files;
tensors changed, dropped, added, reshaped, cast, made NaN; claims, β and the loss edited; samples reordered. Whatever is
accepted is held against an independent reading of SPEC.md (tests/test_checker.py; of several outputs and of simplicial
cones tests/second_checker.py) and exact arithmetic.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import numpy as np
import output_certificates as several
import simplicial_certificates as simplicial
import test_checker as oracle
import typer

from reluopt.certificate import checker

GROUPS = ([], [(0, [1, 3]), (0, []), (0, [2, 5, 6])])
KINDS = [
    {"cuts": cuts, "groups": groups, "network": network, "loss": loss, "weighted": weighted, "slopes": slopes}
    | {"ball": bool(groups) and number % 2 == 0}
    for number, loss in enumerate(oracle.LOSSES)
    for cuts, weighted, groups, network, slopes in (
        (0, False, GROUPS[0], True, False), (0, True, GROUPS[1], True, False), (1, True, GROUPS[0], False, True),
        (2, False, GROUPS[1], True, False), (4, True, GROUPS[0], True, True), (6, False, GROUPS[0], False, False),
        (0, False, GROUPS[0], True, True), (2, True, GROUPS[1], False, True),
    )
]  # fmt: skip
#: With a tree for each sign.
SIGNS = [
    {"signs": True, "cuts": cuts, "groups": groups, "loss": loss, "weighted": number % 2 == 0, "slopes": slopes}
    | {"ball": bool(groups), "network": cuts > 0}
    for number, loss in enumerate(oracle.LOSSES)
    for cuts, groups, slopes in ((0, [], True), (3, [(0, [1, 3]), (1, []), (2, [0])], False), (5, [(1, [2])], True))
]
SIMPLICIAL = 14


def one(case: tuple, rng: np.random.Generator) -> tuple[str, str]:
    """Mutate one certificate once; (verdict, reason)."""
    X, y, document, tensors = case
    if rng.random() < 0.5:
        content = oracle.mutated(oracle.packed(document, tensors), rng)
    else:
        document, tensors = json.loads(json.dumps(document)), dict(tensors)
        for _ in range(rng.integers(1, 3)):
            oracle.tampered(document, tensors, rng)
        content = oracle.packed(document, tensors)
    if rng.random() < 0.05:
        order = rng.permutation(len(y))
        X, y = np.ascontiguousarray(X[order]), y[order]
    try:
        checker.check(checker.parse(content), X, y)
    except checker.Refused as reason:
        return "refused", str(reason)
    if y.ndim == 2 or "basis" in oracle.unpacked(content)[1]:
        several.assert_not_false(content, X, y)
    else:
        oracle.assert_not_false(content, X, y)
    return "accepted", "the claims still follow"


def main(
    count: Annotated[int, typer.Option(help="Mutations in all.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the mutations.")] = 0,
    only_simplicial: Annotated[bool, typer.Option(help="Only certificates in simplicial cones.")] = False,
    only_signs: Annotated[bool, typer.Option(help="Only those with a tree for each sign.")] = False,
) -> None:
    """Run the study; it stops with an AssertionError at the first false claim that passes."""
    if only_simplicial and only_signs:
        raise typer.BadParameter("choose one of --only-simplicial and --only-signs")
    rng = np.random.default_rng(seed)
    cases = []
    for number, kind in enumerate(SIGNS if only_signs else [*KINDS, *SIGNS]):
        X, y, beta = oracle.problem_for(np.random.default_rng(number), kind["loss"])
        cases.append((X, y, *oracle.certificate(X, y, beta, seed=number, **kind)))
    if not only_signs:
        cases += [several.certificate(number) for number in range(several.KINDS)]
        cases += [simplicial.certificate(number) for number in range(SIMPLICIAL)]
    cases = cases[-SIMPLICIAL:] if only_simplicial else cases
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
