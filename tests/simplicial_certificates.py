"""Valid certificates in simplicial cones, small ones of every loss, for the tests of both checkers."""

import numpy as np
import test_checker as oracle

from reluopt.certificate import checker


def random_tree(rng, r, cuts):
    """The bytes of 2^r trees with so many cuts, anywhere."""
    pairs, trees = r * (r - 1) // 2, [[255] for _ in range(2**r)]
    for _ in range(cuts if pairs else 0):
        tree = trees[rng.integers(len(trees))]
        leaves = [k for k, node in enumerate(tree) if node == 255]
        at = leaves[rng.integers(len(leaves))]
        tree[at : at + 1] = [int(rng.integers(pairs)), 255, 255]
    return np.array([node for tree in trees for node in tree], dtype=np.uint8)


def random_basis(rng, d, r):
    """Orthonormal rows, nearly or far from it."""
    rows = np.linalg.qr(rng.standard_normal((d, d)))[0][:r]
    return np.clip(rows * (1 + rng.choice([0.0, 1e-9, 0.1]) * rng.standard_normal(rows.shape)), -1, 1)


def certificate(number, n=6, d=2):
    """(X, y, document, tensors) of the certificate with that number."""
    rng = np.random.default_rng(2000 + number)
    loss, weighted, network = oracle.LOSSES[number % len(oracle.LOSSES)], number % 3 == 1, number % 2 == 0
    X, y, beta = oracle.problem_for(rng, loss)
    X, y = np.ascontiguousarray(X[:n, :d]), y[:n].copy()
    document, tensors = oracle.certificate(X, y, beta, seed=number, loss=loss, weighted=weighted, network=network)
    kept = {name: tensors[name] for name in ("z", "t", "U", "alpha", "weights") if name in tensors}
    rank = d if number % 4 else 1
    kept |= {"basis": random_basis(rng, d, rank), "level": np.zeros(2)}
    kept |= {name: random_tree(rng, rank, int(rng.integers(0, 12))) for name in ("plus", "minus")}
    c = oracle.made(X, kept, beta, loss, weighted)
    for side, (name, z) in enumerate((("plus", kept["z"]), ("minus", -kept["z"]))):
        cones = checker.simplices.Cones(checker.simplices.coordinates(X, kept["basis"])[0], z)
        found = [cones.worst(*part, 0.0) for part in checker.simplices.leaves(kept[name], rank)]
        kept["level"][side] = max(found) * rng.choice([1.0, 0.9])
    own = kept.get("weights")
    lower = max(0.0, float(checker.optimum_lower(c, X, y, own)) * (1 - oracle.MARGIN))
    claims = document["claims"] | {"optimum_at_least": lower}
    claims.pop("ratio_at_most", None)
    if lower > 0 and "objective_at_most" in claims:
        claims["ratio_at_most"] = claims["objective_at_most"] / lower * (1 + 2 * oracle.MARGIN)
    return X, y, document | {"claims": claims, "evidence": "simplices"}, kept
