"""Valid certificates of several outputs, small ones of every kind, for the tests of both checkers."""

from fractions import Fraction

import numpy as np
import second_checker
import test_checker as oracle

from reluopt.certificate import checker
from reluopt.losses import make_loss

LOSSES = [{"name": "cross_entropy"}, {"name": "squared"}, {"name": "huber", "delta": 0.75}, {"name": "logistic"}]
#: How many kinds there are.
KINDS = 12
MARGIN = 1e-9


def certificate(number):
    """(X, y, document, tensors) of the certificate with that number."""
    rng = np.random.default_rng(1000 + number)
    loss, C, n, d = LOSSES[number % len(LOSSES)], 2 + number % 2, 5, 2
    network, weighted, groups = number % 3 != 1, number % 5 > 2, ([], [[1, 3]], [[], [0, 4], [2]])[number % 3]
    X, y = rng.standard_normal((n, d)), np.eye(C)[np.arange(n) % C]
    y = {"squared": y + 0.1 * rng.standard_normal((n, C)), "logistic": 2 * y - 1}.get(loss["name"], y)
    kappa = rng.choice([0.0, 0.5, 2.0], n, p=[0.2, 0.4, 0.4]) if weighted else np.ones(n)
    kappa[:2] = np.maximum(kappa[:2], 0.5)
    z, t = dual_point(rng, y, loss, kappa), 0.9
    nu = np.where(z.any(axis=1), np.linalg.norm(z, axis=1) + 0.1, 0.0)
    paired = np.array([s for group in groups for s in group], dtype=np.int64)
    nu[paired] = 2.0 + nu[paired]
    r = np.concatenate([np.zeros(0), *(0.1 * rng.random((2 * len(g),) * 2).ravel() for g in groups)])
    tensors = {"z": z, "t": np.array([t]), "nu": nu, "r": r, "paired": paired, "level": np.array([0.0])}
    tensors |= {"groups": np.array([len(g) for g in groups], dtype=np.int64)}
    tensors |= {"weights": kappa} if weighted else {}
    own, beta = kappa if weighted else None, 0.8
    problem = checker.Problem(n, d, "", checker.certificate.read_loss(loss), weighted, beta, outputs=C)
    c = checker.Certificate(problem, {}, tensors)
    while float(checker.outputs.support_upper(c, X, z)) > 2.0 * tensors["level"][0] * (1 + 1e-6):
        tensors["level"] = 1.001 * tensors["level"] + 0.02  # until the level is above λmax
    lower = max(0.0, float(checker.optimum_lower(c, X, y, own)) * (1 - MARGIN))
    claims = {"optimum_at_least": lower}
    if network:
        tensors |= {"U": rng.standard_normal((3, d)), "alpha": rng.standard_normal((3, C))}
        upper = checker.objective_upper(X, y, own, problem.loss, beta, tensors["U"], tensors["alpha"])
        claims["objective_at_most"] = float(upper) * (1 + MARGIN)
        claims |= {"ratio_at_most": float(upper) / lower * (1 + 2 * MARGIN)} if lower > 0 else {}
    about = {"n": n, "d": d, "outputs": C, "loss": loss, "weights": weighted, "beta": beta}
    about["fingerprint"] = checker.fingerprint(X, y, *([kappa] if weighted else []))
    document = {"format": "reluopt-certificate", "version": 3, "problem": about, "evidence": "outputs"}
    return X, y, document | {"claims": claims, "about": {}}, tensors


def dual_point(rng, y, loss, kappa):
    """z (n, C) with tz in the domain of the loss for every 0 ≤ t ≤ 1."""
    share = rng.uniform(0.2, 0.9, y.shape)
    if loss["name"] == "cross_entropy":
        shares = share / share.sum(axis=1, keepdims=True)
        return make_loss("cross_entropy").settled(kappa[:, None] * (y - shares), y, kappa)
    return (0.75 if loss["name"] == "huber" else 1.0) * kappa[:, None] * y * share


def reason(raw, X, y):
    """Why the first checker refuses, None where it does not."""
    try:
        checker.check(checker.parse(raw), X, y)
    except checker.Refused as refusal:
        return str(refusal)
    return None


def assert_not_false(raw, X, y):
    """What was accepted holds in exact arithmetic, by the second checker."""
    assert second_checker.reason_to_refuse(raw, X.tolist(), y.tolist()) is None


def best_bound(X, z, document, tensors):
    """The largest ‖zᵀ(Xu)_+‖ on a fine grid of the plane, and the bound that the checker derives."""
    angles = np.linspace(0, 2 * np.pi, 2000)
    S = np.maximum(X @ np.stack([np.cos(angles), np.sin(angles)]), 0)
    c = checker.parse(oracle.packed(document, tensors))
    return float(np.linalg.norm(z.T @ S, axis=0).max()), Fraction(checker.outputs.support_upper(c, X, z))
