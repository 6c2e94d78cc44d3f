"""Projection on many cones at once: equal to one NNLS per cone, cold or warm, on numpy and on torch."""

import numpy as np
import pytest
import torch

from reluopt.patterns.sampling import sample_patterns
from reluopt.programs import cone_faces, cones, face_store
from reluopt.programs.cone_faces import ConeFaces


@pytest.fixture(params=["numpy", "torch", "shelves", "no room"])
def faces(request, monkeypatch):
    """Faces of random cones, 40 × 6, and the data they belong to."""

    if request.param == "shelves":  # what large problems use
        monkeypatch.setattr(face_store, "DENSE", 0)
        monkeypatch.setattr(face_store, "LEAST", 2)
    elif request.param == "no room":  # what is far larger: most faces are found again from their rows
        monkeypatch.setattr(face_store, "MOST", 6 * 12)
        monkeypatch.setattr(face_store, "LEAST", 2)

    def build(X, draws=12, seed=0):
        patterns = sample_patterns(X, draws, np.random.default_rng(seed))
        both = torch.arange(len(patterns)).repeat(2)
        made = ConeFaces(torch.tensor(X), torch.tensor(np.ascontiguousarray(patterns.signs.T)), both)
        if request.param == "torch":  # what runs on other devices
            made._view = cone_faces._same
        return made, patterns, both

    return build


def data(n=40, d=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def check(faces, X, patterns, owner, g, p):
    signs = torch.tensor(patterns.signs.T)[owner]
    rows = signs[:, :, None] * torch.tensor(X)[None]
    weights = faces.multipliers(torch.arange(len(owner)))
    assert (weights >= 0).all()
    assert torch.allclose(p, g + (weights[:, None, :] @ rows)[:, 0], atol=1e-12)
    assert ((rows @ p[:, :, None])[:, :, 0] >= -1e-9 * (1 + p.norm(dim=1, keepdim=True))).all()
    for i in range(len(owner)):
        alone = cones.project(X, patterns.dense[:, owner[i]], g[i].numpy())
        assert np.allclose(p[i].numpy(), alone.point, atol=1e-8)


@pytest.mark.parametrize("kind", ["generic", "duplicate rows", "zero rows", "fewer rows than columns", "integers"])
def test_equals_one_nnls_per_cone(faces, kind):
    X = data(5, 8) if kind == "fewer rows than columns" else data()
    if kind == "duplicate rows":
        X[20:] = X[:20]
    elif kind == "zero rows":
        X[::3] = 0.0
    elif kind == "integers":
        X = np.round(2 * X)
    made, patterns, owner = faces(X)
    rng = torch.Generator().manual_seed(1)
    g = torch.randn(len(owner), X.shape[1], generator=rng, dtype=torch.float64)
    for step in (0.0, 1e-3, 0.3, 3.0):  # from where the last one ended
        g = g + step * torch.randn(g.shape, generator=rng, dtype=torch.float64)
        p, exact = made.project(g, torch.arange(len(owner)))
        assert exact.all()
        check(made, X, patterns, owner, g, p)


def test_a_cone_is_left_once_its_bound_is_proved(faces):
    X = data()
    made, _, owner = faces(X)
    g = torch.randn(len(owner), 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    p, _ = made.project(g, torch.arange(len(owner)))
    enough = float(p.norm(dim=1).median())
    fresh, patterns, _ = faces(X)
    early, exact = fresh.project(g, torch.arange(len(owner)), enough=enough)
    assert torch.equal(early.norm(dim=1) <= enough * (1 + 1e-12), p.norm(dim=1) <= enough)
    assert not exact.all()
    # what was left early is still g + Aᵀλ with λ ≥ 0: a bound with its proof
    weights = fresh.multipliers(torch.arange(len(owner)))
    rows = torch.tensor(patterns.signs.T)[owner][:, :, None] * torch.tensor(X)[None]
    assert torch.allclose(early, g + (weights[:, None, :] @ rows)[:, 0], atol=1e-12)


def test_stopping_early_still_proves_a_bound(faces):
    X = data()
    made, patterns, owner = faces(X)
    g = torch.randn(len(owner), 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    p, _ = made.project(g, torch.arange(len(owner)), stop=lambda: True)
    for i in range(len(owner)):
        best = cones.project(X, patterns.dense[:, owner[i]], g[i].numpy()).norm
        assert float(p[i].norm()) >= best - 1e-10


def test_bases_of_the_faces(faces):
    X = data()
    made, _, owner = faces(X)
    every = torch.arange(len(owner))
    g = torch.randn(len(owner), 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    p, _ = made.project(g, every)
    null, of = made.null_basis(every)
    span, of_span = made.span_basis(every)
    assert len(null) + len(span) == 6 * len(owner)
    for i in range(len(owner)):
        N, S = null[of == i], span[of_span == i]
        both = torch.cat([N, S])
        assert torch.allclose(both @ both.T, torch.eye(6, dtype=torch.float64), atol=1e-12)
        assert torch.allclose(N.T @ (N @ p[i]), p[i], atol=1e-9)


def test_seeds_are_faces_of_the_points(faces):
    X = data()
    made, patterns, owner = faces(X)
    every = torch.arange(len(owner))
    g = torch.randn(len(owner), 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    p, _ = made.project(g, every)
    other, _, _ = faces(X)
    nonzero = (p.norm(dim=1) > 1e-9).nonzero()[:, 0]
    other.seed(nonzero, p[nonzero])
    assert (other.active[nonzero].sum(dim=1) >= made.active[nonzero].sum(dim=1)).all()
    again, exact = other.project(g, every)
    assert exact.all()
    check(other, X, patterns, owner, g, again)


def test_many_cones_hold_no_more_than_their_faces(monkeypatch):
    """m·r·d numbers would be held if every cone had room for a full face."""
    monkeypatch.setattr(face_store, "DENSE", 0)
    X = data(80, 60)
    patterns = sample_patterns(X, 40, np.random.default_rng(0))
    owner = torch.arange(40).repeat(2)
    made = ConeFaces(torch.tensor(X), torch.tensor(np.ascontiguousarray(patterns.signs.T)), owner)
    assert made._inverses.numbers == 0
    g = torch.randn(80, 60, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    made.project(g[:20], torch.arange(20), enough=float(0.99 * g.norm(dim=1).min()))
    assert 0 < made._inverses.numbers < 0.3 * 80 * 60 * 60
    p, exact = made.project(g, torch.arange(80))
    assert exact.all()
    check(made, X, patterns, owner, g, p)


def test_no_more_is_held_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(face_store, "LEAST", 4)
    X = data(80, 30)
    patterns = sample_patterns(X, 40, np.random.default_rng(0))
    owner = torch.arange(40).repeat(2)
    signs = torch.tensor(np.ascontiguousarray(patterns.signs.T))
    found = []
    for most in (80 * 30 * 30, 20_000, 1_000):
        monkeypatch.setattr(face_store, "MOST", most)
        made = ConeFaces(torch.tensor(X), signs, owner)
        g = torch.randn(80, 30, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        for step in range(3):
            found.append(made.project(g * (1 + step * torch.linspace(-0.2, 0.2, 30)), torch.arange(80))[0])
            assert made._inverses.numbers <= most
        if most < 80 * 30 * 30:
            assert made._inverses.missing.any()
    for step in range(3):
        assert torch.allclose(found[step], found[step + 3], atol=1e-9)
        assert torch.allclose(found[step], found[step + 6], atol=1e-9)


def test_unit_rows_are_shared():
    X = torch.tensor(data())
    rows = face_store.UnitRows(X)
    signs = torch.ones(1, len(X), dtype=torch.float64)
    one, other = (ConeFaces(rows, signs, torch.zeros(2, dtype=torch.int64)) for _ in range(2))
    assert one.unit is other.unit is rows.unit
