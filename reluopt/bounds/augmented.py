r"""The augmented Lagrangian of the moment problem with products of groups of samples, over factors of low rank.

For each sign (one of them with several outputs) M = E[vvᵀ] = VVᵀ, V = (head; S) with few columns: ``head`` = (a, u),
a = α or a (C rows), ``S`` = s of every sample. Over V,

.. math:: Σ κℓ(f, y) + (β/2)‖head‖² + Σ_{ab} (λ'² − λ²)/2ρ,\quad f = Σ_± ± S aᵀ,\quad λ' = (λ − ρF_aF_bᵀ)_+

is minimised, with the forms F = (α, s, s − Xu) (``lifting.py``; without α where there are several outputs) and pairs
of them within groups of samples (``pair_products.py``), where λ' is not cut off at zero for the products
s_i (s_i − x_iᵀu), which must vanish. Then λ' takes the place of λ: the method of multipliers. With one output there are
products with the ball too: as ‖u‖ = α for every neuron, (E[αF_i], E[u F_i]) is in the second-order cone for F = s_i and
s_i − x_iᵀu, and E[α²] = E[‖u‖²]; multipliers (κ_i, k_i), of that cone, and ω. u is seen through few directions, the
rows of ``span``.

Where the last entry of u is a free bias b̃ it costs nothing, and E[‖u‖²] ≥ E[b̃²] has a multiplier μ (``spread``).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluopt.bounds.ball_products import BallProducts
from reluopt.bounds.clique_form import BallStart
from reluopt.bounds.factors import minimised
from reluopt.bounds.lifting import Lifting
from reluopt.bounds.sample_fit import SampleFit
from reluopt.bounds.slot_groups import SlotGroups

#: Rows of the factors of one sign: these or d / FEATURES to begin with, and more where the smallest singular value is
#: not SMALL.
ROWS, MOST_ROWS, FEATURES, SMALL = 14, 28, 10, 0.03
#: Noise in the factors, in units of their root mean square.
NOISE = 0.01
#: Pairs of L-BFGS: more of them cost more than they save.
MEMORY = 10
#: How much wider (α, u) is searched than S, in units of their curvatures.
WIDER = 5.0


class AugmentedLagrangian:
    """The factors of all signs and the multipliers; X (slots, d) has rows of norm one, or zero.

    Parameters
    ----------
    size : slots of a group. ``first`` : (signs, f, 2 slots), multipliers of the products of α with s and with s − Xu; f
        is 1, or 0 with several outputs. ``nu`` : (signs, slots), of s_i (s_i − x_iᵀu) = 0.
    norms : (slots,) what the rows were divided by. ``fit`` : the loss of what the slots add up to.
    head : (signs, C + d, k), and ``S`` (signs, slots, k) : the start, to which noise and columns of noise are added.
    ball : the multipliers of products with the ball, None without any.
    spread : (signs,) μ, None where u has no bias.
    """

    def __init__(
        self,
        X: Float[Tensor, "N d"],
        norms: Float[Tensor, " N"],
        fit: SampleFit,
        beta: float,
        head: Float[Tensor, "q e k"],
        S: Float[Tensor, "q N k"],
        size: int,
        first: Float[Tensor, "q f h"],
        nu: Float[Tensor, "q N"],
        ball: BallProducts | None = None,
        spread: Float[Tensor, " q"] | None = None,
    ) -> None:
        self.X, self.norms, self.beta, self.device = X, norms, beta, X.device
        #: The output intercept, empty where there is none, and the slope of the last Lagrangian by it.
        self.fit, self.C, self.c = fit, fit.y.shape[1], fit.start()
        self.by_c = self.c
        F = torch.eye(first.shape[1], head.shape[1], dtype=torch.float64, device=self.device)
        #: The forms α, s and s − Xu of all slots, in this order.
        self.lifting, self.places = Lifting(X, F), SlotGroups(len(head), len(F), len(X), size)
        self.pairs = self.places.pairs(first, nu)
        self.signs = torch.tensor([1.0, -1.0], dtype=torch.float64, device=self.device)[: len(head), None, None]
        self.penalty, self.ball, self.spread = 1.0, ball, spread
        more = max(0, min(MOST_ROWS, max(ROWS, X.shape[1] // FEATURES)) - head.shape[2])
        self.head = torch.nn.functional.pad(head, (0, more))
        self.S = torch.nn.functional.pad(S, (0, more))
        noise = self._noise()
        self.head, self.S = self.head + noise[0], self.S + noise[1]

    @property
    def groups(self) -> int:
        """How many there are."""
        return self.places.number

    @property
    def size(self) -> int:
        """Slots of a group."""
        return self.places.size

    def dual_point(self, unit: float) -> Float[np.ndarray, "n ..."]:
        """The samples' z = −κℓ'(f) of the factors, in units in which it is multiplied by ``unit``."""
        return self.fit.dual_point(self._sums(self.head, self.S), unit)

    @property
    def nu(self) -> Float[Tensor, "q N"]:
        """The multipliers of E[s_i (s_i − x_iᵀu)] = 0."""
        return -self.pairs.of_equations.view(len(self.head), -1)

    def products(self, number: int) -> Float[Tensor, "G f f"]:
        """The multipliers of one sign, but for ν: of α, and every s and s − Xu, of every group."""
        return self.places.matrices(self.pairs, number)

    def ball_of(self, number: int) -> BallStart | None:
        """V, Λ of every group and ω of one sign."""
        if self.ball is None:
            return None
        cones = self.places.gathered(self.ball.all_cones())
        return self.ball.span[number], cones[number], float(self.ball.tilt[number])

    def _noise(self) -> tuple[Float[Tensor, "q e k"], Float[Tensor, "q N k"]]:
        """What columns that are zero start with: they would stay zero."""
        rng, size = np.random.default_rng(0), NOISE * float(self.head.square().mean().sqrt())
        head, S = (torch.as_tensor(size * rng.standard_normal(tuple(part.shape))) for part in (self.head, self.S))
        return head.to(self.device), S.to(self.device) * (self.X.square().sum(1) > 0)[:, None]

    def is_full(self) -> bool:
        """Do all rows matter, so that there should be more?"""
        sizes = torch.linalg.svdvals(self.head)
        return self.head.shape[2] < MOST_ROWS and bool((sizes[:, -1] > SMALL * sizes[:, 0]).any())

    def widen(self) -> None:
        """Double the columns of the factors; the new ones start as noise."""
        noise = self._noise()
        self.head, self.S = (
            torch.cat([old, new], 2)[:, :, :MOST_ROWS] for old, new in zip((self.head, self.S), noise, strict=True)
        )

    def grow(self) -> None:
        """Join every two neighbouring groups; products between them start without a multiplier."""
        self.places.size *= 2

    def update(self, penalty: float, iterations: int, seconds: float, *, curved: bool) -> float:
        """Minimise over the factors, then move the multipliers. Returns the primal value, which may be infeasible.

        ``curved``: in the basis of ``_basis``, where the rows of the factors that matter converge faster, and those
        that are almost zero grow slower: it is best used later, and every other time.
        """
        products, size = self._size_of_products(), (2 * self.pairs.square) ** 0.5
        self.penalty = penalty * size / products if products > 0 else self.penalty
        constant, (basis, inverse) = self.pairs.square, self._basis(curved)

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            head, S, self.c = self._parts(theta)
            value, by_head, by_S = self.lagrangian(basis @ head, S, constant)
            return value, _joined(basis @ by_head, by_S, self.by_c)

        start = _joined(inverse @ self.head, self.S, self.c)
        found = minimised(objective, start, iterations=iterations, seconds=seconds, memory=MEMORY)
        head, self.S, self.c = self._parts(found)
        self.head = basis @ head
        F = self.lifting.forms(self.head, self.S)
        self.pairs.move(F.flatten(0, 1), self.penalty)
        self.pairs.look(F.flatten(0, 1), self.places.forms(self.device))
        if self.spread is not None:
            self.spread = self._moved_spread(self.head, self.spread)
        if self.ball is not None:
            self.ball.move(F, self.head, self.penalty)
        value, _, _ = self.fit.at(self._sums(self.head, self.S), self.c)
        return value + 0.5 * self.beta * float(self._paid(self.head).square().sum())

    def _paid(self, head: Float[Tensor, "q e k"]) -> Float[Tensor, "q e k"]:
        """What weight decay charges: all but a free bias."""
        if self.spread is None:
            return head
        return torch.cat([head[:, :-1], torch.zeros_like(head[:, -1:])], 1)

    def _moved_spread(self, head: Float[Tensor, "q e k"], spread: Float[Tensor, " q"]) -> Float[Tensor, " q"]:
        """μ' = (μ − ρ(E‖u‖² − E b̃²))_+."""
        room = head[:, self.C : -1].square().sum((1, 2)) - head[:, -1].square().sum(1)
        return (spread - self.penalty * room).clamp(min=0)

    def _basis(self, curved: bool) -> tuple[Float[Tensor, "q e e"], Float[Tensor, "q e e"]]:
        """A symmetric basis of the head in which, if ``curved``, the Lagrangian is about as curved as in S; and back.

        Its Hessian in S_i has about the size ν_i, and in u that of βI + Σ ν_i x_i x_iᵀ.
        """
        (N, d), C, q = self.X.shape, self.C, len(self.head)
        if not curved:
            same = torch.eye(C + d, dtype=torch.float64, device=self.device).expand(q, -1, -1)
            return same, same
        nu = self.nu[..., None].clamp(min=0)
        usual = (WIDER * nu.mean((1, 2))).clamp(min=1e-3 * self.beta)
        values, vectors = torch.linalg.eigh((nu * self.X).mT @ self.X)
        of_a = (usual * N / d / WIDER)[:, None].expand(-1, C)
        curvatures = torch.cat([of_a, values.clamp(min=0)], 1)
        root = ((self.beta + curvatures) / usual[:, None]).sqrt()
        Q = torch.zeros(q, C + d, C + d, dtype=torch.float64, device=self.device)
        Q[:, range(C), range(C)], Q[:, C:, C:] = 1.0, vectors
        return (Q / root[:, None]) @ Q.mT, (Q * root[:, None]) @ Q.mT

    def _parts(self, theta: Float[np.ndarray, " q"]) -> tuple[Tensor, Tensor, Tensor]:
        flat, split = torch.as_tensor(theta, device=self.device), self.head.numel()
        end = split + self.S.numel()
        return flat[:split].view(self.head.shape), flat[split:end].view(self.S.shape), flat[end:]

    def _size_of_products(self) -> float:
        """√Σ (F_aF_bᵀ)² over all products within groups."""
        F = self.lifting.forms(self.head, self.S)
        f = len(self.lifting.F)
        lead = F[:, None, :f].expand(-1, self.groups, -1, -1)
        grouped = torch.cat([lead, self.places.gathered(F[:, f:])], 2)
        return float((grouped.mT @ grouped).norm())

    def _sums(self, head: Float[Tensor, "q e k"], S: Float[Tensor, "q N k"]) -> Float[Tensor, "N C"]:
        """g = Σ_± ± S aᵀ of the rows as they are."""
        return self.norms[:, None] * (self.signs * (S @ head[:, : self.C].mT)).sum(0)

    def lagrangian(
        self, head: Float[Tensor, "q e k"], S: Float[Tensor, "q N k"], constant: float
    ) -> tuple[float, Float[Tensor, "q e k"], Float[Tensor, "q N k"]]:
        """The augmented Lagrangian and its gradients; ``constant`` is the square of the multipliers' norm."""
        F = self.lifting.forms(head, S)
        value, z, self.by_c = self.fit.at(self._sums(head, S), self.c)
        paid = self._paid(head)
        value += 0.5 * self.beta * float(paid.square().sum())
        forms = F.flatten(0, 1)
        more, by_forms = self.pairs.lagrangian(forms, self.penalty)
        value += more - 0.5 * constant / self.penalty
        of_ball: Tensor | float = 0.0
        if self.ball is not None:
            more, by_listed, of_ball = self.ball.lagrangian(forms, head, self.penalty)
            value += more
            by_forms.index_add_(0, self.ball.places, by_listed)
        if self.spread is not None:
            mu = self._moved_spread(head, self.spread)
            value += float((mu.square() - self.spread.square()).sum()) / (2 * self.penalty)
            weighed = 2 * mu[:, None, None] * head
            of_ball = of_ball + torch.cat([0 * head[:, : self.C], -weighed[:, self.C : -1], weighed[:, -1:]], 1)
        by_head, by_S = self.lifting.adjoint(by_forms.view(F.shape))
        pull = self.signs * (self.norms[:, None] * z)
        by_head = by_head + self.beta * paid + of_ball
        by_head[:, : self.C] -= pull.mT @ S
        return value, by_head, by_S - pull @ head[:, : self.C]


def _joined(*parts: Tensor) -> Float[np.ndarray, " q"]:
    return torch.cat([part.reshape(-1) for part in parts]).cpu().numpy()
