"""The checker under the worst arithmetic that SPEC.md allows, against exact rational arithmetic.

SPEC.md trusts no order of summation: every sum of k products may be off by γ_k Σ|products|. Here each product of
matrices and each sum *is* off by that much, in the direction that helps or hurts, or at random.
"""

from fractions import Fraction

import numpy as np
import pytest
import test_checker as made
from counts import tries

from reluopt.certificate import checker
from reluopt.certificate.checker import leaf as leaf_room
from reluopt.certificate.checker import numbers, objective


class Noisy(np.ndarray):
    """An array whose products of matrices and sums are as wrong as the rules allow: ``shift(shape)`` in [−1, 1]."""

    shift = staticmethod(np.ones)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [np.asarray(value) if isinstance(value, Noisy) else value for value in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(value) if isinstance(value, Noisy) else value for value in out)
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            k = plain[0].shape[-1]
            result = self.moved(result, k, np.abs(plain[0]) @ np.abs(plain[1]))
        elif ufunc is np.add and method == "reduce" and np.asarray(plain[0]).dtype == np.float64:
            k = np.size(plain[0]) // max(1, np.size(result))
            result = self.moved(result, k, ufunc.reduce(np.abs(plain[0]), **options))
        if out is not None:
            return out[0]
        if isinstance(result, tuple):
            return tuple(np.asarray(part).view(Noisy) for part in result)
        return np.asarray(result).view(Noisy) if np.ndim(result) else result

    @classmethod
    def moved(cls, result, k, size):
        return result + cls.shift(np.shape(result)) * k * numbers.UNIT * size


RANDOM = np.random.default_rng(0)
NOISE = {
    "up": np.ones,
    "down": lambda shape: -np.ones(shape),
    "either": lambda shape: RANDOM.choice([-1.0, 1.0], shape),
}


@pytest.fixture(params=sorted(NOISE))
def noise(request, monkeypatch):
    monkeypatch.setattr(Noisy, "shift", staticmethod(NOISE[request.param]))


# -- one leaf ----------------------------------------------------------------------------------------------------------


def exact_matrix(X, z, leaf, w, c, nu, r):
    """vᵀCv of SPEC.md, section 6, symmetric and without any rounding, written from the text."""
    core = 1 + X.shape[1] + len(leaf.paired)

    def vector(values, at):
        full = [Fraction(0)] * core
        full[at : at + len(values)] = [Fraction(float(v)) for v in values]
        return full

    unit, rows = vector([1.0], 0), [vector(row, 1) for row in X]
    heights = {int(j): vector([1.0], 1 + X.shape[1] + k) for k, j in enumerate(leaf.paired)}
    forms = [unit, *(vector(cut, 1) for cut in leaf.cuts)]
    C = [[Fraction(0)] * core for _ in range(core)]

    def add(factor, a, b):
        for i in range(core):
            for j in range(core):
                C[i][j] += factor * (a[i] * b[j] + a[j] * b[i]) / 2

    def combined(weights):
        return [sum(Fraction(float(v)) * form[k] for v, form in zip(weights, forms, strict=True)) for k in range(core)]

    for group, square in zip(leaf.groups, r, strict=True):
        slopes = [[a - b for a, b in zip(heights[j], rows[j], strict=True)] for j in group.tolist()]
        own = [*forms, *(heights[j] for j in group.tolist()), *slopes]
        for a, form in enumerate(own):
            for b, other in enumerate(own):
                add(Fraction(float(square[a, b])), form, other)
    for i, row in enumerate(rows):
        slope, target = Fraction(float(nu[i])), Fraction(float(z[i]))
        if i in heights:
            add(target, unit, heights[i])
            add(-slope, heights[i], [a - b for a, b in zip(heights[i], row, strict=True)])
        elif any((cut == X[i]).all() for cut in leaf.cuts):
            add(target, unit, row)
        elif not any((-cut == X[i]).all() for cut in leaf.cuts):
            add(Fraction(-1), row, combined(c[:, i]))
            if slope:
                psi = [a + slope * b for a, b in zip(combined(w[:, i]), row, strict=True)]
                add(1 / (4 * slope), psi, psi)
    return C


def positive_semidefinite(M):
    """By symmetric elimination in rationals."""
    for k in range(len(M)):
        if M[k][k] < 0 or (M[k][k] == 0 and any(M[k][k:])):
            return False
        for row in range(k + 1, len(M)):
            if M[row][k]:
                factor = M[row][k] / M[k][k]
                M[row] = [a - factor * b for a, b in zip(M[row], M[k], strict=True)]
    return True


def follows(bound, X, leaf, C):
    """Whether vᵀCv ≤ μ(1 + ‖u‖²) + Σ κ_g ‖s_g‖² for some μ, κ_g with 2μ + Σ κ_g ‖X_g‖_F² = bound."""
    head = 1 + X.shape[1]
    squares = [sum((Fraction(v) ** 2 for v in X[group].ravel().tolist()), Fraction(0)) for group in leaf.groups]
    for share in (0, Fraction(1, 10**9), Fraction(1, 10**6), Fraction(1, 100), Fraction(1, 4)):
        own = [share * Fraction(bound) / len(squares) / size if size else 0 for size in squares]
        mu = (Fraction(bound) - sum(kappa * size for kappa, size in zip(own, squares, strict=True))) / 2
        weights = [mu] * head
        for group, kappa in zip(leaf.groups, own, strict=True):
            weights += [kappa] * len(group)
        if positive_semidefinite(
            [[(weights[i] if i == j else 0) - v for j, v in enumerate(row)] for i, row in enumerate(C)]
        ):
            return True
    return False


def leaf_bounds(seed, kind):
    """Every leaf of a small certificate, its level now and then too low: the noisy bound with what it is about."""
    rng = np.random.default_rng(seed)
    X, y, beta = made.problem(rng, n=6, d=2)
    X = X * 10.0 ** rng.integers(-8, 9, 2) if seed % 2 else X
    _, tensors = made.certificate(X, y, beta, seed=seed, network=False, **kind)
    for number, leaf in enumerate(made.all_regions(tensors, len(X))):
        for side, z in enumerate(sign * tensors["z"] for sign in leaf.signs):
            parts = [tensors["w"][side, leaf.forms], tensors["c"][side, leaf.forms], tensors["nu"][side, number]]
            level = float(tensors["level"][side, number]) * (1 - float(rng.choice([0.0, 1e-15, 1e-9, 1e-3])))
            r = [
                tensors["r"][side, at].reshape(1 + len(leaf.cuts) + 2 * len(group), -1)
                for group, at in zip(leaf.groups, leaf.squares, strict=True)
            ]
            noisy = leaf_room.Multipliers(
                *(part.view(Noisy) for part in parts), [square.view(Noisy) for square in r], level
            )
            bound = leaf_room.leaf_upper(X.view(Noisy), z.view(Noisy), leaf, noisy)
            yield bound, X, leaf, exact_matrix(X, z, leaf, *parts, r)


SHAPES = [
    {},
    {"cuts": 2},
    {"groups": [(0, [1])]},
    {"cuts": 1, "groups": [(0, [1]), (1, [0, 3])]},
    {"cuts": 1, "groups": [(0, [1, 2]), (0, [3, 4]), (1, []), (1, [0])]},
    {"signs": True, "cuts": 2, "groups": [(0, [1]), (1, [0, 3])]},
]


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_leaf_bounds_hold_in_exact_arithmetic(shape, noise):
    for seed in range(tries(3, 6)):
        for case in leaf_bounds(seed, SHAPES[shape]):
            assert follows(*case)


def test_nothing_is_assumed_of_the_factors(monkeypatch):
    rng, cholesky, solve = np.random.default_rng(0), np.linalg.cholesky, np.linalg.solve

    def poor(values):
        return (values * (1 + 1e-7 * rng.standard_normal(values.shape))).view(Noisy)

    monkeypatch.setattr(np.linalg, "cholesky", lambda A: poor(cholesky(np.asarray(A))))
    monkeypatch.setattr(np.linalg, "solve", lambda L, B: poor(solve(np.asarray(L), np.asarray(B))))
    assert all(follows(*case) for seed in range(6) for shape in SHAPES[2:] for case in leaf_bounds(seed, shape))


def test_nothing_is_assumed_of_the_eigenvectors(monkeypatch):
    honest, rng = np.linalg.eigh, np.random.default_rng(0)

    def poor(M):
        values, vectors = honest(np.asarray(M))
        return values * (1 + 1e-7 * rng.standard_normal(values.shape)), vectors + 1e-7 * rng.standard_normal(M.shape)

    monkeypatch.setattr(np.linalg, "eigh", poor)
    assert all(follows(*case) for seed in range(6) for case in leaf_bounds(seed, SHAPES[2]))


@pytest.mark.parametrize("shape", [0, 2, 4])
def test_the_margins_for_rounding_are_what_makes_them_hold(shape, monkeypatch):
    """Without them the same noise proves too much: the test above can fail."""
    for room in (numbers, leaf_room, objective):
        monkeypatch.setattr(room, "gamma", lambda k: 0.0)
    monkeypatch.setattr(Noisy, "shift", staticmethod(NOISE["down"]))
    assert not all(follows(*case) for seed in range(6) for case in leaf_bounds(seed, SHAPES[shape]))


# -- whole certificates ------------------------------------------------------------------------------------------------


def noisy_check(document, tensors, X, y):
    """The checker with every tensor and the data noisy; shapes, claims and fingerprint as ever."""
    c = checker.parse(made.packed(document, tensors))
    floats = {name: v.view(Noisy) if v.dtype == np.float64 else v for name, v in c.tensors.items()}
    return checker.check(checker.Certificate(c.problem, c.claims, floats), X.view(Noisy), y)


@pytest.mark.parametrize("kind", range(len(made.KINDS)))
def test_valid_certificates_are_accepted_under_noise_and_what_they_claim_is_true(kind, noise):
    loss = made.KINDS[kind].get("loss", made.SQUARED)
    X, y, beta = made.problem_for(np.random.default_rng(kind), loss)
    document, tensors = made.certificate(X, y, beta, seed=kind, **made.KINDS[kind])
    verdict = noisy_check(document, tensors, X, y)
    if "U" in tensors:
        network, kappa = (tensors["U"], tensors["alpha"]), tensors.get("weights")
        assert made.exact_objective(X, y, *network, beta, loss, kappa) <= verdict.upper
    made.assert_not_false(made.packed(document, tensors), X, y)


def test_all_sums_in_reversed_order():
    """Samples, columns and neurons from the last to the first."""
    for seed, kind in enumerate(({}, {"cuts": 3}, {"cuts": 1, "network": False})):
        X, y, beta = made.problem(np.random.default_rng(seed))
        document, tensors = made.certificate(X, y, beta, seed=seed, **kind)
        flipped = {name: np.ascontiguousarray(tensors[name][..., ::-1]) for name in ("z", "w", "c", "nu", "directions")}
        if "U" in tensors:
            flipped |= {"U": np.ascontiguousarray(tensors["U"][::-1, ::-1]), "alpha": tensors["alpha"][::-1].copy()}
        X, y = np.ascontiguousarray(X[::-1, ::-1]), y[::-1].copy()
        document["problem"]["fingerprint"] = checker.fingerprint(X, y)
        content = made.packed(document, tensors | flipped)
        assert made.verdict(content, X, y).claims == document["claims"]


# -- a planted optimum -------------------------------------------------------------------------------------------------


def planted_optimum(rng):
    """(X, y, β, tensors, network): rows that are orthogonal or zero, y ≥ 0, so that one neuron along Xᵀy is optimal.

    z = y with ν = ‖y‖/scale proves it: B = scale ‖y‖ without any gap, p* = β‖y‖/scale − ½(β/scale)².
    """
    d, extra, scale = int(rng.integers(2, 5)), int(rng.integers(0, 3)), 10.0 ** rng.integers(-8, 9)
    X = np.vstack([np.linalg.qr(rng.standard_normal((d, d)))[0] * scale, np.zeros((extra, d))])
    y = np.concatenate([np.exp(rng.standard_normal(d)), np.zeros(extra)])
    size = float(np.linalg.norm(y))
    strength = 0.7 * size / scale  # β = 0.3 β_max
    one_form = np.stack([y, 0 * y])[:, None]
    tensors = {
        "z": y.copy(),
        "t": np.ones(1),
        "directions": np.zeros((0, d)),
        "tree": np.array([[-1, 0, -1]]),
        "groups": np.zeros((0, 2), dtype=np.int64),
        "paired": np.zeros(0, dtype=np.int64),
        "w": one_form,
        "c": 0 * one_form,
        "nu": (one_form > 0) * size / scale,
        "r": np.zeros((2, 0)),
        "level": np.array([[0.5 * scale * size], [0.0]]),
    }
    network = np.sqrt(strength) * (X.T @ y / (scale * size))[None], np.sqrt([strength])
    return X, y, 0.3 * scale * size, tensors, network


def damaged_evidence(tensors, rng):
    """The same evidence with one part slightly off, in the direction that would prove more, or in any."""
    yield tensors
    for digits in (3, 6, 9, 12, 14, 15, 16):
        off = 10.0**-digits
        yield tensors | {"level": tensors["level"] * (1 - off)}
        yield tensors | {"nu": tensors["nu"] * (1 + off)}
        yield tensors | {"nu": tensors["nu"] * (1 - off)}
        yield tensors | {"z": tensors["z"] * (1 + off)}
        yield tensors | {"z": tensors["z"] * (1 + off), "w": tensors["w"] * (1 + 2 * off)}
        tilted = tensors["z"] * (1 + off * rng.standard_normal(len(tensors["z"])))
        yield tensors | {
            "z": tilted,
            "w": np.stack([tilted, 0 * tilted])[:, None],
            "level": tensors["level"] * (1 - off),
        }


@pytest.mark.parametrize("check", [lambda *a: made.verdict(made.packed(*a[:2]), *a[2:]), noisy_check])
def test_nothing_above_a_planted_optimum_is_derived(check, monkeypatch):
    """The dual is met with equality: the smallest slip would prove more than p*, which one network shows exactly."""
    monkeypatch.setattr(Noisy, "shift", staticmethod(NOISE["down"]))
    rng, derived = np.random.default_rng(0), 0
    for _ in range(5):
        X, y, beta, tensors, network = planted_optimum(rng)
        top = made.exact_objective(X, y, *network, beta)
        document, _ = made.certificate(*made.problem(rng), network=False)
        document |= {"claims": {"optimum_at_least": 0.0}}
        shape = {"n": len(X), "d": X.shape[1], "fingerprint": checker.fingerprint(X, y)}
        document["problem"] = document["problem"] | shape | {"beta": beta}
        assert check(document, tensors, X, y).lower >= top * Fraction(1 - 1e-9)
        for changed in damaged_evidence(tensors, rng):
            try:
                assert check(document, changed, X, y).lower <= top
                derived += 1
            except checker.Refused as reason:
                assert "w is below" in str(reason)
    assert derived > 120
