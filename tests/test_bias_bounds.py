"""The tight bounds where the problem has biases of its own: none is above a network, and all of them get near."""

import bias_problems as cases
import numpy as np
import pytest
import second_checker
import test_checker as oracle
import torch
from counts import tries
from scipy.optimize import minimize
from test_neighbours import somewhere_with_exact_gradients

from reluopt.biases import Biases, sums, with_zero_sums
from reluopt.bounds.ball import Ball
from reluopt.bounds.ball_products import projected_with_bias
from reluopt.bounds.bias_affine import BiasAffineSearch, best_tilt_and_levels
from reluopt.bounds.bias_forms import Lift, LiftedEvidence, best_levels
from reluopt.bounds.clique_search import CliqueSearch
from reluopt.bounds.clique_settings import CliqueSettings
from reluopt.bounds.cutting_planes import CuttingPlanes
from reluopt.bounds.evidence import Evidence, Multipliers, Region
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.master import best_under_cuts
from reluopt.bounds.output_cliques import OutputCliqueSearch
from reluopt.bounds.output_forms import OutputEvidence
from reluopt.bounds.protocol import Start
from reluopt.bounds.registry import BOUNDS, race
from reluopt.bounds.sample_fit import SampleFit
from reluopt.bounds.slopes import Slopes
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import read_bound
from reluopt.clock import Clock
from reluopt.problem import Problem

INTERCEPTS = [Biases("free"), Biases("decayed")]
OF_ONE = [name for name, bound in BOUNDS.items() if bound.takes(cases.problem(0, INTERCEPTS[0]))]


def trained(p, starts=2, m=20):
    """The least L of some networks, by L-BFGS from random starts; for smooth losses."""

    def cost(theta):
        parts = np.split(theta, [m * p.d, m * p.d + m])
        U, a, c = parts[0].reshape(m, p.d), parts[1], parts[2][0]
        by = p.gradient(U, a, c)
        slope = p.intercept_slope(p.dual_point(p.predict(U, a, c)), c)
        return p.objective(U, a, c), np.concatenate([by[0].ravel(), by[1], np.reshape(slope, 1)])

    size = m * p.d + m + 1
    found = [minimize(cost, 0.5 * np.random.default_rng(k).standard_normal(size), jac=True) for k in range(starts)]
    return min(one.fun for one in found)


# -- an output intercept -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", INTERCEPTS)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_all_cells_with_an_intercept_are_the_optimum(biases, loss):
    p = cases.problem(3, biases, loss, n=6, beta=0.3)
    upper = trained(p)
    assert upper * (1 - 1e-2) <= BOUNDS["exact"].best(p).value <= upper


@pytest.fixture(scope="module", params=INTERCEPTS, ids=lambda biases: biases.output)
def weighted(request):
    """A problem with weights, its moment bound, and its optimum."""
    p = cases.problem(4, request.param, "squared", n=6, beta=0.3, weighted=True)
    return p, BOUNDS["moment"].best(p), BOUNDS["exact"].best(p).value


#: Bounds that are not above the moment bound until they have nearly converged.
SLOW = ("cliques", "branch and bound", "doubly nonnegative")


@pytest.mark.parametrize("name", OF_ONE)
def test_every_bound_takes_an_intercept_and_both_checkers_its_proof(name, weighted, tmp_path, ticking):
    p, moment, best = weighted
    ticking(0.005)
    bound = BOUNDS[name].best(p, Start(moments=moment), Clock(10.0 if name in SLOW else 0.5))
    assert 0 < bound.value <= best * (1 + 1e-7) and any(sums(bound.z)) == (p.biases.output == "decayed")
    assert bound.value >= 1.002 * moment.value or name in ("closed form", "moment")
    path = tmp_path / "a.safetensors"
    write_certificate(path, p, bound=bound)
    assert read_bound(path, p).value == pytest.approx(bound.value, rel=1e-6)
    assert second_checker.reason_to_refuse(path.read_bytes(), p.X.tolist(), p.targets.tolist()) is None


@pytest.mark.parametrize("number", range(len(cases.LOSSES)))
def test_bounds_of_every_loss_with_an_intercept_stay_below_its_networks(number, ticking):
    loss, biases = cases.LOSSES[number], INTERCEPTS[number % 2]
    p = cases.problem(5, biases, loss, n=6, beta=0.4, weighted=number % 3 == 0)
    upper = trained(p, starts=1, m=12)
    ticking(0.02)
    for name in ("cliques", "hyperplanes", "branch and bound"):
        assert 0 < BOUNDS[name].best(p, clock=Clock(0.6)).value <= upper * (1 + 1e-9)


@pytest.mark.parametrize("limit", [0.0, 0.1])
def test_a_race_with_an_intercept_that_ends_early_is_proved(limit, tmp_path, ticking):
    p = cases.problem(6, Biases("free"), n=16, d=5, beta=0.2)
    least = trained(p, starts=1, m=6)
    ticking(0.005)
    bounds = list(race(p, Start(), Clock(limit)))
    assert all(bound.value <= least for bound in bounds)
    write_certificate(tmp_path / "a.safetensors", p, bound=bounds[-1])


def test_with_a_free_intercept_the_level_of_the_targets_has_no_part():
    p = cases.problem(7, Biases("free"), n=6, beta=0.3)
    far = Problem(p.X, p.y + 40.0, beta=p.beta, biases=p.biases)
    assert BOUNDS["exact"].best(far).value == pytest.approx(BOUNDS["exact"].best(p).value, rel=1e-5)
    dear = Problem(p.X, p.y, beta=p.beta, biases=Biases("decayed"))
    none = Problem(p.X, p.y, beta=p.beta)
    free, decayed, without = (BOUNDS["exact"].best(q).value for q in (p, dear, none))
    assert free < decayed < without


@pytest.mark.parametrize("loss", ["squared", "cross_entropy", "absolute"])
def test_cliques_of_several_outputs_take_an_intercept(loss, tmp_path, ticking):
    p = cases.problem(8, Biases("free"), loss, outputs=3, n=8, beta=0.3)
    moment = BOUNDS["vector moment"].best(p)
    ticking(0.02)
    bound = BOUNDS["cliques"].best(p, Start(moments=moment), Clock(3.0))
    U, a, _ = cases.network(0, p, size=0.3)
    upper = min(p.objective_upper(U, a, p.best_intercept(p.predict(U, a))), p.zero_value * (1 + 1e-9))
    assert moment.value < bound.value <= upper and not any(sums(bound.z))
    write_certificate(tmp_path / "a.safetensors", p, bound=bound)


# -- what the searches are made of -------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", INTERCEPTS)
@pytest.mark.parametrize("loss", ["squared", "huber:0.7", "absolute"])
def test_the_master_problem_with_an_intercept_obeys_its_cuts(biases, loss):
    """The dual point of cuts: within them, and no random feasible z has a larger value."""
    p, _ = cases.problem(9, biases, loss, n=6, beta=0.2).scaled()
    rng = np.random.default_rng(0)
    cuts = np.maximum(rng.standard_normal((5, p.d)) @ p.X.T, 0.0) * rng.choice([-1.0, 1.0], 5)[:, None]
    z = best_under_cuts(p, cuts)
    assert (cuts @ z).max() <= p.beta * (1 + 2e-3)
    low, high = p.dual_domain()
    for _ in range(300):
        other = p.settled(np.clip(z + 0.3 * rng.standard_normal(6), low, high))
        other = other * min(1.0, p.beta / max(1e-9, (cuts @ other).max()))
        assert p.dual_value(other) <= p.dual_value(z) * (1 + 1e-6) + 1e-3


@pytest.mark.parametrize("loss", ["squared", "huber:0.7", "absolute", "logistic", "hinge", "squared_hinge"])
def test_without_cuts_the_dual_point_is_that_of_the_zero_network(loss):
    """And a network of zero neurons gives none. In scipy a nonnegative least squares without columns is a crash."""
    p, _ = cases.problem(9, Biases(), loss, n=6, beta=0.2).scaled()
    z = best_under_cuts(p, np.zeros((0, 6)))
    assert p.dual_value(z) == pytest.approx(p.dual_value(p.zero_dual_point), rel=1e-3)
    for network in (None, (np.zeros((2, p.d)), np.zeros(2)), (np.ones((1, p.d)), np.zeros(1))):
        planes = CuttingPlanes(p, network)
        assert np.isfinite(planes.z).all() and len(planes.cuts) == 0


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_loss_at_slots_has_an_exact_gradient(outputs):
    p, _ = cases.problem(1, Biases("decayed"), outputs=outputs, n=6, weighted=True).scaled()
    fit = SampleFit(p, np.array([4, 2, -1, 0, 5]), torch.device("cpu"))
    g, c, by_g, by_c = (torch.randn(size, outputs, dtype=torch.float64) for size in (5, 1, 5, 1))
    value, pull, slope = fit.at(g, c[0])
    up, down = (fit.at(g + move * by_g, (c + move * by_c)[0])[0] for move in (1e-6, -1e-6))
    assert (up - down) / 2e-6 == pytest.approx(float(slope @ by_c[0] - (pull * by_g).sum()), rel=1e-6)
    rows = np.zeros((6, outputs))
    rows[[4, 2, 0, 5]] = g[[0, 1, 3, 4]].numpy()
    f = (rows + c[0].numpy()).reshape(p.targets.shape)
    assert value == pytest.approx(p.loss_value(f) + 0.5 * p.intercept_decay * float((c * c).sum()))


# -- free first-layer biases -------------------------------------------------------------------------------------------


def random_multipliers(rng, z, rows, groups, *, slopes=True, ball=True):
    """Multipliers of section 11 that obey their signs and prove something, with all there is."""
    n, d = rows.shape
    free = np.ones(n, dtype=bool)
    for group in groups:
        free[group] = False
    nu = np.where(free & (z <= 0), 0.0, rng.uniform(0.5, 3.0, n) * (1 + np.abs(z)))
    factor = rng.uniform(-1, 1, (2, d))
    eta, lean = (np.where(free, part * rng.standard_normal(n), 0.0) for part in rng.uniform(0, 0.3, 2) * slopes)
    own = Slopes(factor, eta, float(rng.standard_normal()), lean) if slopes else None
    swing = own.swing(rows) if slopes else np.zeros(n)
    c = np.where(free, np.nextafter(swing * rng.uniform(1, 2), np.inf) * (swing > 0), 0.0)
    w = np.where(free, np.maximum(z + c + swing + 1e-9, 0.0), 0.0)
    nu = np.where(w > 0, np.maximum(nu, 0.3), np.where(free, 0.0, nu))
    r, omega, span = [], [], rng.uniform(-1, 1, (2, d))
    for group in groups:
        size = 1 + 2 * len(group)
        square = 0.1 * rng.random((size, size)) * (rng.random((size, size)) < 0.4)
        more = 0.2 * rng.standard_normal((size, 2)) * ball
        more[0] = 0.0
        k = more @ span
        square[0] += np.linalg.norm(k[:, :-1], axis=1) * 1.0001 + np.abs(k[:, -1]) * 1.0001
        nu[group] += 20 * square.sum() + 5.0
        r.append(square)
        omega.append(more)
    return Multipliers(w[None], c[None], nu, tuple(r), own, Ball(span, tuple(omega), True) if ball else None)


def lifted_case(seed, d=2, n=7, **parts):
    """(X, evidence) with slopes and one clique, random."""
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.standard_normal((n, d)) * rng.uniform(0.3, 2) + rng.standard_normal(d), np.ones((n, 1))])
    lift, z = Lift.of(X), with_zero_sums(rng.standard_normal(n))
    groups = (np.sort(rng.permutation(n)[:3]), np.zeros(0, dtype=np.int64))
    sides = [random_multipliers(rng, v, lift.rows(X), groups, **parts) for v in (z, -z)]
    whole = Region(np.zeros((0, d + 1)), groups, *sides)
    return X, LiftedEvidence(Evidence(z, np.zeros((0, d + 1)), np.array([[-1, 0, -1]]), (whole,)), lift)


def sampled(X, z, count=40, seed=0):
    """The largest ‖zᵀ(Xu + b)_+‖ over some unit u and all kinks b."""
    U = np.random.default_rng(seed).standard_normal((count, X.shape[1] - 1))
    return float(cases.largest_at_kinks(X[:, :-1], z, U / np.linalg.norm(U, axis=1, keepdims=True)).max())


@pytest.mark.parametrize("parts", [{}, {"slopes": False}, {"ball": False}], ids=str)
def test_no_neuron_exceeds_slopes_and_cliques_whatever_its_bias(parts):
    """Random evidence: u from the circle and all kinks b; also by the form itself, u and b̃ free."""
    proved = 0
    for seed in range(tries(40, 3000)):
        X, evidence = lifted_case(seed, **parts)
        bound = evidence.support_upper(X)
        proved += np.isfinite(bound)
        assert sampled(X, evidence.z, seed=seed) <= bound
        rows, rng = evidence.lift.rows(X), np.random.default_rng(seed)
        u = rng.standard_normal((2, 200))
        u /= np.linalg.norm(u, axis=0)
        heads = np.vstack([np.ones(200), u, rng.uniform(-1, 1, 200)])
        for sign, (M, _, _) in zip((1, -1), evidence.matrices(X), strict=True):
            values = sign * evidence.z @ np.maximum(rows @ heads[1:], 0.0)
            assert (values <= np.einsum("ik,ij,jk->k", heads, M, heads) + 1e-9).all()
    assert proved > 30


def test_no_neuron_exceeds_cliques_of_several_outputs_whatever_its_bias():
    for seed in range(tries(30, 1000)):
        rng = np.random.default_rng(seed)
        X = np.hstack([rng.standard_normal((6, 2)) + rng.standard_normal(2), np.ones((6, 1))])
        z, nu = with_zero_sums(rng.standard_normal((6, 3))), rng.uniform(0.5, 3, 6)
        square = 0.1 * rng.random((6, 6))
        nu[[0, 2, 3]] += 20 * square.sum()
        inner = OutputEvidence(z, nu, (np.array([0, 2, 3]),), (square,))
        assert sampled(X, z, seed=seed) <= LiftedEvidence(inner, Lift.of(X)).support_upper(X) < np.inf


@pytest.mark.parametrize("seed", range(3))
def test_both_checkers_take_slopes_and_cliques_with_free_biases_and_refuse_what_is_false(seed, tmp_path):
    X, evidence = lifted_case(seed)
    p = Problem(X, evidence.z + 0.1 * np.arange(7), beta=0.05, biases=Biases("free", "free"))
    bound = prove(p, evidence, method="mine", started=0.0)
    path = tmp_path / "a.safetensors"
    write_certificate(path, p, bound=bound)
    raw = path.read_bytes()
    assert read_bound(path, p).value == pytest.approx(bound.value, rel=1e-6)
    assert second_checker.reason_to_refuse(raw, X.tolist(), p.y.tolist()) is None
    for number, (name, change, reason) in enumerate(FALSE):
        document, tensors = oracle.unpacked(raw)
        tensors[name] = change(np.array(tensors[name]))
        false = oracle.packed(document, tensors)
        with pytest.raises(checker.Refused, match=reason):
            checker.check(checker.parse(false), X, p.y)
        assert second_checker.reason_to_refuse(false, X.tolist(), p.y.tolist()), number
    document, tensors = oracle.unpacked(raw)
    del tensors["lean"]
    with pytest.raises(checker.Refused, match="exactly the tensors"):
        checker.parse(oracle.packed(document, tensors))


#: (tensor, what becomes of it, what the checker says)
FALSE = [
    ("lean", lambda v: v + 1.0, "eta must be 0"),
    ("lean", lambda v: 3.0 * v, "c is below|w is below"),
    ("eta", lambda v: 3.0 * v, "c is below|w is below"),
    ("factor", lambda v: 2.0 * v, "larger than 1"),
    ("ball", lambda v: 1.5 * v, "r is below"),
    ("ball", lambda v: v + 0.1, "ball product of the form 1"),
    ("span", lambda v: 1.2 * v, "r is below|larger than 1"),
    ("tilt", lambda v: v + 1e5, "claim"),
    ("c", lambda v: 0.5 * v, "c is below"),
    ("r", lambda v: 0.5 * v, "r is below"),
    ("spread", lambda v: 0.0 * v, "claim"),
    ("nu", lambda v: -v, "negative entry|not definite"),
    ("level", lambda v: 0.0 * v, "claim"),
]


@pytest.mark.parametrize("number", range(len(cases.LOSSES)))
def test_affine_slopes_with_free_biases_are_tighter_and_below_every_network(number, tmp_path, ticking):
    loss, biases = cases.LOSSES[number], cases.KINDS[2 + number % 3]
    p = cases.problem(12, biases, loss, n=7, beta=0.3, weighted=number % 2 == 1)
    nets = [cases.network(k, p, size=size) for k, size in enumerate((0.0, 0.3, 0.6))]
    if p.biases.intercept:
        nets = [(U, a, p.best_intercept(p.predict(U, a))) for U, a, _ in nets]
    ticking(0.02)
    first, bound = (BOUNDS[name].best(p, clock=Clock(1.0)) for name in ("moment", "affine"))
    assert first.value < bound.value <= min(p.objective_upper(*net) for net in nets)
    write_certificate(tmp_path / "a.safetensors", p, bound=bound)


def test_the_affine_search_with_free_biases_has_an_exact_gradient():
    p = cases.problem(3, Biases("free", "free"), n=8, d=3, beta=0.3)
    search, rng = BiasAffineSearch(p), np.random.default_rng(0)
    for size in (1.0, 20.0):  # |q| below and above 1
        R, by = search.R.copy(), rng.standard_normal(search.R.shape)
        R[:, :, -1] *= size
        up, down = (search.objective(R + move * by, 0.1)[0] for move in (1e-6, -1e-6))
        assert (up - down) / 2e-6 == pytest.approx(float((search.objective(R, 0.1)[1] * by).sum()), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_tilt_and_the_levels_hold_the_matrix(seed):
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((6, 6))
    M = half @ half.T - rng.uniform(0, 2) * np.eye(6)
    level, spread, tilt = best_tilt_and_levels(M)
    diagonal = np.diag([level, *[level - spread] * 4, spread]) - tilt * np.diag([1.0, *[-1.0] * 4, 0.0])
    assert np.linalg.eigvalsh(diagonal - M)[0] >= -1e-3 * level
    assert level <= best_levels(M, 1)[0] * (1 + 1e-3)


# -- cliques with free first-layer biases ------------------------------------------------------------------------------


def search_of(p, seconds=0.6):
    """The clique search from what the affine bound, or the moment bound of several outputs, has found."""
    start = BOUNDS["affine" if p.outputs == 1 else "vector moment"].best(p, clock=Clock(seconds))
    kind = CliqueSearch if p.outputs == 1 else OutputCliqueSearch
    return kind(p, start, CliqueSettings(smallest=4))


@pytest.mark.parametrize("outputs", [1, 2])
def test_gradients_and_levels_of_cliques_with_free_biases(outputs, ticking):
    """Those of the Lagrangian and of the form without s and b̃; and the level is what is proved."""
    p = cases.problem(13, Biases("free", "free"), outputs=outputs, n=11, d=3, beta=0.2)
    ticking(0.02)
    search = search_of(p)
    for _ in range(3):
        search.core.update(80.0, 30, np.inf, curved=True)
    somewhere_with_exact_gradients(search.core)
    *_, sides = search.polished(Clock(0.0))
    for side in sides:
        side.extend(0.1)
        point, step = side.best, 1e-6 * np.random.default_rng(0).standard_normal(side.best.shape)
        up, down = (side.smoothed(point + sign * step, 0.2)[0] for sign in (1, -1))
        assert float(side.smoothed(point, 0.2)[1] @ step) == pytest.approx(0.5 * (up - down), rel=1e-3)
        side.best, side.level = point, side.top(point)
    bound = prove(p, search.evidence(sides), method="cliques", started=0.0)
    most = max(side.level for side in sides)
    # the proof looks for μ again
    assert 0.5 * search.core.beta / most * (1 - 1e-6) <= bound.support and bound.scale > 0
    assert bound.support <= 2 * most * search.units.z * search.units.x * (1 + 1e-6)
    assert sampled(p.X, bound.z) <= bound.support


def test_the_projection_on_the_cone_with_a_bias_is_the_nearest_point():
    rng = torch.Generator().manual_seed(0)
    Z = 2 * torch.randn(300, 5, generator=rng, dtype=torch.float64)
    P = projected_with_bias(Z)

    def depth(points):
        return points[:, 0] - points[:, 1:-1].norm(dim=1) - points[:, -1].abs()

    assert float(depth(P).min()) > -1e-12 and torch.allclose(P[depth(Z) >= 0], Z[depth(Z) >= 0])
    others = projected_with_bias(3 * torch.randn(300, 5, generator=rng, dtype=torch.float64))
    # no point of the cone lies behind the plane through P that Z − P is normal to
    assert float(((Z - P)[:, None] * (others[None] - P[:, None])).sum(-1).max()) <= 1e-10


@pytest.mark.parametrize("loss", cases.LOSSES)
def test_cliques_with_free_biases_are_tighter_and_below_every_network(loss, tmp_path, ticking):
    number = cases.LOSSES.index(loss)
    p = cases.problem(14, cases.KINDS[2 + number % 3], loss, n=7, beta=0.3, weighted=number % 2 == 1)
    nets = [cases.network(k, p, size=size) for k, size in enumerate((0.0, 0.3, 0.6))]
    if p.biases.intercept:
        nets = [(U, a, p.best_intercept(p.predict(U, a))) for U, a, _ in nets]
    ticking(0.02)
    first = BOUNDS["affine"].best(p, clock=Clock(0.6))
    bound = BOUNDS["cliques"].best(p, Start().after(first), Clock(6.0))
    assert 0 < bound.value <= min(p.objective_upper(*net) for net in nets)
    assert bound.value > BOUNDS["moment"].best(p, clock=Clock(0.6)).value
    path = tmp_path / "a.safetensors"
    write_certificate(path, p, bound=bound)
    assert read_bound(path, p).value == pytest.approx(bound.value, rel=1e-6)
    assert second_checker.reason_to_refuse(path.read_bytes(), p.X.tolist(), p.targets.tolist()) is None


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("limit", [0.0, 0.05, 0.3])
def test_a_race_with_free_biases_that_ends_early_is_proved(limit, outputs, tmp_path, ticking):
    p = cases.problem(15, Biases("free", "free"), outputs=outputs, n=8, d=3, beta=0.2)
    ticking(0.004)
    bounds = list(race(p, Start(), Clock(limit)))
    U, a, _ = cases.network(0, p, size=0.3)
    upper = min(p.objective_upper(U, a, p.best_intercept(p.predict(U, a))), p.zero_value * (1 + 1e-9))
    assert all(0 <= bound.value <= upper for bound in bounds)
    write_certificate(tmp_path / "a.safetensors", p, bound=bounds[-1])


def test_the_optimum_with_free_biases_is_that_of_all_cells_seen_from_each_sample(ticking):
    """In one dimension neurons are (±(x − t))_+: the dual over all kinks is a small program, solved exactly."""
    p = cases.problem(16, Biases("free", "free"), n=6, d=1, beta=0.3)
    x = p.X[:, 0]
    columns = np.concatenate([np.maximum(side * (x[:, None] - x), 0.0) for side in (1, -1)], axis=1)
    found = minimize(
        lambda w: 0.5 * np.square(columns @ (w[:12] - w[12:24]) + w[24] - p.y).sum() + p.beta * w[:24].sum(),
        np.zeros(25), bounds=[(0, None)] * 24 + [(None, None)],
        options={"maxiter": 10**4, "maxfun": 10**6, "ftol": 1e-14},
    )  # fmt: skip
    ticking(0.01)
    bound = BOUNDS["cliques"].best(p, Start().after(BOUNDS["affine"].best(p, clock=Clock(1.0))), Clock(3.0))
    assert 0.9 * found.fun <= bound.value <= found.fun * (1 + 1e-6)
