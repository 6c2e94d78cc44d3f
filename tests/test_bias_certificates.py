"""Certificates of problems with biases: written, checked twice, read again; every false one is refused."""

import json
from fractions import Fraction

import bias_problems as cases
import numpy as np
import pytest
import second_checker
import test_checker as oracle
import torch
from commands import reluopt
from torch import nn

from reluopt import CertifyConfig, TrainConfig, Trainer, beta_max_estimate, certify, from_sequential, from_weights
from reluopt.biases import Biases
from reluopt.bounds.lower_bound import prove
from reluopt.bounds.protocol import Start
from reluopt.bounds.registry import BOUNDS
from reluopt.certificate import checker
from reluopt.certificate.file import write_certificate
from reluopt.certificate.reading import read_bound
from reluopt.certificate.record import check_run
from reluopt.clock import Clock
from reluopt.errors import CertificateError
from reluopt.runs import RunFolder
from reluopt.training.checkpoint import save_weights

#: (biases, loss, outputs, weighted)
WRITTEN = [
    (Biases("free"), "squared", 1, False),
    (Biases("free"), "quantile:0.3", 1, True),
    (Biases("decayed"), "logistic", 1, True),
    (Biases("free", "free"), "squared", 1, False),
    (Biases("none", "free"), "hinge", 1, True),
    (Biases("decayed", "free"), "huber:0.7", 1, False),
    (Biases("free"), "cross_entropy", 3, True),
    (Biases("decayed"), "squared", 2, False),
    (Biases("free"), "absolute", 2, False),
]


def written(number, tmp_path):
    """(problem, bytes, document, tensors) of the certificate of a random network and the moment bound."""
    biases, loss, outputs, weighted = WRITTEN[number]
    p = cases.problem(40 + number, biases, loss, outputs, n=6, weighted=weighted, beta=0.4)
    bound = BOUNDS["moment" if outputs == 1 else "vector moment"].best(p, Start(), Clock(0.1))
    path = tmp_path / "a.safetensors"
    write_certificate(path, p, bound=bound, network=cases.network(number, p, m=3, size=0.3))
    return p, path.read_bytes(), *oracle.unpacked(path.read_bytes())


def reasons(p, raw):
    """What both checkers say: None where they accept."""
    try:
        first = checker.check(checker.parse(raw), p.X, p.targets) and None
    except checker.Refused as reason:
        first = str(reason)
    return first, second_checker.reason_to_refuse(raw, p.X.tolist(), p.targets.tolist())


@pytest.mark.parametrize("number", range(len(WRITTEN)))
def test_both_checkers_accept_what_is_written_and_it_is_read_again(number, tmp_path):
    p, raw, document, _ = written(number, tmp_path)
    assert reasons(p, raw) == (None, None)
    assert document["version"] == 4 and document["problem"]["biases"] == {
        "output": p.biases.output, "first": p.biases.first,
    }  # fmt: skip
    claims = document["claims"]
    assert 0 < claims["optimum_at_least"] <= claims["objective_at_most"]
    again = read_bound(tmp_path / "a.safetensors", p)
    assert again.value == pytest.approx(claims["optimum_at_least"], rel=1e-6)
    words = checker.check(checker.parse(raw), p.X, p.targets).subject()
    assert ("free first-layer biases" in words) == p.biases.first_free and "intercept" in words


def moved(name, by):
    def change(document, tensors):
        tensors[name] = by(np.array(tensors[name]))

    return change


def entry(z):
    """One entry of z one number further from 0."""
    z.flat[0] = np.nextafter(z.flat[0], 2 * z.flat[0])
    return z


def biases_are(**changes):
    return lambda document, tensors: document["problem"]["biases"].update(changes)


REFUSED = [
    (0, moved("z", entry), "sum to 0|w is below"),
    (0, moved("intercept", lambda c: c + 100.0), "claim"),
    (0, moved("intercept", lambda c: np.zeros(2)), "'intercept' has shape"),
    (0, lambda d, t: t.pop("intercept"), "exactly the tensors"),
    (0, lambda d, t: d.update(version=3), "'problem' needs the keys"),
    (0, lambda d, t: d["problem"].pop("biases"), "'problem' needs the keys"),
    (0, biases_are(output="none"), "'biases' has none"),
    (0, biases_are(output="some"), "unknown"),
    (0, biases_are(more="none"), "other keys"),
    (0, biases_are(output="decayed"), "claim objective_at_most"),
    (0, biases_are(first="free"), "exactly the tensors"),
    (2, biases_are(output="free"), "sum to 0"),
    (3, moved("z", entry), "sum to 0|w is below"),
    (3, moved("reach", lambda r: r * (1 - 1e-9)), "reach is below"),
    (3, moved("centre", lambda c: c + 1.0), "reach is below"),
    (3, moved("centre", lambda c: c[:-1]), "'centre' has shape"),
    (3, moved("spread", lambda s: -1.0 - s), "spread is negative"),
    (3, moved("spread", lambda s: 0 * s), "claim optimum_at_least"),
    (3, moved("spread", lambda s: 2 * s), "claim optimum_at_least"),
    (3, moved("level", lambda v: 0.5 * v), "claim optimum_at_least"),
    (3, lambda d, t: t.pop("spread"), "exactly the tensors"),
    (3, lambda d, t: t.update(oracle.two_leaves(t)), "neither cuts nor trees of one sign"),
    (3, lambda d, t: d["problem"].pop("biases") and d.update(version=3), "exactly the tensors"),
    (6, moved("z", lambda z: z * (1 + 2.0**-52)), "sum to 0|domain|nu is 0"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_is_false_is_refused_by_both(number, tmp_path):
    kind, change, reason = REFUSED[number]
    p, _, document, tensors = written(kind, tmp_path)
    change(document, tensors)
    first, second = reasons(p, oracle.packed(document, tensors))
    assert second is not None and first is not None
    with pytest.raises(checker.Refused, match=reason):
        checker.check(checker.parse(oracle.packed(document, tensors)), p.X, p.targets)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_intercept_allows_a_tree_for_each_sign(number, tmp_path):
    p, _, document, tensors = written(number, tmp_path)
    assert reasons(p, oracle.packed(document, oracle.two_leaves(tensors))) == (None, None)


def test_a_bias_is_paid_by_its_direction():
    """(λ, κ, μ) of the head, u and b: κ + μ ≤ λ without rounding, so that |b| ≤ ‖u‖ makes λ(1 + ‖u‖²) enough."""
    rng = np.random.default_rng(0)
    for level, spread in rng.exponential(size=(200, 2)) * 10.0 ** rng.integers(-9, 9, (200, 2)):
        found = [Fraction(v) for v in checker.biases.levels(level, spread, 2, 4).tolist()]
        assert found[:2] == [Fraction(level)] * 2 and found[-1] == Fraction(spread)
        assert all(kappa + found[-1] <= Fraction(level) for kappa in found[2:-1]) and len(found) == 6


@pytest.mark.parametrize("number", [0, 2, 3, 6])
def test_damage_makes_no_false_claim_pass(number, tmp_path):
    p, _, document, tensors = written(number, tmp_path)
    rng = np.random.default_rng(number)
    for _ in range(6):
        changed, numbers = json.loads(json.dumps(document)), {k: np.array(v) for k, v in tensors.items()}
        oracle.tampered(changed, numbers, rng)
        first, second = reasons(p, oracle.packed(changed, numbers))
        assert (first is None) == (second is None) or "the claim" in str(first), (first, second)


def test_a_column_that_is_not_all_ones_is_refused(tmp_path):
    p, _, document, tensors = written(3, tmp_path)
    X = p.X.copy()
    X[0, -1] = np.nextafter(1.0, 2.0)
    document["problem"]["fingerprint"] = checker.fingerprint(X, p.targets)
    with pytest.raises(checker.Refused, match="column of ones"):
        checker.check(checker.parse(oracle.packed(document, tensors)), X, p.targets)
    assert second_checker.reason_to_refuse(oracle.packed(document, tensors), X.tolist(), p.targets.tolist())


def test_a_bound_of_other_biases_is_not_taken(tmp_path):
    p, _, _, _ = written(0, tmp_path)
    with pytest.raises(CertificateError, match="other biases"):
        read_bound(tmp_path / "a.safetensors", p.without_biases())
    plain = BOUNDS["moment"].best(p.without_biases(), Start(), Clock(0.1))
    assert prove(p, plain.evidence, method="moment", started=0.0).scale == 0.0  # its z does not sum to 0
    lifted = cases.problem(1, Biases("free", "free"))
    with pytest.raises(CertificateError, match="other biases"):
        write_certificate(tmp_path / "b.safetensors", lifted, bound=plain)


def test_an_intercept_is_not_left_out_in_silence(tmp_path):
    p, _, _, _ = written(0, tmp_path)
    plain, (U, alpha, c) = p.without_biases(), cases.network(0, p)
    bound = BOUNDS["moment"].best(plain, Start(), Clock(0.1))
    with pytest.raises(CertificateError, match="has an intercept, the problem has none"):
        write_certificate(tmp_path / "b.safetensors", plain, bound=bound, network=(U, alpha, c))
    assert not (tmp_path / "b.safetensors").exists()
    write_certificate(tmp_path / "b.safetensors", plain, bound=bound, network=(U, alpha, 0 * c))


def test_the_intercept_of_a_certificate_is_that_of_the_run(tmp_path):
    """A network without one has c = 0, whatever the file says of it."""
    p, _, document, tensors = written(0, tmp_path)
    run = RunFolder.create(tmp_path / "run", {"train": {}})
    for own, there, same in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
        c = tensors["intercept"] if own else np.zeros(1)
        network = from_weights(*(tensors[name] for name in ("U", "alpha")), *([tensors["intercept"]] if there else []))
        save_weights(run, "latest", network, p, "a test")
        content = checker.parse(oracle.packed(document, {**tensors, "intercept": c}))
        if same:
            check_run(content, run, p)
        else:
            with pytest.raises(checker.Refused, match="another network"):
                check_run(content, run, p)


def test_the_commands_train_certify_and_verify_with_biases(tmp_path):
    """train --output-bias --first-bias; certify with programs, verify, predict, refine."""
    (tmp_path / "a.csv").write_text(
        "a,b,y\n" + "\n".join(f"{k % 7},{(k * k) % 5},{max(k % 7 - 3, 0) + 40 + 0.01 * k:.2f}" for k in range(16))
    )
    done = reluopt("train", "a.csv", "--target", "y", "--output-bias", "free", "--first-bias", "free", "--epochs", 40,
                   "--width", 6, "--out", "run", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0 and "free output bias, free first-layer biases" in done.stdout, done.stderr
    done = reluopt("certify", "run", "--effort", "fast", cwd=tmp_path)
    assert done.returncode == 0 and "over its own activation patterns is unknown" not in done.stdout, done.stderr
    done = reluopt("verify", "run", cwd=tmp_path)
    assert done.returncode == 0 and "a free intercept, free first-layer biases" in done.stdout, (
        done.stdout + done.stderr
    )
    assert reluopt("predict", "run", "a.csv", "--out", "p.csv", cwd=tmp_path).returncode == 0
    shown = reluopt("refine", "run", "--gap", 9, "--budget", 1, cwd=tmp_path)
    assert shown.returncode == 0 and "free output bias" in shown.stdout, shown.stderr
    text = (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "run" / "config.toml").write_text(text.replace('output_bias = "free"', 'output_bias = "decayed"'))
    done = reluopt("verify", "run", cwd=tmp_path)
    assert done.returncode != 0 and "output_bias" in done.stderr, done.stderr


def test_a_sequential_model_keeps_its_output_bias_as_an_intercept():
    """There and back again, with the certificate of a problem that has it; L is the model's own objective."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    net = from_sequential(model, output_bias="intercept")
    p = cases.problem(3, Biases("free", "free"), d=1, n=6, beta=0.3)
    own = model(torch.from_numpy(p.X[:, :1]))[:, 0].detach().numpy()
    assert np.allclose(p.predict(*net.weights()), own)
    assert np.allclose(net.to_sequential(bias_column=True)(torch.from_numpy(p.X[:, :1])).detach()[:, 0], own)
    found = certify(net, p, config=CertifyConfig(effort="fast", time_limit=2.0))
    assert found.biases is None and found.lower_bound <= p.objective(*net.weights()) <= found.objective


@pytest.mark.parametrize("biases", cases.KINDS)
def test_the_residual_of_a_certificate_is_the_slope_of_the_own_objective(biases):
    """Without kinks the Clarke residual is ‖∇L‖ by all parameters, the intercept among them."""
    p = cases.problem(11, biases, n=7)
    net = from_weights(*cases.network(5, p, m=3))
    net.objective(p).backward()
    slope = np.sqrt(sum(float((w.grad**2).sum()) for w in net.parameters()))
    found = certify(net, p, config=CertifyConfig(effort="fast", time_limit=0.5)).stationarity
    assert found.gradient_norm == pytest.approx(slope, rel=1e-9)
    assert found.clarke_residual == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize("biases", cases.KINDS)
def test_training_near_zero_does_not_end_where_a_neuron_would_grow(biases):
    """StopWhenStationary prices with the intercept: at the best constant and tiny neurons training goes on."""
    p = cases.problem(12, biases, n=12)
    p = p.with_beta(0.3 * beta_max_estimate(p))
    config = TrainConfig(
        width=8, epochs=400, init_scale=1e-4, stationarity_tolerance=1e-6, record_every=20,
        output_bias=biases.output if biases.intercept else None, first_bias=biases.first if biases.first_free else None,
    )  # fmt: skip
    result = Trainer(config.make_network(p.d), p, config=config, progress=False).fit()
    assert result.objective < p.zero_value * 0.99
