"""Drift against a count by hand, on sizes that do and do not fill whole bytes and words."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reluopt.errors import DataError
from reluopt.patterns import drift as drift_module
from reluopt.patterns.bits import ROWS_AT_A_TIME, by_neuron
from reluopt.patterns.drift import DriftRecorder, unchanged_neurons
from reluopt.patterns.pattern_set import activation_patterns, kinks

few = settings(max_examples=40, deadline=None)
shapes = st.tuples(
    st.integers(1, 2 * ROWS_AT_A_TIME + 3), st.integers(1, 4), st.integers(1, 70), st.integers(0, 2**32 - 1)
)


def moments(n, d, m, seed):
    """Samples and three states of a layer: the second a little moved, the third moved more, with zeros and ties."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, (n, d)).astype(float)  # whole numbers make exact ties
    U = rng.integers(-2, 3, (m, d)).astype(float)
    V = U + (rng.random((m, 1)) < 0.3) * rng.integers(-1, 2, (m, d))
    W = V + rng.integers(-1, 2, (m, d))
    W[0] = 0
    alphas = rng.standard_normal((3, m))
    alphas[1, m // 2] = 0.0
    return X, (U, V, W), alphas


def by_hand(X, initial, previous, now, active_before, active_now):
    n, m = X.shape[0], len(now)
    D0, Dp, D = ([[bool(x @ u >= 0) for x in X] for u in weights] for weights in (initial, previous, now))
    norms = [np.sqrt(x @ x) for x in X]
    return {
        "preserved_from_init": sum(D[j] == D0[j] for j in range(m)) / m,
        "preserved_from_previous": sum(D[j] == Dp[j] for j in range(m)) / m,
        "entries_preserved": sum(D[j][i] == D0[j][i] for j in range(m) for i in range(n)) / (n * m),
        "entries_preserved_previous": sum(D[j][i] == Dp[j][i] for j in range(m) for i in range(n)) / (n * m),
        "worst_sample_preserved": min(sum(D[j][i] == D0[j][i] for j in range(m)) / m for i in range(n)),
        "distinct": len({tuple(row) for row in D}),
        "active_neurons": sum(active_now),
        "kinks": sum(abs(X[i] @ u) <= 1e-6 * norms[i] * np.sqrt(u @ u) for u in now if u.any() for i in range(n)),
        "births": sum(b and not a for a, b in zip(active_before, active_now, strict=True)),
        "deaths": sum(a and not b for a, b in zip(active_before, active_now, strict=True)),
    }


def activity(U, alpha):
    size = np.linalg.norm(U, axis=1) * np.abs(alpha)
    return [bool(s > 1e-6 * size.max()) for s in size]


@few
@given(shapes)
def test_every_number_is_the_brute_force_count(shape):
    X, states, alphas = moments(*shape)
    recorder = DriftRecorder(torch.from_numpy(X))
    first = recorder(torch.from_numpy(states[0]), torch.from_numpy(alphas[0]))
    assert first.preserved_from_init == first.entries_preserved == first.worst_sample_preserved == 1.0
    assert first.births == first.deaths == 0
    for previous, now, a, b in ((0, 1, alphas[0], alphas[1]), (1, 2, alphas[1], alphas[2])):
        drift = recorder(torch.from_numpy(states[now]), torch.from_numpy(b))
        expected = by_hand(
            X, states[0], states[previous], states[now], activity(states[previous], a), activity(states[now], b)
        )
        got = {k.removeprefix("patterns/"): v for k, v in drift.scalars().items()}
        assert got.keys() == expected.keys()
        for key, value in expected.items():
            assert got[key] == pytest.approx(value, abs=1e-12), key
    D0, D = (activation_patterns(X, U.T) for U in (states[0], states[2]))
    np.testing.assert_array_equal(recorder.flipped(), D != D0)
    np.testing.assert_array_equal(recorder.kept(), (D == D0).all(axis=0))
    np.testing.assert_array_equal(unchanged_neurons(X, states[0], states[2]), recorder.kept())


@few
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_bit_transpose_is_numpy_s(rows, columns, seed):
    bits = np.random.default_rng(seed).integers(0, 256, (8 * rows, columns), dtype=np.uint8)
    expected = np.packbits(np.unpackbits(bits, axis=1).T, axis=1)
    np.testing.assert_array_equal(by_neuron(bits), expected)


def test_kinks_agree_with_the_pattern_room_also_in_float32_and_with_rows_of_very_different_size():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3)) * np.logspace(-3, 3, 300)[:, None]
    U = rng.standard_normal((20, 3))
    U[:5] -= (X[:5] @ U[:5].T).diagonal()[:, None] * X[:5] / np.square(X[:5]).sum(1)[:, None]  # x_j · u_j = 0
    expected = int(kinks(X, U.T).sum())
    assert expected >= 5
    assert DriftRecorder(torch.from_numpy(X))(torch.from_numpy(U)).kinks == expected
    single = DriftRecorder(torch.from_numpy(X).float())(torch.from_numpy(U).float()).kinks
    assert single == expected


def test_a_loop_of_the_user_s_own_with_a_sequential_model_and_biases():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, 6, generator=generator)
    y = torch.randn(50, 1, generator=generator)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 1))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    start = (model[0](X) >= 0).numpy()
    recorder = DriftRecorder(X)
    recorder(model[0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X), y).backward()
        optimizer.step()
        drift = recorder(model[0])
    end = (model[0](X) >= 0).numpy()
    assert (start != end).any()
    assert drift.entries_preserved == pytest.approx((start == end).mean())
    assert drift.preserved_from_init == pytest.approx((start == end).all(axis=0).mean())


def test_many_entries_are_packed_by_several_threads_to_the_same_end(monkeypatch):
    X, states, alphas = moments(3 * ROWS_AT_A_TIME + 5, 3, 70, 1)
    tensors = [(torch.from_numpy(U), torch.from_numpy(a)) for U, a in zip(states, alphas, strict=True)]
    plain = DriftRecorder(torch.from_numpy(X))
    expected = [plain(*state) for state in tensors]
    monkeypatch.setattr(drift_module, "PARALLEL_ABOVE", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    threaded = DriftRecorder(torch.from_numpy(X))
    assert [threaded(*state) for state in tensors] == expected
    np.testing.assert_array_equal(threaded.flipped(), plain.flipped())


def test_a_bias_counts_in_the_scale_of_a_kink():
    X = torch.tensor([[1e-9]], dtype=torch.float64)
    layer = nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(0.0)
    assert DriftRecorder(X)(layer).kinks == 1  # against ‖(x, 1)‖ = 1 the preactivation 1e-9 is a tie
    assert DriftRecorder(X)(layer.weight).kinks == 0  # against ‖x‖ it is not


def test_state_carries_on():
    X, states, alphas = moments(37, 3, 11, 5)
    tensors = [(torch.from_numpy(U), torch.from_numpy(a)) for U, a in zip(states, alphas, strict=True)]
    one, other = DriftRecorder(torch.from_numpy(X)), DriftRecorder(torch.from_numpy(X))
    assert one.state() == {}
    one(*tensors[0])
    one(*tensors[1])
    other.load_state(one.state())
    assert other(*tensors[2]) == one(*tensors[2])


def test_what_does_not_fit_is_refused():
    recorder = DriftRecorder(torch.ones(4, 2))
    with pytest.raises(DataError, match="no moment"):
        recorder.kept()
    recorder(torch.ones(3, 2))
    with pytest.raises(DataError, match="started with 3"):
        recorder(torch.ones(5, 2))
    with pytest.raises(DataError, match="Preactivations"):
        recorder.update(torch.ones(4, 2), torch.ones(3, 2))
    with pytest.raises(DataError, match="one row a sample"):
        DriftRecorder(torch.ones(0, 2))


def test_a_recorder_that_is_attached_sees_full_passes_only():
    torch.manual_seed(0)
    X = torch.randn(12, 3, dtype=torch.float64)
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)).double()
    recorder, by_hand = DriftRecorder(X), DriftRecorder(X)
    handle = recorder.attach(model)
    assert recorder.last is None
    model(X[:4])
    assert recorder.last is None
    model(X)
    assert recorder.last == by_hand(model[0])
    with torch.no_grad():
        model[0].weight.mul_(torch.tensor([[-1.0], [1], [1], [1], [1]], dtype=torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.float()(X.float())
    assert recorder.last.preserved_from_init < 1
    written = {}

    class Writer:
        def add_scalar(self, tag, value, step):
            written[tag] = (value, step)

    recorder.log_to(Writer(), 7)
    assert written["patterns/preserved_from_init"] == (recorder.last.preserved_from_init, 7)
    handle.remove()
    last = recorder.last
    model(X.float())
    assert recorder.last is last
    with pytest.raises(DataError):
        recorder.attach(torch.nn.Linear(4, 2))
